"""A real PostgreSQL server for the tests: a private one, where the server is installed."""

from __future__ import annotations

import os
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

import pytest

from sandbox import private_postgres
from sandbox.private_mysql import NoServerError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sandbox.private_postgres import PostgreSQLServer


@contextmanager
def private_server(*options: str, tls: bool = False) -> Iterator[PostgreSQLServer]:
    """A server private to this test; skips the test, or fails it with REQUIRE_POSTGRES=1."""
    with ExitStack() as cleanup:
        try:
            server = cleanup.enter_context(private_postgres.private_server(*options, tls=tls))
        except NoServerError as error:
            if os.environ.get("REQUIRE_POSTGRES") == "1":
                pytest.fail(f"REQUIRE_POSTGRES=1, but {error}")
            pytest.skip(str(error))
        yield server
