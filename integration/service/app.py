"""The service as an ASGI application."""

from fastapi import FastAPI

from integration.config.arguments import __version__
from integration.service.endpoints import PlainRoute
from integration.service.gate import Gate
from integration.service.html_paths import HtmlPaths
from integration.service.json_paths import PATHS, JsonPaths
from integration.service.metrics import Durations
from integration.service.openapi import document_of
from integration.service.overview import Overviews
from integration.service.parts import Parts
from integration.service.problems import add_problem_handlers


def create_app(parts: Parts) -> Gate:
    """The service, behind the gate that every request passes."""
    app = FastAPI(
        title="Window",
        version=__version__,
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        telemetry={"tracing": False, "metrics": False, "logs": False},
    )
    durations = Durations()
    overviews = Overviews(parts)
    endpoints = JsonPaths(parts, overviews, durations)
    for path, name, model in PATHS:
        app.router.add_api_route(
            path,
            getattr(endpoints, name),
            route_class_override=PlainRoute,
            methods=["GET"],
            name=name,
            responses={200: {"model": model}} if model else {},
            response_model=None,
        )
    app.openapi = lambda: document_of(app)  # type: ignore[method-assign]
    HtmlPaths(parts, overviews, app.openapi).add_to(app)
    add_problem_handlers(app)
    return Gate(app, parts.access, durations.observe)
