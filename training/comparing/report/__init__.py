"""The report: its sentences, charts and page, its JSON and the gate on it."""
