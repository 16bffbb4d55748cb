"""The journal: what has to be sent and the outcome of every call."""
