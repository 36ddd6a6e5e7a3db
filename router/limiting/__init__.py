"""What rules a model out for a request."""
