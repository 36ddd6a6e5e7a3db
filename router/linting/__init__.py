"""Prompts that name a model, and break when routed."""
