"""Customers of a page, in MySQL or MariaDB and in SQLite: identity, conflicts, counts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from integration.ingest.customer_rules import unkeyed
from tests.support.ingest import Ingest, Source, codes, counts, customer, emails, links

if TYPE_CHECKING:
    from integration.database.writing import WriteSession

OWNER = Source("crm", owns_ids=True)
OTHER = Source("shop")


def ignores_case(session: WriteSession) -> bool:
    """Whether this database takes A@x and a@x for the same email; SQLite does not."""
    return session.engine != "sqlite"


def test_new_customers_get_the_ids_of_the_source_that_owns_them(session: WriteSession) -> None:
    """Also the id 0, which MySQL would number itself."""
    outcome = Ingest(session, OWNER).write(customer("7", "a@x.com"), customer("0", "b@x.com"))

    assert counts(outcome) == (2, 0, 0, 0)
    assert emails(session) == {7: "a@x.com", 0: "b@x.com"}
    assert links(session) == {("crm", "7"): 7, ("crm", "0"): 0}


def test_other_sources_get_ids_of_the_database(session: WriteSession) -> None:
    """Two sources may both have a customer 7."""
    Ingest(session, OWNER).write(customer("7", "a@x.com"))
    outcome = Ingest(session, OTHER).write(customer("7", "b@x.com"), customer("k", "c@x.com"))

    assert counts(outcome) == (2, 0, 0, 0)
    found = {email: number for number, email in emails(session).items()}
    assert found["a@x.com"] == 7
    assert links(session) == {
        ("crm", "7"): 7,
        ("shop", "7"): found["b@x.com"],
        ("shop", "k"): found["c@x.com"],
    }


def test_an_equal_record_causes_no_write(session: WriteSession) -> None:
    """Neither to the customer nor to etl_records."""
    record = customer("7", "ä'\\\"@x.com", first_name="😀", last_name=None, candidate="a\nb")
    Ingest(session, OWNER).write(record)
    first = session.query("SELECT * FROM etl_records")

    again = Ingest(session, OWNER).write(record)

    assert counts(again) == (0, 0, 1, 0)
    assert session.query("SELECT * FROM etl_records") == first


def test_the_database_compares_exactly(session: WriteSession) -> None:
    """In a run in which most records are unchanged, it leaves out those that are equal."""
    old = ("ann", "Ann", "Zoë", None, "x", "same", "same")
    people = [customer(str(n), f"{n}@x.com", first_name=name) for n, name in enumerate(old, 1)]
    Ingest(session, OWNER).write(*people)
    run = Ingest(session, OWNER)
    assert counts(run.write(*people)) == (0, 0, 7, 0)
    session.execute("DELETE FROM customers WHERE id = 7")

    names = ("Ann", "Ann ", "Zoe", "", None, "same", "same")
    changed = [customer(str(n), f"{n}@x.com", first_name=name) for n, name in enumerate(names, 1)]
    outcome = run.write(*changed, customer("8", "8@x.com", first_name="new"))

    assert counts(outcome) == (2, 5, 1, 0)
    found = session.query("SELECT first_name FROM customers ORDER BY id")
    assert tuple(name for (name,) in found) == (*names, "new")


@pytest.mark.parametrize("source", [OWNER, OTHER])
def test_a_column_that_some_records_lack_is_not_compared(
    session: WriteSession, source: Source
) -> None:
    """Nor one that no record has; a record without key is found by its email."""
    people = [customer(str(n), f"{n}@x.com", candidate="a", last_name="b") for n in range(1, 5)]
    Ingest(session, source).write(*people)
    run = Ingest(session, source)
    run.write(*people)

    some = (customer("1", "1@x.com", last_name="b"), customer("2", "2@x.com", candidate="c"))
    assert counts(run.write(*some)) == (0, 1, 1, 0)
    assert counts(run.write(customer("3", "3@x.com"), customer("4", "4@x.com"))) == (0, 0, 2, 0)
    more = (customer("1", "1@x.com"), customer("2", "2@x.com", candidate="d"))
    assert counts(run.write(*more)) == (0, 1, 1, 0)
    found = session.query("SELECT last_name, candidate FROM customers ORDER BY id")
    assert found == [("b", "a"), ("b", "d"), ("b", "a"), ("b", "a")]
    if not source.owns_ids:
        assert counts(run.write(customer(None, "3@x.com", candidate="e"))) == (0, 1, 0, 0)


def test_a_known_key_may_change_every_column(session: WriteSession) -> None:
    """The email, too, and a column to NULL; columns that the source lacks stay."""
    run = Ingest(session, OTHER)
    run.write(customer("k", "a@x.com", first_name="A", candidate="yes"))
    outcome = run.write(customer("k", "b@x.com", first_name=None, plan_type="free"))

    assert counts(outcome) == (0, 1, 0, 0)
    rows = session.query("SELECT email, first_name, plan_type, candidate FROM customers")
    assert rows == [("b@x.com", None, "free", "yes")]


def test_a_customer_without_a_link_is_found_by_email(seeded: WriteSession) -> None:
    """And is connected with the key from then on, so that the email may change later."""
    run = Ingest(seeded, OTHER)
    first = run.write(customer("k", "mia.harris@email.com", plan_type="free"))
    second = run.write(customer("k", "mia@new.com", plan_type="free"))

    assert (counts(first), counts(second)) == ((0, 1, 0, 0), (0, 1, 0, 0))
    assert emails(seeded)[3] == "mia@new.com"
    assert links(seeded) == {("shop", "k"): 3}


def test_the_owner_of_the_ids_finds_its_customer_by_id(seeded: WriteSession) -> None:
    """A row that no source has claimed takes the record's email."""
    outcome = Ingest(seeded, OWNER).write(customer("3", "mia@new.com"))

    assert counts(outcome) == (0, 1, 0, 0)
    assert emails(seeded)[3] == "mia@new.com"


