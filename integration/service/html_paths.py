"""The paths that answer people: pages made on the server, readable without JavaScript."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path as FilePath
from typing import Annotated, Any

from fastapi import FastAPI, Path, Query, Request
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.responses import JSONResponse, RedirectResponse, Response

from integration.service import cursors
from integration.service.deliveries import ALL
from integration.service.docs_context import docs_context
from integration.service.endpoints import PlainRoute
from integration.service.home_context import home_context, run_row
from integration.service.links import next_href, suffix_of
from integration.service.masking import mask_email
from integration.service.overview import Overviews
from integration.service.parameters import (
    FindParameters,
    ListParameters,
    Parameters,
    UsersParameters,
)
from integration.service.parts import Parts
from integration.service.people import person_facts, story
from integration.service.problems import Problem, show_problems_with
from integration.service.run_context import (
    people_context,
    person_href,
    rejected_context,
    run_context,
)
from integration.service.run_documents import (
    RunId,
    delivery_document,
    ingest_document,
    parse_run_id,
)
from integration.service.run_lists import (
    delivery_run_of,
    ingest_run_of,
    rejected_page,
    run_details,
    run_page,
    users_page,
)
from integration.service.search import MATCHES_SHOWN, find_matches, first_email, match_context
from integration.service.story import sentence_of

FOLDER = FilePath(__file__).with_name("page")
ASSETS = {
    "style.css": "text/css; charset=utf-8",
    "refresh.js": "text/javascript; charset=utf-8",
    "icon.svg": "image/svg+xml",
}
EXAMPLE = "ada@example.com"


class HtmlPaths:
    """The pages.

    Args:
        parts: what to read.
        overviews: what `/`, `/health`, `/stats` and `/metrics` share.
        openapi: makes the OpenAPI document.
    """

    def __init__(
        self, parts: Parts, overviews: Overviews, openapi: Callable[[], dict[str, Any]]
    ) -> None:
        self._parts = parts
        self._overviews = overviews
        self._openapi = openapi
        self._templates = Environment(
            loader=FileSystemLoader(FOLDER),
            autoescape=True,
            trim_blocks=True,
            lstrip_blocks=True,
            undefined=StrictUndefined,
        )
        self._assets = {name: (FOLDER / name).read_bytes() for name in ASSETS}

    def add_to(self, app: FastAPI) -> None:
        """Add the paths."""
        for path, endpoint in (
            ("/", self.home),
            ("/page/runs", self.runs),
            ("/page/runs/{run_id}", self.run),
            ("/page/people/{email:path}", self.person),
            ("/find", self.find),
            ("/docs", self.docs),
            ("/openapi.json", self.openapi),
            ("/assets/{name}", self.asset),
        ):
            app.router.add_api_route(
                path,
                endpoint,
                methods=["GET"],
                include_in_schema=False,
                response_model=None,
                route_class_override=PlainRoute,
            )
        show_problems_with(app, self.problem)

    def _is_masked(self, parameters: Parameters) -> bool:
        return self._parts.is_masked or parameters.masked

    def _render(
        self, template: str, parameters: Parameters | None, status: int = 200, **context: object
    ) -> Response:
        wants_mask = parameters is not None and parameters.masked and not self._parts.is_masked
        text = self._templates.get_template(template).render(
            now=f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S}",
            masked=wants_mask or self._parts.is_masked,
            suffix=suffix_of(wants_mask),
            **context,
        )
        return Response(text, status_code=status, media_type="text/html; charset=utf-8")

    def home(self, parameters: Annotated[Parameters, Query()]) -> Response:
        """The overview."""
        suffix = suffix_of(parameters.masked)
        context = home_context(self._overviews.current(), suffix)
        return self._render("home.html", parameters, **context)

    def runs(self, parameters: Annotated[ListParameters, Query()]) -> Response:
        """All runs, newest first."""
        before = cursors.decode(parameters.cursor, 2, {}) if parameters.cursor else (ALL, ALL)
        found = run_page(self._parts, (before[0], before[1]), parameters.page_size)
        suffix = suffix_of(parameters.masked)
        return self._render(
            "runs.html",
            parameters,
            runs=[run_row(run, suffix) for run in found.runs],
            unavailable=found.unavailable,
            next=next_href("/page/runs", parameters, found.next_keys, {}),
        )

    def run(
        self, run_id: Annotated[str, Path()], parameters: Annotated[UsersParameters, Query()]
    ) -> Response:
        """One run."""
        number = parse_run_id(run_id)
        suffix = suffix_of(parameters.masked)
        details = run_details(self._parts, number)
        context = run_context(details, self._before(number), suffix)
        return self._render(
            "run.html", parameters, run=context, people=self._people(number, parameters)
        )

    def _before(self, run_id: RunId) -> dict[str, Any] | None:
        if run_id.kind == "ingest":
            with ingest_run_of(self._parts, run_id) as (session, run):
                earlier = self._parts.ingest.run_before(session, run)
                return ingest_document(earlier) if earlier else None
        if run_id.number == 1:
            return None
        try:
            with delivery_run_of(self._parts, run_id._replace(number=run_id.number - 1)) as (
                _,
                one,
            ):
                return delivery_document(one)
        except Problem:  # it was deleted
            return None

    def _people(self, run_id: RunId, parameters: UsersParameters) -> dict[str, Any]:
        is_masked = self._is_masked(parameters)
        filters = {"run": str(run_id), "outcome": parameters.outcome}
        limit = parameters.page_size
        if run_id.kind == "delivery":
            (after,) = cursors.decode(parameters.cursor, 1, filters) if parameters.cursor else (0,)
            users = users_page(
                self._parts, run_id, parameters.outcome, after, limit=limit, is_masked=is_masked
            )
            shown = people_context(users, str(run_id), parameters.outcome, is_masked=is_masked)
        else:
            first = cursors.decode(parameters.cursor, 2, filters) if parameters.cursor else (0, 0)
            place = (first[0], first[1])
            records = rejected_page(self._parts, run_id, place, limit=limit, is_masked=is_masked)
            shown = rejected_context(records, str(run_id))
        path = f"/page/runs/{run_id}"
        return {**shown, "next": next_href(path, parameters, shown["keys"], filters)}

    def person(
        self,
        email: Annotated[str, Path(min_length=1, max_length=320)],
        parameters: Annotated[Parameters, Query()],
    ) -> Response:
        """One person's story."""
        is_masked = self._is_masked(parameters)
        facts = person_facts(self._parts, email)
        return self._render(
            "person.html",
            parameters,
            story={
                "email": mask_email(email) if is_masked else email,
                "sentence": sentence_of(facts),
                "steps": story(facts, is_masked=is_masked),
                "errors": [one for one in (facts.database_error, facts.journal_error) if one],
            },
        )

    def find(self, parameters: Annotated[FindParameters, Query()]) -> Response:
        """Leads to a person, or shows who may be meant."""
        text = parameters.email.strip()
        if not text:
            raise Problem(404, "Type an email address, or how an email or a name begins")
        suffix = suffix_of(parameters.masked)
        is_masked = self._is_masked(parameters)
        matches = find_matches(self._parts, text)
        emails = [str(one["email"]) for one in matches]
        if len(emails) == 1 or text.lower() in [email.lower() for email in emails]:
            text = emails[0] if len(emails) == 1 else text
            return RedirectResponse(f"{person_href(text)}{suffix}", status_code=303)
        if not emails and "@" in text:  # a delivery or a rejected record may have the address
            return RedirectResponse(f"{person_href(text)}{suffix}", status_code=303)
        return self._render(
            "matches.html",
            parameters,
            matches=[match_context(one, suffix, is_masked=is_masked) for one in matches],
            is_complete=len(matches) < MATCHES_SHOWN,
        )

    def docs(self, request: Request, parameters: Annotated[Parameters, Query()]) -> Response:
        """The paths for programs, with examples."""
        overview = self._overviews.current()
        runs = [f"delivery-{one.run.number}" for one in overview.deliveries]
        base = str(request.base_url)
        context = docs_context(
            self._openapi(),
            base,
            runs,
            EXAMPLE if self._is_masked(parameters) else first_email(self._parts, EXAMPLE),
            needs_token=self._parts.access.token is not None,
        )
        return self._render("docs.html", parameters, **context)

    def openapi(self) -> Response:
        """The OpenAPI document."""
        return JSONResponse(self._openapi())

    def asset(self, name: str) -> Response:
        """A file of the page."""
        if name not in ASSETS:
            raise Problem(404, "There is no such file")
        return Response(
            self._assets[name],
            media_type=ASSETS[name],
            headers={"Cache-Control": "private, max-age=300"},
        )

    def problem(self, status: int, detail: str) -> Response:
        """An error as a page."""
        titles = {404: "Not found", 422: "That cannot be shown", 503: "Not available now"}
        title = titles.get(status, "Something went wrong")
        return self._render("message.html", None, status, title=title, detail=detail)
