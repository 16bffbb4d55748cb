"""The run's parts are made as the settings want them."""

from __future__ import annotations

import re
import socket
import threading
from contextlib import closing

from assembly import make_client
from command_line import __version__
from settings import load_settings
from stopping import Stop

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"


def test_requests_name_the_program_and_its_version() -> None:
    """Who looks through Iterable's logs, or a proxy's, sees who called."""
    seen: list[bytes] = []

    def answer_once(server: socket.socket) -> None:
        connection, _ = server.accept()
        with connection:
            seen.append(connection.recv(65536))
            connection.sendall(ANSWER)

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=answer_once, args=(server,))
        thread.start()
        settings = load_settings(
            {
                "DB_ENGINE": "sqlite",
                "DB_NAME": "customers.sqlite",
                "ITERABLE_API_KEY": "sandbox-key",
                "ITERABLE_API_BASE_URL": f"http://127.0.0.1:{server.getsockname()[1]}",
                "REQUEST_TIMEOUT": "60",
            }
        )
        with closing(make_client(settings, Stop())) as client:
            assert client.read_user("ada@example.com").success
        thread.join()

    assert re.findall(rb"(?mi)^User-Agent: (.*)\r$", seen[0]) == [
        f"iterable-integration/{__version__}".encode()
    ]
