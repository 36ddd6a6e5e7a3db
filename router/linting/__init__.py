"""Find prompts that name a model and break when they are routed."""
