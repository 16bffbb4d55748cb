"""Settings and command-line arguments."""
