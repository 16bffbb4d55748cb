"""The kinds of sources, one module each; every one implements `models.Reader`."""
