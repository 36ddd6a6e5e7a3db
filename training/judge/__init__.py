"""The outcome rule that asks a model: which answers, what of, at which price, and whether verdicts agree."""
