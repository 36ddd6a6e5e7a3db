"""Statistics on plain arrays, independent of logs: curves, intervals, bounds."""
