"""Any pages of customers, compared with a model of dicts that treats one record at a time."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from integration.ingest.customer_rules import unkeyed
from tests.support.ingest import Ingest, Source, codes, counts, customer, emails, links

if TYPE_CHECKING:
    from integration.database.writing import WriteSession

SOURCES = (Source("crm", owns_ids=True), Source("shop"), Source("list"))
# An email has the two forms of each letter; the list has no keys.
EMAILS = ["a@x.com", "A@x.com", "b@x.com", "B@x.com", "c@x.com", "d@x.com"]
records = st.tuples(st.integers(1, 4), st.sampled_from(EMAILS), st.sampled_from(["pro", "free"]))
pages = st.lists(
    st.tuples(st.integers(0, 2), st.lists(records, min_size=1, max_size=6)),
    min_size=1,
    max_size=6,
)


@dataclass
class Model:
    """What the tables should hold, with ids as the database would number them."""

    ignores_case: bool
    customers: dict[int, tuple[str, str]] = field(default_factory=dict)
    links: dict[tuple[str, str], int] = field(default_factory=dict)
    highest: int = 0
    before: dict[str, int] = field(default_factory=dict)
    taken: set[str] = field(default_factory=set)

    def fold(self, email: str) -> str:
        """What the database compares."""
        return email.lower() if self.ignores_case else email

    def write(self, source: Source, page: list[tuple[str | None, str, str]]) -> Counter[str]:
        """Apply a page and return its records by outcome."""
        result: Counter[str] = Counter()
        last: dict[str, tuple[str | None, str, str]] = {}
        for record in page:
            identity = record[0] or self.fold(record[1])
            result["unchanged"] += last.pop(identity, None) is not None
            last[identity] = record
        self.before = {self.fold(email): number for number, (email, _) in self.customers.items()}
        self.taken = set()
        for key, email, plan in last.values():
            result[self._one(source, key, email, plan)] += 1
        return result

    def _one(self, source: Source, key: str | None, email: str, plan: str) -> str:
        folded = self.fold(email)
        holder = self.before.get(folded)
        number = self.links.get((source.name, key or ""))
        if number is None:
            number = self._unlinked(source, key, holder, email)
        if number == -1 or holder not in {None, number} or folded in self.taken:
            return "rejected"
        self.taken.add(folded)
        result = "unchanged" if self.customers.get(number) == (email, plan) else "updated"
        if number not in self.customers:
            result = "inserted"
        self.customers[number] = (email, plan)
        if key is not None or number not in {
            target for (name, _), target in self.links.items() if name == source.name
        }:
            self.links[source.name, key or unkeyed(number)] = number
        return result

    def _unlinked(self, source: Source, key: str | None, holder: int | None, email: str) -> int:
        """The id of a record whose key is new; -1 for a conflict."""
        number = int(key or 0) if source.owns_ids else holder
        owners = [name for name, target in self.links.items() if target == number]
        if number is None:
            return max(self.highest, *self.customers, 0) + 1
        if number in self.customers and source.owns_ids:
            same = self.customers[number][0].lower() == email.lower()
            if not same and any(name != source.name for name, _ in owners):
                return -1
        if key and any(name == source.name and other != key for name, other in owners):
            return -1
        return number


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(pages)
def test_pages_do_what_the_model_does(
    session: WriteSession, sequence: list[tuple[int, list[tuple[int, str, str]]]]
) -> None:
    """Same customers, same connections, same counts, and no two customers with one email."""
    Ingest(session)
    empty(session)
    model = Model(ignores_case=session.engine != "sqlite")
    for which, page in sequence:
        source = SOURCES[which]
        keyed = [
            (None if source.name == "list" else str(number), email, plan)
            for number, email, plan in page
        ]
        outcome = Ingest(session, source).write(
            *(customer(key, email, plan_type=plan) for key, email, plan in keyed)
        )
        expected = model.write(source, keyed)
        assert counts(outcome) == tuple(
            expected[name] for name in ("inserted", "updated", "unchanged", "rejected")
        )
        assert {code for _, code in codes(outcome)} <= {"conflict"}
        # The ids that the database has chosen are not the subject.
        rename = adopt_numbers(model, session)
        assert {rename[number]: email for number, (email, _) in model.customers.items()} == emails(
            session
        )
        renumber(model, rename)
        assert model.links == links(session)


def empty(session: WriteSession) -> None:
    """Delete the rows, and count ids from 1 again, so that sources meet at the same ids."""
    for table in ("page_views", "customers", "etl_records"):
        session.execute(f"DELETE FROM {table}")
    if session.engine == "sqlite":
        session.execute("DELETE FROM sqlite_sequence WHERE name = 'customers'")
    else:
        session.execute("ALTER TABLE customers AUTO_INCREMENT = 1")


def adopt_numbers(model: Model, session: WriteSession) -> dict[int, int]:
    """The ids of the database for those of the model, by email."""
    numbers = {email: number for number, email in emails(session).items()}
    assert sorted(numbers) == sorted(email for email, _ in model.customers.values())
    return {number: numbers[email] for number, (email, _) in model.customers.items()}


def renumber(model: Model, rename: dict[int, int]) -> None:
    """Give the model's customers the ids of the database."""
    model.customers = {rename[number]: values for number, values in model.customers.items()}
    model.links = {
        (name, unkeyed(rename[target]) if key.startswith("#") else key): rename[target]
        for (name, key), target in model.links.items()
    }
    model.highest = max(model.customers, default=0)
