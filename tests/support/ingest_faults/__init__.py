"""Runs of the ingest that are killed while sources and database fail, and what must hold."""
