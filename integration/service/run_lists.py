"""Reading runs: the list of all, one with its details, its users and its rejected records."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import asdict
from heapq import merge
from typing import TYPE_CHECKING, NamedTuple

from integration.core.clock import utc_now
from integration.core.ingest_facts import IngestRun
from integration.core.mapping import person_in
from integration.database.errors import DatabaseError
from integration.journal.reading import JournalError
from integration.journal.run_users import (
    failure_reasons,
    rejected_users_of_run,
    users_of_run,
)
from integration.service.deliveries import (
    ALL,
    DeliveryRun,
    delivery_run,
    delivery_runs,
    opened_journal,
)
from integration.service.masking import mask_key, masked
from integration.service.problems import Problem
from integration.service.run_documents import (
    OUTCOMES,
    delivery_document,
    ingest_document,
    no_such_run,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from integration.database.reading import ReadSession
    from integration.journal.read_only import ReadOnlyJournal
    from integration.journal.run_users import RunUser
    from integration.journal.schema import UserOutcome
    from integration.service.parts import Parts
    from integration.service.run_documents import RunId

_OUTCOME_OF: dict[str, UserOutcome] = {shown: name for name, shown in OUTCOMES.items()}  # type: ignore[misc]
AnyRun = IngestRun | DeliveryRun


class RunPage(NamedTuple):
    """A page of runs.

    Attributes:
        next_keys: below which numbers the next page begins, or None at the end.
        unavailable: what could not be read, and why.
    """

    runs: Sequence[AnyRun]
    next_keys: tuple[int, int] | None
    unavailable: list[dict[str, str]]


class ListPage(NamedTuple):
    """A page of users or records; `next_keys` is None at the end."""

    items: list[dict[str, object]]
    next_keys: tuple[int, ...] | None


def run_page(parts: Parts, before: tuple[int, int], limit: int) -> RunPage:
    """Runs of both kinds, newest first.

    Args:
        parts: what to read.
        before: the run of a source and the delivery run of the last pages with the lowest numbers.
        limit: the maximum number of runs.

    Raises:
        Problem: 503; neither can be read.
    """
    unavailable: list[dict[str, str]] = []
    ingest: Sequence[IngestRun] = ()
    deliveries: Sequence[DeliveryRun] = ()
    try:
        with parts.pool.session() as session:
            ingest = parts.ingest.runs(session, before[0], limit + 1)
    except DatabaseError as error:
        unavailable.append({"part": "database", "detail": str(error)})
    try:
        with opened_journal(parts.journal) as journal:
            if journal:
                now = utc_now()
                deliveries = delivery_runs(journal, parts.journal, now, limit + 1, before[1])
    except JournalError as error:
        unavailable.append({"part": "journal", "detail": str(error)})
    if len(unavailable) == 2:
        raise Problem(503, "; ".join(one["detail"] for one in unavailable))
    return RunPage(*_merged(ingest, deliveries, before, limit), unavailable)


def _merged(
    ingest: Sequence[IngestRun],
    deliveries: Sequence[DeliveryRun],
    before: tuple[int, int],
    limit: int,
) -> tuple[Sequence[AnyRun], tuple[int, int] | None]:
    """The newest of both; each kind stays in the order of its numbers."""
    both: list[AnyRun] = list(merge([*ingest], [*deliveries], key=_age))  # type: ignore[arg-type]
    shown = both[:limit]
    numbers = [min((_number(one, kind) for one in shown), default=ALL) for kind in (0, 1)]
    keys = min(before[0], numbers[0]), min(before[1], numbers[1])
    return shown, keys if len(both) > limit else None


def _age(run: AnyRun) -> float:
    return -run.started_at.timestamp() if run.started_at else 0.0


def _number(run: AnyRun, kind: int) -> int:
    """The run's number, or the highest one if it is of the other kind."""
    number, is_of = (run.run.number, 1) if isinstance(run, tuple) else (run.run_id, 0)
    return number if is_of == kind else ALL


@contextmanager
def ingest_run_of(parts: Parts, run_id: RunId) -> Iterator[tuple[ReadSession, IngestRun]]:
    """The run of a source, and the session that read it.

    Raises:
        Problem: 404.
    """
    with parts.pool.session() as session:
        run = parts.ingest.run(session, run_id.number)
        if run is None:
            raise no_such_run(str(run_id))
        yield session, run


