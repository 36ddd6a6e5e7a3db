"""Numbers on arrays: curves, intervals, bounds. No log in sight."""
