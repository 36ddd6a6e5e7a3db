"""The call log's parts: rows, text, stores, and the thread that writes."""
