"""Load a router's folder from disk or a registry, and replace it when a newer version appears."""
