"""The parts of `iterable_client`: HTTP, authentication, payloads, responses, retries, limits."""
