"""What the template of a run shows. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote

from integration.core.verdict import RESUME, delivery_command
from integration.service.comparison import numbers_of
from integration.service.home_context import OUTCOME_TEXTS
from integration.service.texts import change_text, duration_text, number_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from integration.service.run_lists import ListPage

_RECORD_STYLES = {"inserted": "ok", "updated": "ok", "unchanged": "idle", "rejected": "partial"}
_FACTS = {
    "kind": "Kind",
    "mode": "Mode",
    "retries": "Retries",
    "pages": "Pages",
    "missing": "Missing in the source",
    "deleted": "Deleted",
    "cursor_from": "Read from",
    "cursor_to": "Read up to",
}


class Kind(NamedTuple):
    """How a count is shown."""

    style: str
    name: str
    text: str


class Cell(NamedTuple):
    """A cell of a table, and where it leads."""

    text: str
    href: str | None = None


def run_context(run: dict[str, Any], before: dict[str, Any] | None, suffix: str) -> dict[str, Any]:
    """A run.

    Args:
        run: what `/runs/{id}` answers.
        before: the run before it.
        suffix: of links: empty, or `?masked=1`.
    """
    is_delivery = run["type"] == "delivery"
    number = run["id"].partition("-")[2]
    sync = f": {run['sync']}" if is_delivery and run["sync"] else ""
    title = f"Delivery {number}{sync}" if is_delivery else f"Ingest {number}: {run['name']}"
    return {
        "id": run["id"],
        "title": title,
        "status": run["status"],
        "is_running": run["status"] == "running",
        "reason": run["error"],
        "warnings": run.get("warnings") or (),
        "command": _command(run),
        "facts": _facts(run),
        "counts_title": "Users by outcome" if is_delivery else "Records",
        "counts": _counts(run, is_delivery=is_delivery),
        "counts_href": f"/page/runs/{run['id']}{suffix or '?'}{'&' if suffix else ''}outcome="
        if is_delivery
        else None,
        "reasons_title": "Failures by reason" if is_delivery else "Rejected by reason",
        "reasons": [(one["reason"], one["count"]) for one in run["reasons"]],
        "unit": "Users" if is_delivery else "Records",
        "reasons_empty": "No call failed." if is_delivery else "No record was rejected.",
        "files": [(name, path) for name, path in (run.get("files") or {}).items()],
        "before": _before(run, before, suffix) if before else None,
    }


def _command(run: dict[str, Any]) -> str | None:
    """What repairs a run, if it is the newest one."""
    if run["type"] == "delivery":
        is_unfinished = run["status"] in {"crashed", "stopped", "interrupted"}
        return delivery_command(RESUME, run["sync"] or "") if is_unfinished else None
    if run["status"] in {"failed", "crashed"}:
        return f"python cli.py run --source {run['name']}"
    return f"python cli.py rejected --source {run['name']}" if run["counts"]["rejected"] else None


def _facts(run: dict[str, Any]) -> list[tuple[str, str]]:
    facts = [
        ("Started", _second(run["started_at"])),
        ("Ended", _second(run["finished_at"])),
        ("Duration", duration_text(run["seconds"])),
    ]
    if run["rate"]:
        unit = "users" if run["type"] == "delivery" else "records"
        facts.append(("Rate", f"{number_text(round(run['rate'], 1))} {unit} per second"))
    if run["type"] == "delivery":
        facts.append(("Run id", run["name"]))
    return facts + [
        (text, number_text(value) if isinstance(value, int) else str(value))
        for name, text in _FACTS.items()
        if (value := run.get(name)) not in (None, "")
    ]


def _second(moment: Any) -> str:  # noqa: ANN401  a datetime or None
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC" if moment else "not yet"


def _counts(run: dict[str, Any], *, is_delivery: bool) -> list[tuple[Kind, int]]:
    counts = run["counts"]
    if is_delivery:
        return [
            (Kind(style, name, text), counts[name]) for name, (style, text) in OUTCOME_TEXTS.items()
        ]
    return [(Kind(style, name, name), counts[name]) for name, style in _RECORD_STYLES.items()]


def _before(run: dict[str, Any], before: dict[str, Any], suffix: str) -> dict[str, Any]:
    return {
        "href": f"/page/runs/{before['id']}{suffix}",
        "rows": [
            {
                "name": name.replace("_", " "),
                "this": number_text(this),
                "that": number_text(that),
                "change": change_text(this - that),
            }
            for name, that, this in numbers_of(before, run)
        ],
    }


def people_context(
    page: ListPage, run_id: str, outcome: str | None, *, is_masked: bool
) -> dict[str, Any]:
    """The users of a delivery."""
    title = f"Users: {OUTCOME_TEXTS[outcome][1]}" if outcome else "Users"
    return {
        "title": title,
        "heads": ("Email", "Name", "Outcome", "Answers"),
        "rows": [_user(item, is_masked=is_masked) for item in page.items],
        "keys": page.next_keys,
        "run": run_id,
    }


def _user(item: dict[str, Any], *, is_masked: bool) -> Sequence[Cell]:
    email = str(item["email"] or "–")
    name = " ".join(filter(None, (item["first_name"], item["last_name"]))) or "–"
    return (
        Cell(email, None if is_masked or not item["email"] else person_href(email)),
        Cell(name),
        Cell(OUTCOME_TEXTS[item["outcome"]][1]),
        Cell(_answers(item["calls"])),
    )


def _answers(calls: dict[str, Any] | None) -> str:
    """What Iterable answered to failed calls."""
    texts = [
        f"{call.replace('_', '/')}: {_answer(result)}"
        for call, result in (calls or {}).items()
        if not result["success"] and (result["attempts"] or result["error"] == "invalid_record")
    ]
    return "; ".join(dict.fromkeys(texts)) or "–"


def _answer(result: dict[str, Any]) -> str:
    response = result["response"]
    if isinstance(response, dict):
        return f"{result['status_code']} {response.get('msg') or response.get('code')}"
    return str(response or result["error"])


def person_href(email: str) -> str:
    """The page of a person."""
    return f"/page/people/{quote(email, safe='@')}"


def rejected_context(page: ListPage, run_id: str) -> dict[str, Any]:
    """The records that a run of a source rejected."""
    return {
        "title": "Rejected records",
        "heads": ("Record", "Key", "Reason", "State", "Origin"),
        "rows": [_record(item) for item in page.items],
        "keys": page.next_keys,
        "run": run_id,
    }


def _record(item: dict[str, Any]) -> Sequence[Cell]:
    reason = str(item["code"]).replace("_", " ")
    return (
        Cell(f"page {item['page']}, record {item['position'] + 1}"),
        Cell(str(item["source_key"] or "–")),
        Cell(f"{reason}: {item['field']}" if item["field"] else reason),
        Cell("rejected" if item["is_open"] else "resolved"),
        Cell(str(item["origin"] or "raw page no longer stored")),
    )
