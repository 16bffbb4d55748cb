"""Erasing a person everywhere this product keeps them.

The customer who has the address now is the person, with all records of the same customer id and the
same source key, whatever address these have. Without such a customer, records with the address are
erased, and what they are connected with, unless that belongs to a customer with another address.

Everything is done again from the start after an interruption; see `forget_pending`.
"""

from __future__ import annotations

import logging
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import reduce
from operator import or_
from typing import TYPE_CHECKING

from integration.core.overwriting import UnreadableError, count_replaced, overwrite
from integration.core.personal_data import Person, PersonalData
from integration.ingest.errors import SourceBusy
from integration.ingest.forget_files import find_files
from integration.ingest.forget_pages import RawPages
from integration.ingest.forget_pending import Pending
from integration.ingest.forget_report import Findings, amount, report_lines
from integration.ingest.forget_tables import (
    checkpoints_with,
    count_rows,
    delete_rows,
    emails_by_id,
    ids_of_keys,
    keys_of,
    owners_of,
    rejected_of,
    run_texts,
    source_names,
)
from integration.ingest.locks import source_lock
from integration.ingest.tables import has_tables, read_targets
from integration.journal.erasure import erase_traces, find_traces, known_of, run_folders
from integration.journal.file import JournalFile, journal_exists
from integration.journal.lock import LockedError, hold_lock, is_locked

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from integration.core.shutdown import Stop
    from integration.database.writing import WriteSession
    from integration.ingest.models import Reader
    from integration.ingest.sources import Source

logger = logging.getLogger(__name__)

# Each round follows what the last one found, such as an earlier address.
MAX_ROUNDS = 10


@dataclass(frozen=True, slots=True)
class Places:
    """Where this product keeps data.

    Attributes:
        session: the database with the tables.
        sources: as they are configured.
        open_reader: opens one of them, to decode its stored pages.
    """

    session: WriteSession
    sources: Sequence[Source]
    open_reader: Callable[[Source], Reader]
    log_file: Path
    journal_file: Path
    output_dir: Path


class Stopped(Exception):  # noqa: N818  # not an error
    """A signal arrived; nothing is left half done that the same command does not finish."""


def forget(places: Places, email: str, stop: Stop, *, erase: bool) -> list[str]:
    """Erase a person, or only look; returns what to show.

    Raises:
        SourceBusy: a run is in progress.
        AppError: a place cannot be used; what was erased before stays erased.
    """
    with ExitStack() as stack:
        if erase:
            stack.enter_context(_locks(places))
        else:
            read_targets(places.session)
        erasure = stack.enter_context(_opened(places, email, stop))
        try:
            return erasure.run(erase=erase)
        except Stopped:
            return [f"Not finished; to finish it: python cli.py forget {email} --yes"]


@contextmanager
def _locks(places: Places) -> Iterator[None]:
    """Hold the lock of the journal and of each source."""
    session = places.session
    read_targets(session)
    names = {source.name for source in places.sources}
    if has_tables(session):
        names.update(source_names(session))
    with ExitStack() as stack:
        try:
            stack.enter_context(hold_lock(places.journal_file))
        except LockedError as error:
            raise SourceBusy(
                "A run of main.py is in progress: nothing was erased; wait until it has ended"
            ) from error
        for name in sorted(names):
            stack.enter_context(source_lock(session, name))
        yield


@contextmanager
def _opened(places: Places, email: str, stop: Stop) -> Iterator[Erasure]:
    with ExitStack() as stack:
        journal = pages = None
        if journal_exists(places.journal_file):
            in_use = is_locked(places.journal_file)
            journal = stack.enter_context(JournalFile(places.journal_file, in_use=in_use))
        if has_tables(places.session):
            by_name = {source.name: source for source in places.sources}
            pages = stack.enter_context(RawPages(places.session, by_name, places.open_reader))
        yield Erasure(places, email, stop, journal, pages)


