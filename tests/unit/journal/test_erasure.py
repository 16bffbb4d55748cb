"""Erasing a person's data from a journal: the users around it stay as they are."""

from __future__ import annotations

import sqlite3
import zlib
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from integration.core.models import CALLS, Call, CallResult, Retries
from integration.core.personal_data import Person, PersonalData
from integration.journal import backlog
from integration.journal.erasure import erase_traces, find_traces, known_of, run_folders
from integration.journal.file import JournalError
from integration.journal.people import deliveries_to
from integration.journal.queries import (
    count_outcomes,
    delivered_users,
    last_sent,
    record_last_sent,
)
from integration.journal.reading import PAGE_SIZE
from integration.journal.schema import EMAIL_DIGEST_BYTES, email_digests, email_key
from integration.journal.store import Journal
from tests.support.journals import (
    AT,
    HEADER,
    OK,
    assert_whole,
    completed_run,
    csv_text_of,
    emails,
    pending_emails,
)
from tests.support.old_journals import old_journal, old_user
from tests.support.traces import traces_in
from tests.support.users import new_user, page_view

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

EMAIL = "user2@example.com"
PERSON = Person(frozenset({EMAIL}), ids=frozenset({2}))
VIEWS = [page_view(number) for number in (1, 2, 3)]


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    """A new journal."""
    with Journal(tmp_path / "journal.db") as opened:
        yield opened


def erase(journal: Journal, person: Person = PERSON) -> None:
    """Erase the person as the command does."""
    person |= known_of(journal, person)
    erase_traces(journal, person, PersonalData(person))
    journal.discard_remains()
    assert find_traces(journal, person, PersonalData(person)) == (0, 0, 0, 0, 0)


def others(journal: Journal, run: int, email: str) -> list[tuple[Any, ...]]:
    """Each user's email and outcome, but for this one's."""
    return [
        (row[1], group.at, group.users_update, group.events_track, group.success)
        for group in journal.outcomes(run)
        for row in group.rows
        if row[1] not in {email, None}
    ]


class Outcomes(NamedTuple):
    """What became of the users of a run."""

    users: int
    reached: int
    failed: set[tuple[int, Call]]
    status: str


OUTCOMES = st.builds(
    Outcomes,
    st.integers(1, 12),
    st.integers(0, 12),
    st.sets(st.tuples(st.integers(1, 12), st.sampled_from(CALLS))),
    st.sampled_from(["running", "completed", "interrupted"]),
)


@settings(max_examples=50)
@given(OUTCOMES, st.integers(1, 12))
def test_positions_counts_and_others_stay(
    tmp_path_factory: pytest.TempPathFactory, outcomes: Outcomes, number: int
) -> None:
    """Whatever the outcomes are; the person is no longer pending, verified or remembered."""
    path = tmp_path_factory.mktemp("erasure") / "journal.db"
    with Journal(path) as journal:
        users, reached, failed, status = outcomes
        views = [page_view(one) for one in range(1, users + 1)]
        run = completed_run(journal, views, list(failed), reached=reached, status=status)
        email = f"user{number}@example.com"
        counts, kept = count_outcomes(journal, run), others(journal, run, email)
        pending = [one for one in pending_emails(journal, run) if one != email]

        erase(journal, Person(frozenset({email})))

        assert_whole(journal, run)
        assert count_outcomes(journal, run) == counts
        assert others(journal, run, email) == kept
        assert pending_emails(journal, run) == pending
        assert journal.pending_users(run) == len(pending)
        delivered = [orjson.loads(row)[1] for row, *_ in delivered_users(journal, run, None)]
        assert email not in delivered
        assert None not in delivered
        record_last_sent(journal, run)
        assert number not in last_sent(journal, HEADER.project, list(range(1, 13)))
        assert journal.all("SELECT * FROM last_sent WHERE typeof(customer_id) = 'blob'") == []
    assert traces_in(path.parent, [email]) == []


def test_nothing_is_left_in_the_file_or_its_log(journal: Journal, tmp_path: Path) -> None:
    """Not even what earlier changes left in free pages."""
    completed_run(journal, VIEWS)
    run = completed_run(journal, VIEWS, failed=[(2, "users_update")])
    journal.execute("PRAGMA secure_delete = OFF")  # some systems' SQLite has it on
    journal.execute("CREATE TABLE copied AS SELECT ? AS text", (EMAIL * 100,))
    journal.execute("DROP TABLE copied")
    assert traces_in(tmp_path, [EMAIL])

    erase(journal)

    assert traces_in(tmp_path, [EMAIL]) == []
    assert emails(journal, run) == ["user1@example.com", None, "user3@example.com"]
    assert csv_text_of(journal, run).split("\r\n")[1] == "," * 10
    keys = journal.all("SELECT customer_id, email_key, fingerprint FROM users WHERE position = 2")
    assert keys == [(b"erased 1.2", None, None), (b"erased 2.2", None, None)]


