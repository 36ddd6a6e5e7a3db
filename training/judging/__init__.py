"""Asking a model whether logged answers are good."""
