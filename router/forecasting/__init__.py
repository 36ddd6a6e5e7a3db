"""Predict each model's chance of success on a request."""
