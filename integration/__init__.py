"""The program, room by room; CONTRIBUTING.md has the map."""
