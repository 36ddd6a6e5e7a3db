"""The data report: what a call log holds, and what a good router would still need."""
