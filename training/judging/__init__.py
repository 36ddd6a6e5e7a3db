"""Whether logged answers are good: by asking a model, or by what was learnt from known outcomes."""
