"""Records of a page: which can be stored, and why the others cannot."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from integration.ingest.models import Malformed, Rejection, ValidRow
from integration.ingest.row_schema import MAX_ID, MAX_KEY
from integration.ingest.validation import MAX_TIME, MIN_TIME, RECORDS_AT_ONCE, PageValidation
from tests.support.sources import customers, page_views, source_of

if TYPE_CHECKING:
    from integration.ingest.models import RawRecord
    from integration.ingest.sources import BaseSource

CUSTOMER: dict[str, object] = {"email": "a@example.com", "plan_type": "pro"}
VIEW: dict[str, object] = {"user_id": "7", "page": "pricing", "event_time": "2026-11-20 10:11:12"}


def validated(source: BaseSource, *records: object) -> tuple[list[ValidRow], list[Rejection]]:
    """The valid rows and the rejections of a page."""
    return PageValidation(source).validate(records)  # type: ignore[arg-type]


def stored(source: BaseSource, record: dict[str, object]) -> dict[str, Any]:
    """The values of a valid record."""
    ((row,), rejected) = validated(source, record)
    assert rejected == []
    return row.values


def rejected(source: BaseSource, record: object) -> tuple[str, str | None]:
    """Code and field of a rejection."""
    (valid, (rejection,)) = validated(source, record)
    assert (valid, rejection.index) == ([], 0)
    return rejection.code, rejection.field


def test_a_long_page_is_validated_in_pieces() -> None:
    """Each record keeps its position, whatever is wrong with the others."""
    count = 2 * RECORDS_AT_ONCE + 10
    wrong = {0: "gold", RECORDS_AT_ONCE - 1: "gold", RECORDS_AT_ONCE: "x", count - 1: "x"}
    broken = RECORDS_AT_ONCE + 7
    records: list[object] = [
        {**CUSTOMER, "first_name": str(index), "plan_type": wrong.get(index, "pro")}
        for index in range(count)
    ]
    records[broken] = Malformed("2 cells, expected 3", "a,b")

    valid, rejections = validated(customers(), *records)

    assert [one.index for one in rejections] == sorted([*wrong, broken])
    assert {one.code for one in rejections} == {"not_allowed", "malformed"}
    assert len(valid) == count - len(rejections)
    assert all(row.values["first_name"] == str(row.index) for row in valid)
    assert [row.index for row in valid] == sorted(row.index for row in valid)


class TestCustomers:
    """The columns of `customers`."""

    def test_all_columns_are_stored(self) -> None:
        """As they came, with the source's key."""
        record = {
            "id": "7",
            "email": "a@example.com",
            "first_name": "Ann",
            "last_name": "Lee",
            "plan_type": "free",
            "candidate": "yes",
            "other": "ignored",
        }
        ((row,), _) = validated(customers(key="id"), record)
        expected: dict[str, object] = {
            name: value for name, value in record.items() if name not in {"id", "other"}
        }
        assert row == ValidRow(0, "7", expected)

    def test_fields_are_read_at_their_paths(self) -> None:
        """Nested ones, and keys."""
        source = source_of(
            "http",
            "customers",
            key="meta.id",
            fields={"email": "contact.email", "plan_type": "Plan"},
        )
        record = {"meta": {"id": 7}, "contact": {"email": "a@b"}, "Plan": "pro", "plan_type": "x"}
        ((row,), _) = validated(source, record)
        assert row == ValidRow(0, "7", {"email": "a@b", "plan_type": "pro"})

    @pytest.mark.parametrize("value", [None, ""])
    def test_nothing_in_an_optional_column_is_null(self, value: str | None) -> None:
        """A CSV file writes NULL as empty text."""
        record = {**CUSTOMER, "first_name": value, "last_name": " ", "candidate": "x"}
        values = stored(customers(), record)
        assert (values["first_name"], values["last_name"]) == (None, " ")
        assert values["candidate"] == "x"

    def test_an_optional_column_that_is_absent_stays_as_it_is(self) -> None:
        """A source that does not have it must not clear what another one stored."""
        assert stored(customers(), CUSTOMER) == CUSTOMER

    @pytest.mark.parametrize(
        ("given", "kept"),
        [(" a@b ", "a@b"), ("A@B", "A@B"), ("ä@ö.de", "ä@ö.de"), ("😀@b", "😀@b")],
    )
    def test_an_email_is_stored_without_spaces_around_it(self, given: str, kept: str) -> None:
        """And otherwise as it came."""
        assert stored(customers(), {**CUSTOMER, "email": given})["email"] == kept

    @pytest.mark.parametrize("given", ["Pro", "PRO", " pro "])
    def test_the_case_of_a_plan_does_not_matter(self, given: str) -> None:
        """MySQL compares values of an ENUM without it."""
        assert stored(customers(), {**CUSTOMER, "plan_type": given})["plan_type"] == "pro"

    @pytest.mark.parametrize("column", ["first_name", "last_name", "candidate"])
    @pytest.mark.parametrize("character", ["x", "é", "e\u0301", "😀", "漢"])
    def test_lengths_are_counted_in_characters(self, column: str, character: str) -> None:
        """Code points, as MySQL counts them: neither bytes nor what is seen as one."""
        text = (character * 100)[:100]
        assert stored(customers(), {**CUSTOMER, column: text})[column] == text
        assert rejected(customers(), {**CUSTOMER, column: text + "x"}) == ("too_long", column)

    def test_an_email_has_at_most_255_characters(self) -> None:
        """Spaces around it do not count."""
        email = "x" * 253 + "@b"
        assert stored(customers(), {**CUSTOMER, "email": f" {email}"})["email"] == email
        assert rejected(customers(), {**CUSTOMER, "email": f"x{email}"}) == ("too_long", "email")

    @pytest.mark.parametrize(
        ("field", "value", "code"),
        [
            ("email", None, "missing"),
            ("email", "", "missing"),
            ("email", "  ", "missing"),
            ("email", 7, "type"),
            ("email", ["a@b"], "type"),
            ("email", "a.example.com", "type"),
            ("email", "a b@example.com", "type"),
            ("email", "a@b@c", "type"),
            ("email", "@b", "type"),
            ("email", "a@b\0", "not_allowed"),
            ("email", "a@b\ud800", "not_allowed"),
            ("plan_type", None, "missing"),
            ("plan_type", "", "missing"),
            ("plan_type", "gold", "not_allowed"),
            ("plan_type", "pro\0", "not_allowed"),
            ("plan_type", 1, "type"),
            ("plan_type", True, "type"),
            ("first_name", 1, "type"),
            ("first_name", {"a": 1}, "type"),
            ("first_name", b"x", "type"),
            ("last_name", "a\0b", "not_allowed"),
            ("candidate", "\udfff", "not_allowed"),
        ],
    )
    def test_what_cannot_be_stored_is_rejected_with_its_code(
        self, field: str, value: object, code: str
    ) -> None:
        """And with the field."""
        assert rejected(customers(), {**CUSTOMER, field: value}) == (code, field)

    @pytest.mark.parametrize("field", ["email", "plan_type"])
    def test_a_required_field_that_is_absent_is_missing(self, field: str) -> None:
        """As one that is empty."""
        record = {name: value for name, value in CUSTOMER.items() if name != field}
        assert rejected(customers(), record) == ("missing", field)

    def test_the_first_wrong_field_is_reported(self) -> None:
        """A rejection has one field."""
        record = {"id": "x", "email": "", "plan_type": "gold"}
        assert rejected(customers(key="id", owns_ids=True), record) == ("type", "id")
        assert rejected(customers(), record) == ("missing", "email")


