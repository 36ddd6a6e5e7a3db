"""A request in, each model's chance of success out."""
