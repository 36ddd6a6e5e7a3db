"""The synthetic sample log of an invented company, and the programs that write it."""
