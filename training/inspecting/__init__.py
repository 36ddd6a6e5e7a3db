"""The data report: what a call log holds, and what it lacks for a good router."""
