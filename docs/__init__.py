"""The documentation, what generates its reference from the code, and what builds its site."""