class TestKeys:
    """The source's own key, and ids that it owns."""

    @pytest.mark.parametrize(
        ("value", "key"),
        [
            ("7", "7"),
            (7, "7"),
            (-7, "-7"),
            ("007", "007"),
            (" a b ", "a b"),
            ("ä😀", "ä😀"),
            ("x" * MAX_KEY, "x" * MAX_KEY),
        ],
    )
    def test_a_key_is_text(self, value: object, key: str) -> None:
        """As it came; a number is written with digits."""
        ((row,), _) = validated(customers(key="id"), {**CUSTOMER, "id": value})
        assert (row.source_key, "id" in row.values, "key" in row.values) == (key, False, False)

    @pytest.mark.parametrize(
        ("value", "code"),
        [
            (None, "missing"),
            ("", "missing"),
            (" ", "missing"),
            (True, "type"),
            (7.0, "type"),
            ([7], "type"),
            ("x" * (MAX_KEY + 1), "too_long"),
            ("a\0", "not_allowed"),
            ("\ud800", "not_allowed"),
            (10**30, "out_of_range"),
        ],
    )
    def test_a_key_that_cannot_be_one_is_rejected(self, value: object, code: str) -> None:
        """Without it, the record could not be found again."""
        assert rejected(customers(key="id"), {**CUSTOMER, "id": value}) == (code, "key")

    @pytest.mark.parametrize(
        ("value", "number"),
        [(1, 1), ("1", 1), ("007", 7), (" 7 ", 7), (MAX_ID, MAX_ID), (str(MAX_ID), MAX_ID)],
    )
    def test_a_source_that_owns_ids_decides_them(self, value: object, number: int) -> None:
        """The key is the id, however it is written."""
        source = customers(key="uid", owns_ids=True)
        ((row,), _) = validated(source, {**CUSTOMER, "uid": value})
        assert (row.source_key, row.values["id"]) == (str(number), number)

    @pytest.mark.parametrize(
        ("value", "code"),
        [
            (None, "missing"),
            ("", "missing"),
            (0, "out_of_range"),
            ("0", "out_of_range"),
            (-1, "out_of_range"),
            ("-1", "out_of_range"),
            (MAX_ID + 1, "out_of_range"),
            (str(MAX_ID + 1), "out_of_range"),
            (2**70, "out_of_range"),
            ("9" * 30, "out_of_range"),
            (True, "type"),
            (7.0, "type"),
            ("7.0", "type"),
            ("1_000", "type"),
            ("+7", "type"),
            ("seven", "type"),
            ("٣", "type"),
            ([], "type"),
        ],
    )
    def test_an_id_that_the_column_cannot_hold_is_rejected(self, value: object, code: str) -> None:
        """Neither a truth value nor a fraction becomes a number."""
        source = customers(key="id", owns_ids=True)
        assert rejected(source, {**CUSTOMER, "id": value}) == (code, "id")

    @pytest.mark.parametrize(
        ("value", "key"),
        [("7", "7"), (7, "7"), (None, None), (True, None), ("x" * 300, None), ("\ud800", None)],
    )
    def test_a_rejection_has_the_key_if_there_is_one(self, value: object, key: str | None) -> None:
        """The record can be found in the source."""
        (_, (rejection,)) = validated(customers(key="id"), {"id": value, "plan_type": "pro"})
        assert rejection.source_key == key