@contextmanager
def delivery_run_of(parts: Parts, run_id: RunId) -> Iterator[tuple[ReadOnlyJournal, DeliveryRun]]:
    """The delivery run, and the journal that has it.

    Raises:
        Problem: 404.
    """
    with opened_journal(parts.journal) as journal:
        run = delivery_run(journal, parts.journal, utc_now(), run_id.number) if journal else None
        if journal is None or run is None:
            raise no_such_run(str(run_id))
        yield journal, run


def run_details(parts: Parts, run_id: RunId) -> dict[str, object]:
    """Everything about one run."""
    if run_id.kind == "ingest":
        with ingest_run_of(parts, run_id) as (session, run):
            return _ingest_details(parts, session, run)
    with delivery_run_of(parts, run_id) as (journal, one):
        reasons = failure_reasons(journal, one.run.number)
        return {
            **delivery_document(one),
            "mode": one.run.mode,
            "incremental": one.run.incremental,
            "limit": one.run.limit,
            "files": {"csv": one.run.csv_file, "results": one.run.results_file},
            "retries_by_status": dict(one.run.retries.by_status),
            "seconds_waited": one.run.retries.seconds_waited,
            "reasons": [
                {"reason": f"{reason.call}: {reason.text}", "count": reason.users}
                for reason in reasons
            ],
        }


def _ingest_details(parts: Parts, session: ReadSession, run: IngestRun) -> dict[str, object]:
    reasons = parts.ingest.rejections_of_run(session, run.run_id)
    details = asdict(run)
    names = ("pages", "missing", "deleted", "cursor_from", "cursor_to", "warnings")
    return {
        **ingest_document(run),
        **{name: details[name] for name in names},
        "reasons": [
            {"reason": f"{code} {field}" if field else code, "count": number}
            for code, field, number in reasons
        ],
    }


def users_page(
    parts: Parts, run_id: RunId, outcome: str | None, after: int, *, limit: int, is_masked: bool
) -> ListPage:
    """Users of a delivery run.

    Raises:
        Problem: 404; there is no such run, or it is one of a source.
    """
    if run_id.kind == "ingest":
        text = f"{run_id} is a run of a source, which has no users: see /runs/{run_id}/rejected"
        raise Problem(404, text)
    wanted = _OUTCOME_OF[outcome] if outcome else None
    with delivery_run_of(parts, run_id) as (journal, one):
        users = users_of_run(journal, one.run.number, wanted, after, limit + 1)
    return _page_of_users(users, one.run.columns, limit, is_masked=is_masked)


def _page_of_users(
    users: Sequence[RunUser], columns: Sequence[str], limit: int, *, is_masked: bool
) -> ListPage:
    shown = users[:limit]
    items = [_user_document(user, columns) for user in shown]
    if is_masked:
        # What Iterable answered may name the person.
        items = [{**masked(item), "calls": None} for item in items]
    return ListPage(items, (shown[-1].position,) if len(users) > limit else None)


def _user_document(user: RunUser, columns: Sequence[str]) -> dict[str, object]:
    return {
        "position": user.position,
        **person_of(user.row, columns),
        "outcome": OUTCOMES[user.outcome],
        "at": user.at,
        "calls": {call: asdict(result) for call, result in user.results.items()},
    }


def person_of(row: object, columns: Sequence[str]) -> dict[str, object]:
    """Who a stored row is about; version 1.0 stored the payloads instead."""
    if isinstance(row, list):
        values = person_in(columns, row)
    else:
        profile = row.get("profile") if isinstance(row, dict) else None
        values = {"email": profile.get("email")} if isinstance(profile, dict) else {}
    return {
        "customer_id": values.get("id"),
        "email": values.get("email"),
        "first_name": values.get("first_name"),
        "last_name": values.get("last_name"),
    }


def rejected_page(
    parts: Parts, run_id: RunId, after: tuple[int, int], *, limit: int, is_masked: bool
) -> ListPage:
    """Records that a run of a source rejected, or users that a delivery could not send."""
    if run_id.kind == "delivery":
        with delivery_run_of(parts, run_id) as (journal, one):
            users = rejected_users_of_run(journal, one.run.number, after[1], limit + 1)
        page = _page_of_users(users, one.run.columns, limit, is_masked=is_masked)
        return page._replace(next_keys=(0, *page.next_keys) if page.next_keys else None)
    with ingest_run_of(parts, run_id) as (session, run):
        records = parts.ingest.rejected_of_run(session, run.run_id, after, limit + 1)
    shown = records[:limit]
    items: list[dict[str, object]] = [one._asdict() for one in shown]
    if is_masked:
        items = [{**item, "source_key": mask_key(item["source_key"])} for item in items]
    keys = (shown[-1].page, shown[-1].position) if len(records) > limit else None
    return ListPage(items, keys)
