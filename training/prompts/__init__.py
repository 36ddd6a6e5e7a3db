"""Groups calls by prompt: what every model did on every prompt, with labels, prices and embeddings."""
