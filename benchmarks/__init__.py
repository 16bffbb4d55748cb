"""How fast and in how much memory the program delivers: `python -m benchmarks`."""
