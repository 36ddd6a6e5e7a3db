"""LiteLLM's own complexity router: as a rival to compare with, and as an artifact to export."""
