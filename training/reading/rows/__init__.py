"""Raw records in, canonical rows out."""