def test_an_id_that_another_source_has_used_is_a_conflict(session: WriteSession) -> None:
    """The database numbered a customer 1; the owner's customer 1 is another person."""
    Ingest(session, OTHER).write(customer("k", "a@x.com"))
    (number,) = emails(session)

    outcome = Ingest(session, OWNER).write(customer(str(number), "b@x.com"))

    assert codes(outcome) == [(0, "conflict")]
    assert emails(session) == {number: "a@x.com"}


@pytest.mark.parametrize("source", [OWNER, OTHER])
def test_a_foreign_email_is_a_conflict(session: WriteSession, source: Source) -> None:
    """Customer 7 does not become whoever arrives with 7's email under another id."""
    run = Ingest(session, source)
    run.write(customer("7", "a@x.com"), customer("8", "b@x.com"))
    before = emails(session)

    outcome = run.write(
        customer("9", "a@x.com"), customer("8", "a@x.com"), customer("7", "a@x.com")
    )

    assert counts(outcome) == (0, 0, 1, 2)
    assert codes(outcome) == [(0, "conflict"), (1, "conflict")]
    assert emails(session) == before


def test_two_customers_who_swap_their_emails_are_two_conflicts(session: WriteSession) -> None:
    """In one page or in two."""
    run = Ingest(session, OTHER)
    run.write(customer("1", "a@x.com"), customer("2", "b@x.com"))
    before = emails(session)

    outcome = run.write(customer("1", "b@x.com"), customer("2", "a@x.com"))

    assert codes(outcome) == [(0, "conflict"), (1, "conflict")]
    assert codes(run.write(customer("1", "b@x.com"))) == [(0, "conflict")]
    assert emails(session) == before


def test_the_first_record_with_a_new_email_gets_it(session: WriteSession) -> None:
    """Another customer of the page with the same email is a conflict."""
    outcome = Ingest(session, OTHER).write(
        customer("1", "a@x.com"), customer("2", "a@x.com"), customer("3", "b@x.com")
    )

    assert codes(outcome) == [(1, "conflict")]
    assert sorted(emails(session).values()) == ["a@x.com", "b@x.com"]


def test_case_of_the_same_customer_is_an_update(session: WriteSession) -> None:
    """By key or by email."""
    run = Ingest(session, OTHER)
    run.write(customer("1", "a@x.com"))
    assert counts(run.write(customer("1", "A@x.com"))) == (0, 1, 0, 0)

    found = Ingest(session, Source("lists")).write(customer(None, "a@X.com"))

    if ignores_case(session):
        assert counts(found) == (0, 1, 0, 0)
        assert list(emails(session).values()) == ["a@X.com"]
    else:
        assert counts(found) == (1, 0, 0, 0)


