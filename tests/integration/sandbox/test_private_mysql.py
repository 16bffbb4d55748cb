"""A private MySQL server."""

from __future__ import annotations

import socket

import pytest

from sandbox import private_mysql
from tests.support.mysql_server import missing, private_server


def test_a_server_whose_port_was_taken_meanwhile_starts_on_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Another program may take a free port before the server listens on it."""
    with socket.socket() as someone:
        someone.bind(("127.0.0.1", 0))
        taken, free = someone.getsockname()[1], private_mysql.free_port()
        ports = [taken, free]
        monkeypatch.setattr(private_mysql, "free_port", lambda: ports.pop(0))

        with private_server() as server:
            assert server.port == free
            assert server.run("SELECT 1") == [(1,)]


def test_a_server_that_finds_no_port_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three taken ports are not a coincidence."""
    if private_mysql.find_server() is None:
        missing(private_mysql.NONE_INSTALLED)
    with socket.socket() as someone:
        someone.bind(("127.0.0.1", 0))
        ports = [someone.getsockname()[1]] * private_mysql.MAX_PORTS
        monkeypatch.setattr(private_mysql, "free_port", ports.pop)

        with (
            pytest.raises(private_mysql.NoServerError, match=private_mysql.PORT_IS_TAKEN),
            private_mysql.private_server(),
        ):
            pass

    assert ports == []