class TestPageViews:
    """The columns of `page_views`."""

    def test_all_columns_are_stored(self) -> None:
        """With the customer, who is not looked up yet."""
        record = {**VIEW, "device": "Mobile", "browser": "Chrome", "location": "Oakland CA"}
        ((row,), _) = validated(page_views(), record)
        assert row == ValidRow(
            0,
            None,
            {
                "user_id": 7,
                "page": "pricing",
                "device": "mobile",
                "browser": "Chrome",
                "location": "Oakland CA",
                "event_time": "2026-11-20 10:11:12",
            },
        )

    @pytest.mark.parametrize("value", [None, "", " "])
    def test_a_device_may_be_unknown(self, value: str | None) -> None:
        """As browser and location may."""
        assert stored(page_views(), {**VIEW, "device": value})["device"] is None

    @pytest.mark.parametrize(
        ("customer", "field", "value", "kept"),
        [
            ("id", "user_id", "7", 7),
            ("email", "email", " a@b ", "a@b"),
            ("key", "customer_key", 7, "7"),
            ("key", "customer_key", "c-7", "c-7"),
        ],
    )
    def test_a_customer_is_an_id_a_key_or_an_email(
        self, customer: str, field: str, value: object, kept: object
    ) -> None:
        """In a field of that name."""
        source = page_views(customer=customer)
        record = {name: item for name, item in VIEW.items() if name != "user_id"}
        assert stored(source, {**record, field: value})[field] == kept
        assert rejected(source, record) == ("missing", field)
        assert rejected(source, {**record, field: []}) == ("type", field)

    def test_a_view_may_have_a_key(self) -> None:
        """It is not a column."""
        ((row,), _) = validated(page_views(key="event"), {**VIEW, "event": 12})
        assert row.source_key == "12"
        assert row.values.keys() == {"user_id", "page", "event_time"}

    @pytest.mark.parametrize(
        ("field", "value", "code"),
        [
            ("user_id", "x", "type"),
            ("user_id", 0, "out_of_range"),
            ("page", "about", "not_allowed"),
            ("page", None, "missing"),
            ("device", "watch", "not_allowed"),
            ("device", 1, "type"),
            ("browser", "x" * 101, "too_long"),
            ("location", "x" * 256, "too_long"),
            ("location", "\0", "not_allowed"),
            ("event_time", None, "missing"),
            ("event_time", "", "missing"),
            ("event_time", "yesterday", "type"),
            ("event_time", "2026-13-01 00:00:00", "type"),
            ("event_time", "2026-11-20 24:00:01", "type"),
            ("event_time", True, "type"),
            ("event_time", [], "type"),
            ("event_time", 0, "out_of_range"),
            ("event_time", -1, "out_of_range"),
            ("event_time", 1732200000000, "out_of_range"),
            ("event_time", "1732200000000", "out_of_range"),
            ("event_time", 10**400, "out_of_range"),
            ("event_time", float("inf"), "out_of_range"),
            ("event_time", "1970-01-01 00:00:00", "out_of_range"),
            ("event_time", "2038-01-19 03:14:08", "out_of_range"),
            ("event_time", "0001-01-01T00:00:00+14:00", "out_of_range"),
            ("event_time", "9999-12-31T23:59:59-12:00", "out_of_range"),
        ],
    )
    def test_what_cannot_be_stored_is_rejected_with_its_code(
        self, field: str, value: object, code: str
    ) -> None:
        """And with the field."""
        assert rejected(page_views(), {**VIEW, field: value}) == (code, field)


