"""What every model did on every prompt."""
