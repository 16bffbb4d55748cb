"""Answers in JSON, and errors as RFC 9457 problems (https://www.rfc-editor.org/rfc/rfc9457)."""

from __future__ import annotations

import time
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import orjson
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from integration.database.errors import DatabaseError
from integration.journal.reading import JournalError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from fastapi import FastAPI
    from starlette.requests import Request

PROBLEM_TYPE = "application/problem+json"


class Problem(Exception):  # noqa: N818  the RFC's term
    """Ends a request with an error.

    Args:
        status: the HTTP status.
        detail: one sentence that says what to do.
        errors: the parameters that are wrong, and why.
    """

    def __init__(self, status: int, detail: str, errors: Sequence[tuple[str, str]] = ()) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.errors = errors


def wrong_parameter(name: str, detail: str) -> Problem:
    """A 422 that names the parameter."""
    return Problem(422, f"{name}: {detail}", [(name, detail)])


def answer(request: Request, content: Mapping[str, object], **headers: str) -> Response:
    """A JSON answer with the request's id and how long it took."""
    state = request.scope["state"]
    body = {
        "request_id": state["request_id"],
        **content,
        "api_latency_ms": round((time.perf_counter() - state["started"]) * 1000, 3),
    }
    encoded = orjson.dumps(body, option=orjson.OPT_UTC_Z, default=str)
    return Response(encoded, media_type="application/json", headers=headers)


def problem_response(
    state: Mapping[str, Any],
    status: int,
    detail: str,
    errors: Sequence[tuple[str, str]] = (),
    headers: Mapping[str, str] | None = None,
) -> Response:
    """A problem document."""
    body = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "request_id": state["request_id"],
        "api_latency_ms": round((time.perf_counter() - state["started"]) * 1000, 3),
    }
    if errors:
        body["errors"] = [{"parameter": name, "detail": text} for name, text in errors]
    return Response(
        orjson.dumps(body), status_code=status, media_type=PROBLEM_TYPE, headers=dict(headers or {})
    )


# Errors on these paths are shown as pages.
_PAGES = ("/page/", "/find")


def show_problems_with(app: FastAPI, render: Callable[[int, str], Response]) -> None:
    """Answer the errors of pages with a page.

    Args:
        app: the service.
        render: makes a page of a status and a sentence.
    """
    app.state.render_problem = render


def _respond(
    request: Request,
    status: int,
    detail: str,
    errors: Sequence[tuple[str, str]] = (),
    headers: Mapping[str, str] | None = None,
) -> Response:
    path = request.scope["path"]
    if path == "/" or path.startswith(_PAGES):
        response: Response = request.app.state.render_problem(status, detail)
        response.headers.update(headers or {})
        return response
    return problem_response(request.scope["state"], status, detail, errors, headers)


def add_problem_handlers(app: FastAPI) -> None:
    """Answer every error of the application with a problem."""
    app.add_exception_handler(Problem, _on_problem)
    app.add_exception_handler(RequestValidationError, _on_invalid)
    app.add_exception_handler(HTTPException, _on_http)
    app.add_exception_handler(DatabaseError, _on_unavailable)
    app.add_exception_handler(JournalError, _on_unavailable)
    app.add_exception_handler(Exception, _on_bug)


def _on_problem(request: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)
    return _respond(request, error.status, error.detail, error.errors)


def _on_invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    errors = [(str(one["loc"][-1]), _reason(one)) for one in error.errors()]
    detail = "; ".join(f"{name}: {reason}" for name, reason in errors)
    return _respond(request, 422, detail, errors)


def _reason(error: Mapping[str, Any]) -> str:
    if error["type"] == "extra_forbidden":
        return "is not a parameter of this path"
    return str(error["msg"]).removeprefix("Value error, ")


def _on_http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    texts = {404: "No such path; /docs lists them all", 405: "This service only reads: use GET"}
    text = texts.get(error.status_code, error.detail)
    return _respond(request, error.status_code, text, headers=error.headers)


def _on_unavailable(request: Request, error: Exception) -> Response:
    return _respond(request, 503, str(error), headers={"Retry-After": "5"})


def _on_bug(request: Request, _error: Exception) -> Response:
    text = "Unexpected error; the log has it under this request id"
    return _respond(request, 500, text)
