"""Calling the models that a log never tried."""
