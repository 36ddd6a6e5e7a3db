"""How a model is called: the chain, its attempts, and the seam to LiteLLM."""