def test_no_digest_of_the_email_is_left_in_the_file(journal: Journal, tmp_path: Path) -> None:
    """Neither the whole one nor the two bytes by which a person is found; others keep theirs."""
    views = [page_view(number) for number in range(1, PAGE_SIZE + 3)]
    last = page_view(PAGE_SIZE + 2)
    completed_run(journal, views)
    key = email_key(last.email)
    assert key is not None
    before = [row for (row,) in journal.all("SELECT digests FROM email_digests ORDER BY first")]
    assert before[1].endswith(email_digests([key]))
    files = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert key in files
    assert before[1] in files

    erase(journal, Person(frozenset({str(last.email)})))

    files = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert key not in files
    assert before[1] not in files
    after = [row for (row,) in journal.all("SELECT digests FROM email_digests ORDER BY first")]
    assert after == [before[0], before[1][:-EMAIL_DIGEST_BYTES] + bytes(EMAIL_DIGEST_BYTES)]
    assert deliveries_to(journal, str(last.email)) == []


def test_users_are_found_by_id_under_earlier_addresses(journal: Journal) -> None:
    """And earlier addresses are known from then on."""
    earlier = [page_view(1), page_view(2, "earlier@example.com")]
    first = completed_run(journal, earlier)
    completed_run(journal, VIEWS)

    known = known_of(journal, PERSON)
    assert known.emails == {EMAIL, "earlier@example.com"}
    assert known.names == {("Ada", "Lovelace")}
    assert find_traces(journal, PERSON, PersonalData(PERSON)) == (2, 2, 2, 1, 0)
    erase(journal)

    assert emails(journal, first) == ["user1@example.com", None]


def test_texts_of_other_users_lose_the_address(journal: Journal) -> None:
    """A response may quote it, and so may the reason why a run stopped."""
    run = journal.begin(HEADER, map(new_user, VIEWS))
    quoted = CallResult(False, {"msg": f"not {EMAIL.upper()}"}, 400, 1, "client_error")
    for position, result in ((1, quoted), (2, OK), (3, OK)):
        journal.record([position], "users_update", result, AT)
    journal.flush(run, Retries())
    journal.finish(run, "stopped", f"Stopped at {EMAIL}", AT)
    assert find_traces(journal, PERSON, PersonalData(PERSON)).texts == 2

    erase(journal)

    text = str(journal.all("SELECT * FROM outcomes") + journal.all("SELECT stop_reason FROM runs"))
    assert EMAIL not in text.lower()
    assert text.count("[erased") == 2
    assert count_outcomes(journal, run).total_users == 3


def test_an_erased_user_is_neither_resumed_nor_retried_nor_shown(journal: Journal) -> None:
    """And does not make a run wait for anything."""
    run = completed_run(journal, VIEWS[1:2], failed=[(1, "users_update"), (1, "events_track")])
    assert backlog.undelivered(journal, None) is not None

    erase(journal)

    assert backlog.undelivered(journal, None) is None
    assert backlog.unsendable(journal, None) is None
    assert count_outcomes(journal, run).total_failures == 1


def test_the_person_is_sent_again_if_the_source_brings_them_back(journal: Journal) -> None:
    """Nothing remembers that they were sent the same before."""
    completed_run(journal, VIEWS)
    erase(journal)

    run = completed_run(journal, VIEWS, incremental=True, status="running", reached=0)

    assert pending_emails(journal, run) == [EMAIL]


def test_journals_of_earlier_versions(tmp_path: Path) -> None:
    """With objects instead of rows, and with addresses in place of ids that were lost."""
    path = tmp_path / "journal.db"
    views = [page_view(1), page_view(2)._replace(id="007"), page_view(3)]
    users = [old_user(position, view) for position, view in enumerate(views, 1)]
    old_journal(path, 1, users, total_users=3)
    with Journal(path) as journal:
        assert EMAIL.encode() in [one for (one,) in journal.all("SELECT customer_id FROM users")]

        record_last_sent(journal, 1)

        erase(journal, Person(frozenset({EMAIL})))

        assert emails(journal, 1) == ["user1@example.com", None, "user3@example.com"]
        assert csv_text_of(journal, 1).split("\r\n")[1] == "," * 10
        assert pending_emails(journal, 1) == ["user1@example.com", "user3@example.com"]
    assert traces_in(tmp_path, [EMAIL]) == []


def test_a_reader_is_named_instead_of_leaving_the_write_ahead_log(
    journal: Journal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it reads cannot be discarded."""
    completed_run(journal, VIEWS)
    with closing(sqlite3.connect(tmp_path / "journal.db")) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM users").fetchone()
        journal.execute("PRAGMA busy_timeout = 10")
        with pytest.raises(JournalError, match="Another program is reading"):
            erase(journal)


def test_the_folders_of_all_runs_are_known(journal: Journal) -> None:
    """Files may be in another folder than the settings name now."""
    for number, folder in enumerate(("/one", "/two"), 1):
        header = replace(HEADER, run_id=f"r{number}", csv_file=f"{folder}/a.csv")
        journal.begin(replace(header, results_file=f"{folder}/a.json"), [])
    assert sorted(map(str, run_folders(journal))) == ["/one", "/two"]


def test_missing_rows_are_damage(journal: Journal) -> None:
    """Not a reason to leave something behind."""
    completed_run(journal, VIEWS)
    journal.execute("UPDATE packed_rows SET content = ?", (zlib.compress(b"[]"),))
    with pytest.raises(JournalError, match="is damaged"):
        erase(journal)
