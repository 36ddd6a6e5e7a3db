"""What is known of a model before it is called: its name, its price, and where it runs."""
