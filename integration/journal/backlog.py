"""Users that earlier runs left pending."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

from integration.core.models import CALLS
from integration.journal.erased import IS_ERASED
from integration.journal.file import PAGE_SIZE
from integration.journal.newer_runs import (
    DELIVERED_BY_NEWER_RUN,
    IN_ANOTHER_NEWER_RUN,
    IN_NEWER_RUN,
    are_few_in_newer_runs,
)
from integration.journal.outcomes import add_ranges, add_rows, packed_rows, update_outcomes
from integration.journal.packing import unpack
from integration.journal.queries import (
    HAS_REJECTED,
    MAY_BE_PENDING,
    count_outcomes,
    runs_that,
)
from integration.journal.ranges import OutcomeRange, Update, position_ranges
from integration.journal.schema import (
    DONE,
    SUPERSEDED_REASON,
    CallStatus,
    superseded_json,
    unchanged_json,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from integration.core.models import Run
    from integration.journal.file import JournalFile
    from integration.journal.reading import JournalReader

_DONE = f"({', '.join(str(int(status)) for status in sorted(DONE))})"


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


def unfinished(file: JournalReader, project: str | None, sync: str | None = None) -> Backlog | None:
    """The newest unfinished run that `project` can resume; None means any project, or any sync."""
    for run in runs_that(file, "status != 'completed'", sync=sync):
        if may_continue(file, run, project):
            backlog = _backlog(file, run, _same_projects(file, run, project))
            projects = project or _own_projects(file, run)
            if _has_work(file, backlog) or _lacks_its_results(file, run, projects):
                return backlog
    return None


def undelivered(
    file: JournalReader, project: str | None, sync: str | None = None
) -> Backlog | None:
    """The newest ended run with pending users that `project` can retry; None means any."""
    for run in runs_that(file, f"status != 'running' AND {MAY_BE_PENDING}", sync=sync):
        if may_continue(file, run, project):
            backlog = _backlog(file, run, _same_projects(file, run, project))
            if backlog.pending_users:
                return backlog
    return None


def of_another_project(
    file: JournalReader, project: str, sync: str | None = None
) -> Backlog | None:
    """The newest run with pending users that only the settings it started with can resume."""
    for run in runs_that(file, "project NOT IN ('', ?)", project, sync=sync):
        if not may_continue(file, run, project):
            # A wrong address that received no users is not a project: any newer run counts.
            projects = run.project if count_outcomes(file, run.number).delivered else "*"
            backlog = _backlog(file, run, projects)
            if _has_work(file, backlog):
                return backlog
    return None


def unsendable(
    file: JournalReader, project: str | None, sync: str | None = None
) -> Unsendable | None:
    """The newest run of `project` (None: of any) with users that can never be sent as they are."""
    condition = f"project IN ('', COALESCE(?, project)) AND {HAS_REJECTED}"
    projects = project or "*"
    for run in runs_that(file, condition, project, sync=sync):
        if are_few_in_newer_runs(file, run.number, projects, "rejected_users"):
            continue
        reasons = file.all(
            "SELECT reason, COUNT(*) FROM rejected_users"
            f" WHERE run = :run AND NOT {IS_ERASED} AND NOT {IN_NEWER_RUN}"
            " GROUP BY reason ORDER BY reason",
            {"run": run.number, "projects": projects},
        )
        if reasons:
            return Unsendable(run, tuple((reason, count) for reason, count in reasons))
    return None


def has_pending_work(file: JournalReader, run: Run) -> bool:
    """Whether --resume or --retry-failed may have to choose this run, with its own settings."""
    projects = _own_projects(file, run)
    return _has_work(file, _backlog(file, run, projects)) or _lacks_its_results(file, run, projects)


def is_only_newer_run_for(file: JournalReader, earlier: Run, number: int) -> bool:
    """Whether only run `number` shows that users of an earlier run were sent newer data.

    An unfinished run, once it is resumed and ends, records again what its delivered users were
    last sent; so for it, delivered users count, too.
    """
    users = "pending_users" if earlier.status == "completed" else "users"
    values = {"run": earlier.number, "projects": _own_projects(file, earlier), "but": number}
    query = (
        f"SELECT 1 FROM {users} WHERE run = :run"
        " AND customer_id IN (SELECT customer_id FROM users WHERE run = :but)"
        " AND (SELECT project FROM runs WHERE run = :but) GLOB :projects"
        " AND (SELECT sync FROM runs WHERE run = :but) = (SELECT sync FROM runs WHERE run = :run)"
        f" AND NOT {IN_ANOTHER_NEWER_RUN} LIMIT 1"
    )
    return file.one(query, values) is not None


def may_continue(file: JournalReader, run: Run, project: str | None) -> bool:
    """Whether a run's users may be sent to `project`, an `address:key`.

    Users of one Iterable project are not sent to another. A corrected key looks like another
    project, too.
    """
    theirs = run.project
    if project is None:
        return True
    address, _, _ = project.partition(":")
    return theirs in {"", project} or (
        _had_a_wrong_key(file, run) and theirs.startswith(f"{address}:")
    )


def _had_a_wrong_key(file: JournalReader, run: Run) -> bool:
    """Whether its key was refused and delivered nothing, so that it belongs to no project.

    A run that crashed, or did not reach Iterable, may have had a valid key.
    """
    return run.key_refused and not count_outcomes(file, run.number).delivered


def copy_pending_users(file: JournalFile, source: Backlog, target: int) -> None:
    """Copy the pending users of a run to a new one, with the calls that succeeded."""
    run = source.run.number
    file.execute("CREATE TEMP TABLE copied (position INTEGER PRIMARY KEY, source INTEGER UNIQUE)")
    file.execute(
        "INSERT INTO copied (source)"
        f" SELECT position FROM pending_users WHERE run = :run AND NOT {IN_NEWER_RUN}"
        " ORDER BY position",
        {"run": run, "projects": source.projects},
    )
    file.execute(
        "INSERT INTO users SELECT ?, c.position, u.customer_id, u.email_key, u.fingerprint"
        " FROM copied c CROSS JOIN users u ON u.run = ? AND u.position = c.source",
        (target, run),
    )
    _copy_rows(file, run, target)
    _copy_successes(file, run, target)
    file.execute("DROP TABLE copied")


def _copy_rows(file: JournalFile, run: int, target: int) -> None:
    copied: list[bytes] = []
    first = 1
    for start, end, content in packed_rows(file, run):
        chosen = file.all("SELECT source FROM copied WHERE source BETWEEN ? AND ?", (start, end))
        lines = file.unpacked(unpack, content, end - start + 1) if chosen else []
        copied += [lines[position - start] for (position,) in sorted(chosen)]
        while len(copied) >= PAGE_SIZE:
            _add_copied(file, target, first, copied[:PAGE_SIZE])
            del copied[:PAGE_SIZE]
            first += PAGE_SIZE
    if copied:
        _add_copied(file, target, first, copied)


def _add_copied(file: JournalFile, target: int, first: int, lines: Sequence[bytes]) -> None:
    query = "SELECT email_key FROM users WHERE run = ? AND position >= ? ORDER BY position LIMIT ?"
    keys = file.all(query, (target, first, len(lines)))
    add_rows(file, target, first, lines, (key for (key,) in keys))


def _copy_successes(file: JournalFile, run: int, target: int) -> None:
    """Copy the outcomes of calls that succeeded or are not wanted; the others are pending."""
    succeeded = {call: f"o.{call}_status IN {_DONE}" for call in CALLS}
    columns = ", ".join(
        f"CASE WHEN {succeeded[call]} THEN o.{column} END"
        for call in CALLS
        for column in (f"{call}_status", call)
    )
    query = (
        "SELECT c.position, c.position,"
        f" CASE WHEN {' OR '.join(succeeded.values())} THEN o.at END, {columns}"
        " FROM copied c CROSS JOIN outcomes o ON o.run = :run AND o.first ="
        " (SELECT MAX(first) FROM outcomes WHERE run = :run AND first <= c.source)"
        " WHERE c.position > :position ORDER BY c.position LIMIT :limit"
    )
    pages = file.pages(query, {"run": run})
    add_ranges(file, target, map(OutcomeRange._make, pages))


def defer_to_newer_runs(file: JournalFile, backlog: Backlog, at: str) -> None:
    """Do not send users that a newer run has: it has newer data.

    They count as unchanged if a newer run delivered them, else as not attempted.
    """
    results = {
        DELIVERED_BY_NEWER_RUN: (CallStatus.UNCHANGED, unchanged_json(SUPERSEDED_REASON)),
        # The users that are left.
        IN_NEWER_RUN: (CallStatus.SUPERSEDED, superseded_json()),
    }
    with file.transaction():
        file.execute("UPDATE runs SET successful = NULL WHERE run = ?", (backlog.run.number,))
        for condition, (status, text) in results.items():
            positions = _pending_positions(file, backlog, condition)
            while page := list(islice(positions, PAGE_SIZE)):
                ranges = position_ranges(page)
                updates = [Update(first, last, None, at, status, text) for first, last in ranges]
                update_outcomes(file, backlog.run.number, updates)


def _pending_positions(file: JournalFile, backlog: Backlog, condition: str) -> Iterator[int]:
    """The positions of pending users that meet a condition, ascending."""
    # Found all at once: each query collects the users of the newer runs.
    file.execute("CREATE TEMP TABLE found (position INTEGER PRIMARY KEY)")
    file.execute(
        f"INSERT INTO found SELECT position FROM pending_users WHERE run = :run AND {condition}",
        {"run": backlog.run.number, "projects": backlog.projects},
    )
    query = "SELECT position FROM found WHERE position > :position ORDER BY position LIMIT :limit"
    for (position,) in file.pages(query, {}):
        yield position
    file.execute("DROP TABLE found")


def _same_projects(file: JournalReader, run: Run, project: str | None) -> str:
    """The projects whose newer runs count: `project`, or with None the run's own.

    After a key was corrected, they may have been sent with any key of the address.
    """
    theirs = run.project
    if project is None:
        return _own_projects(file, run)
    address, _, _ = project.partition(":")
    return project if theirs in {"", project} else f"{address}:*"


def _own_projects(file: JournalReader, run: Run) -> str:
    """The projects whose newer runs count, whatever the settings are now."""
    project = run.project
    address, _, _ = project.partition(":")
    if not project:
        return "*"
    return f"{address}:*" if _had_a_wrong_key(file, run) else project


def _backlog(file: JournalReader, run: Run, projects: str) -> Backlog:
    count, number = 0, run.number
    has_some = count_outcomes(file, number).undelivered
    if has_some and not are_few_in_newer_runs(file, number, projects, "pending_users"):
        query = f"SELECT COUNT(*) FROM pending_users WHERE run = :run AND NOT {IN_NEWER_RUN}"
        (count,) = file.one(query, {"run": run.number, "projects": projects})
    return Backlog(run, projects, count)


def _has_work(file: JournalReader, backlog: Backlog) -> bool:
    """Whether users are pending, or may be: those of a run that did not load are not known.

    A newer run supersedes such a run if it loaded all users, or at least as many.
    """
    if backlog.run.is_loaded:
        return bool(backlog.pending_users)
    query = (
        "SELECT 1 FROM runs WHERE run > ? AND project GLOB ? AND status != 'loading'"
        " AND (kind = 'full' OR user_limit >= ?) AND sync = ?"
    )
    run = backlog.run
    values = (run.number, backlog.projects, run.limit, run.sync)
    return file.one(query, values) is None


def _lacks_its_results(file: JournalReader, run: Run, projects: str) -> bool:
    """Whether a run crashed after its last call, and no full run has completed since."""
    query = (
        "SELECT 1 FROM runs WHERE run > ? AND project GLOB ?"
        " AND status = 'completed' AND kind = 'full' AND sync = ?"
    )
    crashed = run.status == "running"
    return crashed and file.one(query, (run.number, projects, run.sync)) is None
