"""Calls that cost money, under a hard budget."""
