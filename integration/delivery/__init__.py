"""A run: which users are sent, in which order, and what the operator sees."""
