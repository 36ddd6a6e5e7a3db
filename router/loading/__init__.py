"""A router's folder, from disk or a registry, and a newer version in its place."""