class Erasure:
    """The search for one person, and their erasure.

    Args:
        places: where to search.
        email: the address, in any case.
        stop: whether to stop after the page or file that is being written.
        journal: None if there is none.
        pages: None if the database has no etl_ tables.
    """

    def __init__(
        self,
        places: Places,
        email: str,
        stop: Stop,
        journal: JournalFile | None,
        pages: RawPages | None,
    ) -> None:
        self._places = places
        self._session = places.session
        self._email = email
        self._stop = stop
        self._journal = journal
        self._pages = pages
        self._pending = Pending(places.journal_file, email)
        self._findings = Findings()

    def run(self, *, erase: bool) -> list[str]:
        """Search all places, and erase what is found."""
        unfinished = self._pending.load()
        person = self._identified(unfinished)
        data = PersonalData(person)
        if erase:
            self._pending.save(person)
        rejected = rejected_of(self._session, person) if self._pages else set()
        self._search_tables(person, data)
        self._search_pages(person, rejected, erase=erase)
        self._search_journal(person, data, erase=erase)
        self._search_files(person, data, erase=erase)
        if erase:
            has_etl = self._pages is not None
            delete_rows(self._session, person, data, rejected, has_etl=has_etl)
            self._session.discard_remains()
            self._pending.discard()
        names = [source.name for source in self._places.sources]
        return report_lines(self._email, person, self._findings, names, done=erase)

    def _check_stop(self) -> None:
        if self._stop.requested():
            raise Stopped

    def _identified(self, unfinished: Person | None) -> Person:
        """All that the person is known by."""
        person = Person(frozenset({self._email.lower()})) | (unfinished or Person(frozenset()))
        owners = owners_of(self._session, person.emails)
        person |= Person(
            frozenset(), frozenset(one.name for one in owners), frozenset(one.id for one in owners)
        )
        person |= self._keys_of(person)
        for _ in range(MAX_ROUNDS):
            known = person
            person |= self._own(person, reduce(or_, self._known_of(person), Person(frozenset())))
            person |= self._keys_of(person)
            # Names find nothing in the journal and the raw pages.
            if replace(person, names=known.names) == known:
                break
        return person

    def _keys_of(self, person: Person) -> Person:
        keys = keys_of(self._session, person.ids) if self._pages else frozenset()
        return Person(frozenset(), keys=keys)

    def _known_of(self, person: Person) -> Iterator[Person]:
        if self._journal:
            yield known_of(self._journal, person)
        if self._pages:
            yield self._pages.known_of(person)

    def _own(self, person: Person, found: Person) -> Person:
        """What was found without what belongs to a customer with another address now."""
        session = self._session
        new_emails = found.emails - person.emails
        owners = [one for one in owners_of(session, new_emails) if one.id not in person.ids]
        taken = {one.email for one in owners}
        keys = ids_of_keys(session, found.keys - person.keys) if self._pages else {}
        ids = (found.ids | set(keys.values())) - person.ids
        others = emails_by_id(session, ids)
        self._findings.others.update(others | {one.id: one.email for one in owners})
        return Person(
            found.emails - taken,
            found.names,
            frozenset(one for one in ids if not str(one).isdecimal() or int(one) not in others),
            frozenset(key for key in found.keys if keys.get(key) not in others),
        )

    def _search_tables(self, person: Person, data: PersonalData) -> None:
        has_etl = self._pages is not None
        for table, number in count_rows(self._session, person, has_etl=has_etl).items():
            self._findings.add(table, number, "row")
        if has_etl:
            self._findings.add("etl_runs", len(run_texts(self._session, data)), "text")
            self._findings.kept += [
                f"The checkpoint of {name} has the address in its next page's place, which the "
                f"next complete run replaces; or: python cli.py reset --source {name} --yes"
                for name in checkpoints_with(self._session, data)
            ]

    def _search_pages(
        self, person: Person, rejected: set[tuple[int, int, int]], *, erase: bool
    ) -> None:
        if self._pages is None:
            return
        records = pages = 0
        rejected = set(rejected)
        for page in self._pages.erased(person):
            pages += 1
            records += len(page.positions) + page.has_mentions
            rejected |= self._pages.rejected_pointers(page)
            if erase:
                self._pages.store(page)
            self._check_stop()
        self._findings.add("etl_raw_data", records, "record", f" in {amount(pages, 'page')}")
        self._findings.add("etl_rejected", len(rejected), "row")
        self._findings.unreadable += self._pages.unreadable

    def _search_journal(self, person: Person, data: PersonalData, *, erase: bool) -> None:
        if self._journal is None:
            return
        found = find_traces(self._journal, person, data)
        name = self._places.journal_file.name
        self._findings.add(name, found.users, "user", f" of {amount(found.runs, 'run')}")
        self._findings.add(name, found.digests, "digest", " of the email")
        self._findings.add(name, found.last_sent, "fingerprint")
        self._findings.add(name, found.texts, "text")
        if erase:
            erase_traces(self._journal, person, data)
            self._journal.discard_remains()

    def _search_files(self, person: Person, data: PersonalData, *, erase: bool) -> None:
        places = self._places
        folders = [places.output_dir]
        if self._journal:
            folders += run_folders(self._journal)
        files = find_files(places.log_file, places.journal_file, folders)
        for path, change in files.steps(person, data):
            try:
                number = (overwrite if erase else count_replaced)(path, change)
            except UnreadableError as error:
                self._findings.unreadable.append(str(error))
            else:
                self._findings.add(path.name, number, "line")
            self._check_stop()
        self._findings.unreadable += map(str, files.opaque)