class TestTimes:
    """`event_time` in UTC, to the second."""

    @pytest.mark.parametrize(
        ("given", "kept"),
        [
            ("2026-11-20 10:11:12", "2026-11-20 10:11:12"),
            ("2026-11-20T10:11:12", "2026-11-20 10:11:12"),
            ("2026-11-20T10:11", "2026-11-20 10:11:00"),
            ("2026-11-20T10:11:12Z", "2026-11-20 10:11:12"),
            ("2026-11-20T10:11:12+00:00", "2026-11-20 10:11:12"),
            ("2026-11-20T10:11:12.999999Z", "2026-11-20 10:11:12"),
            ("2026-11-20T00:11:12+02:00", "2026-11-19 22:11:12"),
            ("2026-11-20 23:30:00-0530", "2026-11-21 05:00:00"),
            (1732200000, "2024-11-21 14:40:00"),
            ("1732200000", "2024-11-21 14:40:00"),
            (1732200000.9, "2024-11-21 14:40:00"),
            (1, MIN_TIME),
            (2**31 - 1, MAX_TIME),
            ("2038-01-19T04:14:07.5+01:00", MAX_TIME),
        ],
    )
    def test_each_form_is_understood(self, given: object, kept: str) -> None:
        """ISO 8601 with or without a zone, or Unix seconds."""
        assert stored(page_views(), {**VIEW, "event_time": given})["event_time"] == kept

    @pytest.mark.parametrize(
        ("given", "kept"),
        [
            ("2026-11-20 10:11:12", "2026-11-20 15:11:12"),
            ("2026-07-20 10:11:12", "2026-07-20 14:11:12"),
            ("2026-11-20 10:11:12Z", "2026-11-20 10:11:12"),
            (1732200000, "2024-11-21 14:40:00"),
            # The hour that a clock shows twice: the first of both.
            ("2026-11-01 01:30:00", "2026-11-01 05:30:00"),
        ],
    )
    def test_a_time_without_a_zone_is_in_that_of_the_source(self, given: object, kept: str) -> None:
        """UTC unless the source says otherwise."""
        source = page_views(timezone="America/New_York")
        assert stored(source, {**VIEW, "event_time": given})["event_time"] == kept

    @given(
        st.datetimes(min_value=datetime(1960, 1, 1), max_value=datetime(2048, 1, 1)),  # noqa: DTZ001
        st.integers(-14 * 60, 14 * 60),
    )
    def test_a_time_is_kept_to_the_second_or_rejected(self, moment: datetime, minutes: int) -> None:
        """Whatever its zone is."""
        aware = moment.replace(tzinfo=timezone(timedelta(minutes=minutes)))
        text = aware.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")
        valid, rejections = validated(page_views(), {**VIEW, "event_time": aware.isoformat()})
        if MIN_TIME <= text <= MAX_TIME:
            assert [row.values["event_time"] for row in valid] == [text]
        else:
            assert [rejection.code for rejection in rejections] == ["out_of_range"]


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(codec=None, exclude_categories=()), max_size=5)
    | st.sampled_from(["", "pro", "a@b", "pricing", "7", 7, "2026-11-20 10:11:12", "x" * 300]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=3,
)
FIELDS = ["id", "email", "first_name", "plan_type", "user_id", "page", "device", "event_time"]
GOOD = st.sampled_from([{**CUSTOMER, **VIEW, "id": number} for number in range(1, 4)])
RECORDS = st.lists(
    GOOD
    | st.builds(dict.__or__, GOOD, st.dictionaries(st.sampled_from(FIELDS), JSON, max_size=2))
    | st.dictionaries(st.sampled_from(FIELDS), JSON)
    | st.builds(Malformed, st.just("not JSON"), st.text(max_size=5)),
    max_size=8,
)
SOURCES = [
    customers(),
    customers(key="id"),
    customers(key="id", owns_ids=True),
    page_views(),
    page_views(customer="email", key="id", timezone="Europe/Berlin"),
]


