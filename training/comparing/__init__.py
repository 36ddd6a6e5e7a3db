"""What a router is worth on logged calls: policies, estimates, differences, and the report."""
