"""`/openapi.json`: what FastAPI knows of the paths, with the errors and the token."""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from integration.service.documents import ProblemDocument
from integration.service.problems import PROBLEM_TYPE

_DESCRIPTION = (
    "What happened: sources, rows, runs and people. It only reads. Every answer has the header"
    " `X-Request-ID`; lists are read on with `next_cursor`."
)
_ERRORS = {
    "401": "no token, or a wrong one",
    "404": "there is none",
    "422": "a parameter is wrong, or unknown",
    "503": "the database or the journal cannot be read, or a search is too broad",
}
_TEXTS = {
    "/data/export": {
        "text/csv": {"schema": {"type": "string"}},
        "application/x-ndjson": {"schema": {"type": "string"}},
    },
    "/metrics": {"text/plain": {"schema": {"type": "string"}}},
}


def document_of(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI document."""
    if app.openapi_schema:
        return app.openapi_schema
    document = get_openapi(
        title="Window", version=app.version, description=_DESCRIPTION, routes=app.routes
    )
    components = document.setdefault("components", {})
    schema = ProblemDocument.model_json_schema(ref_template="#/components/schemas/{model}")
    schemas = components.setdefault("schemas", {})
    schemas |= schema.pop("$defs", {}) | {"ProblemDocument": schema}
    components["securitySchemes"] = {
        "bearer": {"type": "http", "scheme": "bearer"},
        "basic": {"type": "http", "scheme": "basic"},
    }
    document["security"] = [{"bearer": []}, {"basic": []}, {}]
    for path, methods in document["paths"].items():
        for operation in methods.values():
            _complete(path, operation)
    # What FastAPI adds for its own answers.
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    app.openapi_schema = document
    return document


def _complete(path: str, operation: dict[str, Any]) -> None:
    responses = operation["responses"]
    if path in _TEXTS:
        responses["200"]["content"] = _TEXTS[path]
    wanted = dict(_ERRORS)
    if "{" not in path and path != "/compare-runs":
        del wanted["404"]
    if path == "/live":
        wanted = {}
        operation["security"] = []
    responses.pop("422", None)
    reference = {"$ref": "#/components/schemas/ProblemDocument"}
    for status, text in wanted.items():
        content: dict[str, Any] = {PROBLEM_TYPE: {"schema": reference}}
        if path == "/health" and status == "503":
            content |= responses["200"]["content"]
        responses[status] = {"description": text, "content": content}
