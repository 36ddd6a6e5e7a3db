"""Look up what is known about a model before a call: its name, its price, and where it runs."""
