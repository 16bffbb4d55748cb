"""The page that a person sees at the sandbox's root."""

from __future__ import annotations

from html import escape
from itertools import islice
from typing import TYPE_CHECKING

from sandbox.faults import FAULT_KINDS
from sandbox.misbehaviour import MISBEHAVIOURS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from sandbox.application import Application
    from sandbox.record import Call

USERS_SHOWN = 100
CALLS_SHOWN = 20
_STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;max-width:70rem;margin:2rem auto;padding:0 1rem}"
    "table{border-collapse:collapse}td,th{border:1px solid #ccc;padding:.2rem .6rem;"
    "text-align:left;vertical-align:top;overflow-wrap:anywhere}"
)


def page(application: Application, control_paths: Mapping[str, str]) -> str:
    """Return the whole page."""
    parts = [
        "<!DOCTYPE html><html lang='en'><head><meta charset='utf-8'>",
        f"<title>Iterable sandbox</title><style>{_STYLE}</style></head><body>",
        "<h1>Iterable sandbox</h1>",
        _counts(application),
        "<h2>Last calls</h2>",
        _calls(application.record.last_calls(CALLS_SHOWN)[::-1]),
        f"<h2>Users (the first {USERS_SHOWN})</h2>",
        _users(application),
        "<h2>Addresses that misbehave</h2>",
        _table(("address begins with", "effect"), [(m.prefix, m.effect) for m in MISBEHAVIOURS]),
        "<h2>Faults on demand</h2>",
        _table(("kind", "what it does"), FAULT_KINDS.items()),
        "<h2>Paths</h2>",
        _table(("path", "what it does"), control_paths.items()),
        "</body></html>",
    ]
    return "\n".join(parts)


def _counts(application: Application) -> str:
    project, record = application.project, application.record
    totals = f"<p>{len(project.users.by_email):,} users, {len(project.events.by_id):,} events.</p>"
    rows = [
        (name, f"{count:,}", ", ".join(f"{k}: {v:,}" for k, v in record.answers[name].items()))
        for name, count in record.calls.items()
    ]
    return totals + _table(("endpoint", "calls", "answers"), rows)


def _calls(calls: Sequence[Call]) -> str:
    rows = [
        (
            call.endpoint,
            call.email or f"{call.items} items",
            call.status or "none",
            call.fault or "",
        )
        for call in calls
    ]
    return _table(("endpoint", "user", "status", "fault"), rows)


def _users(application: Application) -> str:
    users = islice(application.project.users.by_email.items(), USERS_SHOWN)
    rows = [(email, user.data.decode(), user.updates) for email, user in users]
    return _table(("email", "dataFields", "updates"), rows)


def _table(header: tuple[str, ...], rows: Iterable[tuple[object, ...]]) -> str:
    lines = [_row("th", header), *(_row("td", row) for row in rows)]
    return f"<table>{''.join(lines)}</table>"


def _row(tag: str, cells: Iterable[object]) -> str:
    return "<tr>" + "".join(f"<{tag}>{escape(str(cell))}</{tag}>" for cell in cells) + "</tr>"
