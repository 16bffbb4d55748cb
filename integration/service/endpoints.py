"""Paths whose parameters FastAPI documents and pydantic alone checks.

What FastAPI does for each parameter of each request takes longer than reading a page of rows.
"""

from __future__ import annotations

import asyncio
import inspect
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any, get_args, get_type_hints
from urllib.parse import parse_qsl

from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic import BaseModel, TypeAdapter, ValidationError
from starlette.requests import Request

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from starlette.types import Receive, Scope, Send

# More than there are connections: others read the journal, or wait for a connection.
MAX_THREADS = 40


class PlainRoute(APIRoute):
    """A path of the API; its endpoint runs in a thread, or at once if it is a coroutine."""

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:  # noqa: ANN401  FastAPI's
        super().__init__(path, endpoint, **options)
        self.app = Endpoint(endpoint)


class Endpoint:
    """A function that answers requests, as an ASGI application.

    Args:
        function: takes the request, parameters of the path, and one model of the query.
    """

    _threads = ThreadPoolExecutor(MAX_THREADS, thread_name_prefix="request")

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function
        self._request: str | None = None
        self._query: tuple[str, type[BaseModel]] | None = None
        self._path: dict[str, TypeAdapter[Any]] = {}
        hints = get_type_hints(function, include_extras=True)
        for name in inspect.signature(function).parameters:
            kind = (get_args(hints[name]) or (hints[name],))[0]
            if kind is Request:
                self._request = name
            elif isinstance(kind, type) and issubclass(kind, BaseModel):
                self._query = name, kind
            else:
                self._path[name] = TypeAdapter(hints[name])

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        arguments = self.arguments(scope, receive)
        if inspect.iscoroutinefunction(self._function):
            response = await self._function(**arguments)
        else:
            call = partial(self._function, **arguments)
            response = await asyncio.get_running_loop().run_in_executor(self._threads, call)
        await response(scope, receive, send)

    def arguments(self, scope: Scope, receive: Receive) -> dict[str, object]:
        """What the function is called with.

        Raises:
            RequestValidationError: parameters are wrong.
        """
        values: dict[str, object] = {}
        errors: list[Mapping[str, Any]] = []
        for name, adapter in self._path.items():
            try:
                values[name] = adapter.validate_python(scope["path_params"][name])
            except ValidationError as error:
                errors += [{**one, "loc": (name,)} for one in error.errors()]
        if self._query:
            name, model = self._query
            try:
                values[name] = model.model_validate(parsed_query(scope["query_string"]))
            except ValidationError as error:
                errors += error.errors()
        if errors:
            raise RequestValidationError(errors)
        if self._request:
            values[self._request] = Request(scope, receive)
        return values


def parsed_query(query: bytes) -> dict[str, str]:
    """The parameters of a query string; of those that are repeated, the last one."""
    return dict(parse_qsl(query.decode("latin-1"), keep_blank_values=True))
