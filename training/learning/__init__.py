"""Fits a router to a prompt table and writes its folder."""
