"""What is fitted, and how it is written down."""
