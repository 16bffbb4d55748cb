"""Parameters of requests, and connections."""

from __future__ import annotations

import asyncio
import inspect
import socket
import threading
import time
from typing import Annotated

import pytest
from fastapi import Path, Query
from fastapi.exceptions import RequestValidationError
from starlette.requests import Request
from starlette.responses import Response

from integration.service.endpoints import MAX_THREADS, Endpoint, parsed_query
from integration.service.json_paths import JsonPaths
from integration.service.parameters import ListParameters
from integration.service.server import listening


def test_of_a_repeated_parameter_the_last_one_counts() -> None:
    """Empty ones are kept, and escapes decoded."""
    assert parsed_query(b"a=1&a=2&b=&c=%C3%A9+x") == {"a": "2", "b": "", "c": "é x"}


def test_parameters_are_those_of_the_signature() -> None:
    """With the types and limits of the annotations."""

    def answer(
        request: Request,
        run: Annotated[str, Path(max_length=3)],
        page: Annotated[ListParameters, Query()],
    ) -> Response:
        return Response()

    scope = {"type": "http", "path_params": {"run": "7"}, "query_string": b"page_size=5"}
    found = Endpoint(answer).arguments(scope, None)  # type: ignore[arg-type]
    assert (found["run"], found["page"]) == ("7", ListParameters(page_size=5))
    assert isinstance(found["request"], Request)

    scope = {"type": "http", "path_params": {"run": "long"}, "query_string": b"page_size=0&x=1"}
    with pytest.raises(RequestValidationError) as raised:
        Endpoint(answer).arguments(scope, None)  # type: ignore[arg-type]
    assert [one["loc"] for one in raised.value.errors()] == [("run",), ("page_size",), ("x",)]


def test_the_end_of_an_answer_does_not_wait_for_the_client() -> None:
    """The connections of the window are without Nagle's algorithm."""
    with (
        listening("127.0.0.1", 0) as listener,
        socket.create_connection(listener.getsockname()) as _,
        listener.accept()[0] as accepted,
    ):
        assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_a_coroutine_answers_while_all_threads_wait() -> None:
    """So does `/live`: a database that hangs is no reason to restart the window."""
    go_on = threading.Event()

    def waits() -> Response:
        go_on.wait(30)
        return Response()

    async def live() -> Response:
        go_on.set()
        return Response()

    async def requests() -> list[object]:
        scope = {"type": "http", "path_params": {}, "query_string": b""}
        endpoints = [*[Endpoint(waits)] * MAX_THREADS, Endpoint(live)]
        return await asyncio.gather(*(one(scope, None, ignored) for one in endpoints))  # type: ignore[arg-type]

    async def ignored(_: object) -> None:
        pass

    began = time.monotonic()
    asyncio.run(requests())

    assert time.monotonic() - began < 20
    assert inspect.iscoroutinefunction(JsonPaths.live)
