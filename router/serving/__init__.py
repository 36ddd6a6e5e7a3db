"""The `Router` that an application holds: decide, call, log."""
