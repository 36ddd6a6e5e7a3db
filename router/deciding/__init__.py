"""Which models may serve a request, and which one does."""
