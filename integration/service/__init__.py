"""The window: what happened, for people and programs."""
