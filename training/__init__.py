"""Pointsman's offline side: call logs in, a router and a report on it out."""
