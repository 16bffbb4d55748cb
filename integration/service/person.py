"""What the database and the journal know of a person."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any

from integration.core.people import Customer, View
from integration.database.errors import DatabaseError
from integration.database.writing import to_time
from integration.journal.people import deliveries_to
from integration.journal.read_only import ReadOnlyJournal
from integration.journal.reading import JournalError
from integration.service.story import PAGES, PersonFacts

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager
    from datetime import datetime
    from pathlib import Path

    from integration.core.people import SourceRecord
    from integration.database.reading import ReadSession

    # A session, the customer's id if there is one, the email.
    FindSourceRecords = Callable[[ReadSession, object, str], Sequence[SourceRecord]]

_VIEWS = (
    "SELECT page, device, event_time FROM page_views WHERE user_id = %s{condition}"
    " ORDER BY event_time DESC, id DESC LIMIT 1"
)
_QUALIFYING = _VIEWS.format(condition=f" AND page IN ({', '.join(['%s'] * len(PAGES))})")


def facts_of(
    email: str,
    now: datetime,
    session: AbstractContextManager[ReadSession],
    find_source_records: FindSourceRecords,
    journal: Path,
) -> PersonFacts:
    """Everything about a person; what cannot be read is left out, with the reason.

    Args:
        email: in any case.
        now: the current time.
        session: opens a session of the database, or raises a DatabaseError.
        find_source_records: `ingest.origins.find_source_records`.
        journal: the journal's file, which may be missing.
    """
    found = _in_journal(journal, email)
    try:
        with session as opened:
            found |= _in_database(opened, email, find_source_records)
    except DatabaseError as error:
        found["database_error"] = str(error)
    return PersonFacts(email=email, now=now, **found)


def _in_journal(path: Path, email: str) -> dict[str, Any]:
    try:
        journal = ReadOnlyJournal.open(path)
        if journal is None:
            return {}
        with closing(journal):
            return {"deliveries": deliveries_to(journal, email)}
    except JournalError as error:
        return {"journal_error": str(error)}


def _in_database(
    session: ReadSession, email: str, find_source_records: FindSourceRecords
) -> dict[str, Any]:
    customer = _customer(session, email)
    customer_id = customer.id if customer else None
    found: dict[str, Any] = {
        "customer": customer,
        "records": find_source_records(session, customer_id, email),
    }
    if customer:
        ((number,),) = session.query(
            "SELECT COUNT(*) FROM page_views WHERE user_id = %s", (customer_id,)
        )
        found |= {
            "views": number,
            "last_view": _view(session, _VIEWS.format(condition=""), (customer_id,)),
            "last_qualifying_view": _view(session, _QUALIFYING, (customer_id, *PAGES)),
        }
    return found


def _customer(session: ReadSession, email: str) -> Customer | None:
    """The row with this email, as it is written first; else in another case.

    A collation may also find an email with other accents, which is another person's.
    """
    for text in dict.fromkeys((email, email.lower())):
        rows = session.query(
            "SELECT id, email, first_name, last_name, plan_type, candidate FROM customers"
            " WHERE email = %s",
            (text,),
        )
        customers = map(Customer._make, rows)
        found = [one for one in customers if (one.email or "").lower() == email.lower()]
        if found:
            return max(found, key=lambda one: one.email == email)
    return None


def _view(session: ReadSession, sql: str, parameters: Sequence[object]) -> View | None:
    rows = session.query(sql, parameters)
    if not rows:
        return None
    page, device, time = rows[0]
    moment = to_time(time)
    return View(page, device, moment) if moment else None