class TestPage:
    """All records of a page together."""

    @pytest.mark.parametrize("source", SOURCES, ids=lambda source: f"{source.entity}-{source.key}")
    @given(records=RECORDS)
    def test_every_record_is_valid_or_rejected(
        self, source: BaseSource, records: list[RawRecord]
    ) -> None:
        """Once, with its index, in the order of the page."""
        valid, rejections = validated(source, *records)
        found = [row.index for row in valid], [rejection.index for rejection in rejections]
        assert [sorted(indexes) for indexes in found] == [*found]
        assert sorted([*found[0], *found[1]]) == list(range(len(records)))

    @pytest.mark.parametrize("source", SOURCES, ids=lambda source: f"{source.entity}-{source.key}")
    @given(records=RECORDS)
    def test_neighbours_change_nothing(self, source: BaseSource, records: list[RawRecord]) -> None:
        """A record alone has the same outcome as in any page."""
        valid, rejections = validated(source, *records)
        together: dict[int, ValidRow | Rejection] = {row.index: row for row in valid}
        together |= {rejection.index: rejection for rejection in rejections}
        for index, record in enumerate(records):
            ((alone,),) = [part for part in validated(source, record) if part]
            assert alone._replace(index=index) == together[index]

    @pytest.mark.parametrize("source", SOURCES, ids=lambda source: f"{source.entity}-{source.key}")
    @given(records=RECORDS)
    def test_the_records_are_not_changed(
        self, source: BaseSource, records: list[RawRecord]
    ) -> None:
        """They are validated again when the page is replayed."""
        before = repr(records)
        validated(source, *records)
        assert repr(records) == before

    def test_a_malformed_record_is_rejected_with_its_reason(self) -> None:
        """Also what is no object, in a list of JSON."""
        valid, rejections = validated(customers(), Malformed("3 cells", "x"), CUSTOMER, 7, None)
        assert [row.index for row in valid] == [1]
        assert rejections == [
            Rejection(0, None, "malformed", None, "3 cells"),
            Rejection(2, None, "malformed", None, "not an object"),
            Rejection(3, None, "malformed", None, "not an object"),
        ]

    @pytest.mark.parametrize(
        ("record", "detail"),
        [
            ({**VIEW, "page": "geheim"}, "expected one of pricing, settings, features, home, blog"),
            ({**VIEW, "user_id": "geheim"}, "expected a whole number from 1 to 2147483647"),
            ({**VIEW, "browser": "geheim" * 50}, "expected text of at most 100 characters"),
            (
                {**VIEW, "browser": "geheim\0"},
                "a NUL, or a character that is not valid Unicode, cannot be stored",
            ),
            (
                {**VIEW, "event_time": "geheim"},
                "expected an ISO 8601 time or Unix seconds, from 1970-01-01 00:00:01 to"  # noqa: ISC004
                " 2038-01-19 03:14:07 UTC",
            ),
        ],
    )
    def test_a_rejection_says_what_was_expected_and_not_what_came(
        self, record: dict[str, object], detail: str
    ) -> None:
        """The value may be personal; it is in the raw page only."""
        (_, (rejection,)) = validated(page_views(), record)
        assert rejection.detail == detail
        assert "geheim" not in repr(rejection)
