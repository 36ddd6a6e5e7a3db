"""LiteLLM's own slots: the proxy's classifier and callback, and a strategy for `litellm.Router`."""
