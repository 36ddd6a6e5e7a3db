"""The synthetic sample log of a made-up company, and the programs that write it."""
