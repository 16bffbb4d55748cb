"""Parameters of requests, and connections."""

from __future__ import annotations

import socket
from typing import Annotated

import pytest
from fastapi import Path, Query
from fastapi.exceptions import RequestValidationError
from starlette.requests import Request
from starlette.responses import Response

from integration.service.endpoints import Endpoint, parsed_query
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
