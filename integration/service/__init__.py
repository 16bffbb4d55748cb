"""The window: a read-only service and page about sources, runs and people."""