def test_accents_and_case_make_a_conflict_where_the_collation_ignores_them(
    session: WriteSession,
) -> None:
    """Across the table: another customer's email is not taken over."""
    run = Ingest(session, OTHER)
    run.write(customer("1", "jose@x.com"))
    outcome = run.write(customer("2", "josé@x.com"), customer("3", "JOSE@x.com"))

    if ignores_case(session):
        assert codes(outcome) == [(0, "conflict"), (1, "conflict")]
        assert list(emails(session).values()) == ["jose@x.com"]
    else:
        assert counts(outcome) == (2, 0, 0, 0)


def test_accents_and_case_within_a_page(session: WriteSession) -> None:
    """The database finds what Python cannot: ß is ss, ø may be o; the others are stored."""
    outcome = Ingest(session, OTHER).write(
        customer("1", "jose@x.com"),
        customer("2", "josé@x.com"),
        customer("3", "b@x.com"),
        customer("4", "strasse@x.com"),
        customer("5", "straße@x.com"),
        customer("6", "c@x.com"),
    )

    if ignores_case(session):
        assert codes(outcome) == [(1, "conflict"), (4, "conflict")]
        assert counts(outcome) == (4, 0, 0, 2)
    else:
        assert counts(outcome) == (6, 0, 0, 0)


def test_accents_of_the_same_customer_are_an_update(session: WriteSession) -> None:
    """The key says that it is the same one."""
    run = Ingest(session, OTHER)
    run.write(customer("1", "jose@x.com"))
    assert counts(run.write(customer("1", "josé@x.com"))) == (0, 1, 0, 0)
    assert list(emails(session).values()) == ["josé@x.com"]


def test_the_last_record_of_a_customer_wins(session: WriteSession) -> None:
    """The earlier one counts as unchanged."""
    outcome = Ingest(session, OTHER).write(
        customer("1", "a@x.com", first_name="old"),
        customer("2", "b@x.com"),
        customer("1", "a@x.com", first_name="new"),
    )

    assert counts(outcome) == (2, 0, 1, 0)
    rows = session.query("SELECT first_name FROM customers WHERE email = 'a@x.com'")
    assert rows == [("new",)]


def test_a_source_without_keys_has_no_personal_data_in_etl_records(session: WriteSession) -> None:
    """Its customers are found by email."""
    run = Ingest(session, OTHER)
    run.write(customer(None, "a@x.com"))
    again = run.write(customer(None, "a@x.com", plan_type="free"), customer(None, "a@x.com"))

    assert counts(again) == (0, 0, 2, 0)
    (number,) = emails(session)
    assert links(session) == {("shop", unkeyed(number)): number}


def test_a_customer_that_was_deleted_is_inserted_again(session: WriteSession) -> None:
    """The connection with the old row is replaced."""
    run = Ingest(session, OTHER)
    run.write(customer("1", "a@x.com"))
    session.execute("DELETE FROM customers")

    assert counts(run.write(customer("1", "a@x.com"))) == (1, 0, 0, 0)
    assert list(links(session).values()) == list(emails(session))


def test_a_value_that_the_column_cannot_hold_rejects_its_record_only(session: WriteSession) -> None:
    """Whatever validation has let through."""
    outcome = Ingest(session, OTHER).write(
        customer("1", "a@x.com"),
        customer("2", "b@x.com", plan_type="gold"),
        customer("3", "c@x.com"),
    )

    assert codes(outcome) == [(1, "not_allowed")]
    assert sorted(emails(session).values()) == ["a@x.com", "c@x.com"]


def test_a_key_that_is_too_long_rejects_its_record(session: WriteSession) -> None:
    """The column has 255 characters."""
    outcome = Ingest(session, OTHER).write(
        customer("é" * 255, "a@x.com"), customer("x" * 256, "b@x.com")
    )

    assert codes(outcome) == [(1, "too_long")]


def test_keys_that_differ_in_case_are_different(session: WriteSession) -> None:
    """The etl_ tables compare exactly."""
    run = Ingest(session, OTHER)
    run.write(customer("k", "a@x.com"), customer("K", "b@x.com"))
    assert counts(run.write(customer("k", "a@x.com"), customer("K", "b@x.com"))) == (0, 0, 2, 0)


def test_a_page_larger_than_a_statement(session: WriteSession) -> None:
    """It is written in several sets, and counted as one."""
    records = [customer(str(number), f"c{number}@x.com") for number in range(1, 5_502)]
    run = Ingest(session, OWNER)

    assert counts(run.write(*records)) == (5_501, 0, 0, 0)
    assert counts(run.write(*records)) == (0, 0, 5_501, 0)
