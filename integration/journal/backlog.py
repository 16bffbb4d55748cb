"""Whom earlier runs left open.

A customer belongs to the newest run that has them: an older run neither sends them older data
nor counts them as open.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from integration.core.models import CALLS
from integration.journal.queries import count_outcomes, read_run
from integration.journal.schema import (
    DELIVERED_LATER,
    IN_ANOTHER_LATER_RUN,
    IN_LATER_RUN,
    SUPERSEDED,
    SUPERSEDED_REASON,
    UNCHANGED,
    superseded_json,
    unchanged_json,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from integration.core.models import Run
    from integration.journal.file import JournalFile

# A user u of run :run, with the outcome o if there is one.
_ANY = (
    "FROM users u LEFT JOIN outcomes o ON o.run = u.run AND o.position = u.position"
    " WHERE u.run = :run"
)
_CANNOT_BE_SENT = "json_extract(o.users_update, '$.error') IS 'invalid_record'"
# One who has a call left that can be made.
_OPEN = (
    f"{_ANY} AND NOT (COALESCE(o.users_update_success, 0) AND COALESCE(o.events_track_success, 0))"
    f" AND NOT {_CANNOT_BE_SENT}"
)


class Backlog(NamedTuple):
    """A run with users left to send.

    Attributes:
        projects: the projects whose newer runs count, as a pattern of SQLite's GLOB.
        pending_users: those that no newer run has; 0 if the users were never stored.
    """

    run: Run
    projects: str
    pending_users: int


class Unsendable(NamedTuple):
    """A run with users that can never be sent, by reason, and that no newer run has."""

    run: Run
    reasons: tuple[tuple[str, int], ...]


def unfinished(file: JournalFile, project: str | None) -> Backlog | None:
    """The newest run that did not finish, and that `project` can go on with; None is any."""
    for run in _newest_first(file, "status != 'completed'"):
        if may_continue(file, run, project):
            backlog = _backlog(file, run, _same_projects(file, run, project))
            projects = project or _own_projects(file, run)
            if _has_work(file, backlog) or _lacks_its_results(file, run, projects):
                return backlog
    return None


def undelivered(file: JournalFile, project: str | None) -> Backlog | None:
    """The newest run that came to an end and left users open whom `project` can be sent.

    None is any project.
    """
    for run in _newest_first(file, "status != 'running'"):
        if may_continue(file, run, project):
            backlog = _backlog(file, run, _same_projects(file, run, project))
            if backlog.pending_users:
                return backlog
    return None


def of_another_project(file: JournalFile, project: str) -> Backlog | None:
    """The newest run with open users that only the settings it began with can go on with."""
    for run in _newest_first(file, "project NOT IN ('', ?)", project):
        if not may_continue(file, run, project):
            # A wrong address that took nobody is no project: any later run counts.
            projects = run.project if count_outcomes(file, run.number).delivered else "*"
            backlog = _backlog(file, run, projects)
            if _has_work(file, backlog):
                return backlog
    return None


def unsendable(file: JournalFile, project: str | None) -> Unsendable | None:
    """The newest run of `project` (None: of any) with users that can never be sent as they are."""
    for run in _newest_first(file, "project IN ('', COALESCE(?, project))", project):
        reasons = file.all(
            f"SELECT json_extract(o.users_update, '$.response'), COUNT(*) {_ANY}"
            f" AND {_CANNOT_BE_SENT} AND NOT {IN_LATER_RUN} GROUP BY 1 ORDER BY 1",
            {"run": run.number, "projects": project or "*"},
        )
        if reasons:
            return Unsendable(run, tuple((reason, count) for reason, count in reasons))
    return None


def has_pending_work(file: JournalFile, run: Run) -> bool:
    """Whether --resume or --retry-failed may have to choose this run, with its own settings."""
    projects = _own_projects(file, run)
    return _has_work(file, _backlog(file, run, projects)) or _lacks_its_results(file, run, projects)


def is_only_newer_run_for(file: JournalFile, earlier: Run, number: int) -> bool:
    """Whether `run` alone tells that users of an earlier run were sent newer data.

    An unfinished run, once it is resumed and ends, also notes anew what its delivered users were
    last sent.
    """
    users = _OPEN if earlier.status == "completed" else _ANY
    values = {"run": earlier.number, "projects": _own_projects(file, earlier), "but": number}
    query = (
        f"SELECT 1 {users} AND u.customer_id IN (SELECT customer_id FROM users WHERE run = :but)"
        " AND (SELECT project FROM runs WHERE run = :but) GLOB :projects"
        f" AND NOT {IN_ANOTHER_LATER_RUN} LIMIT 1"
    )
    return file.one(query, values) is not None


def may_continue(file: JournalFile, run: Run, project: str | None) -> bool:
    """Whether a run's users may be sent to `project`, an `address:key`.

    What one Iterable project has not got is not sent to another. A corrected key looks like
    another project, too.
    """
    theirs = run.project
    if project is None:
        return True
    address, _, _ = project.partition(":")
    return theirs in {"", project} or (
        _had_a_wrong_key(file, run) and theirs.startswith(f"{address}:")
    )


def _had_a_wrong_key(file: JournalFile, run: Run) -> bool:
    """Whether its key was refused and delivered nothing: so it is no project's.

    A run that was killed, or met no Iterable, may have had a key that is good.
    """
    return run.key_refused and not count_outcomes(file, run.number).delivered


def copy_pending_users(file: JournalFile, source: Backlog, target: int) -> None:
    """Give a new run the open users of another, with what is done of them.

    Calls that succeeded stay as they were.
    """
    values = {"run": source.run.number, "projects": source.projects, "target": target}
    chosen = f"{_OPEN} AND NOT {IN_LATER_RUN}"
    file.execute(
        "INSERT INTO users"
        f" SELECT :target, u.position, u.customer_id, u.email, u.profile, u.event {chosen}",
        values,
    )
    succeeded = {call: f"o.{call}_success" for call in CALLS}
    columns = ", ".join(
        f"CASE WHEN {succeeded[call]} THEN o.{column} END"
        for call in CALLS
        for column in (f"{call}_success", call)
    )
    file.execute(
        f"INSERT INTO outcomes SELECT :target, u.position, o.at, {columns} {chosen}"
        f" AND ({' OR '.join(succeeded.values())})",
        values,
    )


def defer_to_newer_runs(file: JournalFile, backlog: Backlog, at: str) -> None:
    """Do not send those who are in a later run, which has newer data.

    If one delivered them they count as unchanged, else as not attempted.
    """
    values = {"run": backlog.run.number, "projects": backlog.projects, "at": at}
    results = {
        DELIVERED_LATER: (UNCHANGED, unchanged_json(SUPERSEDED_REASON)),
        f"{IN_LATER_RUN} AND NOT {DELIVERED_LATER}": (SUPERSEDED, superseded_json()),
    }
    with file.transaction():
        for whom, (success, text) in results.items():
            file.execute(
                "INSERT INTO outcomes"
                f" SELECT u.run, u.position, :at, :success, :text, :success, :text {_OPEN}"
                f" AND {whom}"
                " ON CONFLICT (run, position) DO UPDATE SET at = excluded.at,"
                " users_update_success = excluded.users_update_success,"
                " users_update = excluded.users_update,"
                " events_track_success = excluded.events_track_success,"
                " events_track = excluded.events_track",
                {**values, "success": success, "text": text},
            )


def _newest_first(file: JournalFile, condition: str, *values: str | None) -> Iterator[Run]:
    for (number,) in file.all(f"SELECT run FROM runs WHERE {condition} ORDER BY run DESC", values):
        yield read_run(file, number)


def _same_projects(file: JournalFile, run: Run, project: str | None) -> str:
    """Whose later runs count: those for `project`, or with None those for the run's own.

    With a corrected key it may have been sent under any key of the address.
    """
    theirs = run.project
    if project is None:
        return _own_projects(file, run)
    address, _, _ = project.partition(":")
    return project if theirs in {"", project} else f"{address}:*"


def _own_projects(file: JournalFile, run: Run) -> str:
    """Whose later runs count, whatever the settings are now."""
    project = run.project
    address, _, _ = project.partition(":")
    if not project:
        return "*"
    return f"{address}:*" if _had_a_wrong_key(file, run) else project


def _backlog(file: JournalFile, run: Run, projects: str) -> Backlog:
    count = 0
    if count_outcomes(file, run.number).undelivered:
        query = f"SELECT COUNT(*) {_OPEN} AND NOT {IN_LATER_RUN}"
        (count,) = file.one(query, {"run": run.number, "projects": projects})
    return Backlog(run, projects, count)


def _has_work(file: JournalFile, backlog: Backlog) -> bool:
    """Whether somebody is open, or nobody knows: the run never came to have its users.

    Then a later run makes up for it that loaded everybody, or as many as it was to load.
    """
    if backlog.run.is_loaded:
        return bool(backlog.pending_users)
    query = (
        "SELECT 1 FROM runs WHERE run > ? AND project GLOB ? AND status != 'loading'"
        " AND (kind = 'full' OR user_limit >= ?)"
    )
    values = (backlog.run.number, backlog.projects, backlog.run.limit)
    return file.one(query, values) is None


def _lacks_its_results(file: JournalFile, run: Run, projects: str) -> bool:
    """Whether a run died after its last call, and no whole run has come to its end since."""
    query = (
        "SELECT 1 FROM runs WHERE run > ? AND project GLOB ?"
        " AND status = 'completed' AND kind = 'full'"
    )
    crashed = run.status == "running"
    return crashed and file.one(query, (run.number, projects)) is None
