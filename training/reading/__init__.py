"""Sources in, checked calls with their outcomes out."""
