"""A run: who is sent, in which order, and what the operator sees of it."""
