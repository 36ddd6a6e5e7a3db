"""Show what a call log says of the router: spending, savings, outcomes, failures and single decisions."""
