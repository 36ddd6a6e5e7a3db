"""Whether a call succeeded, by the declared rules."""
