"""What stands behind `iterable_client`: transport, responses, retry, pace, bulk."""
