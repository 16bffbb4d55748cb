"""Where fields are in a record, and what happened to them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic_core import SchemaValidator, ValidationError, core_schema

from integration.core.exit_codes import ExitCode
from integration.ingest.errors import SchemaError
from integration.ingest.mapping import (
    ABSENT,
    FieldChanges,
    alias_of,
    compare_fields,
    field_paths,
    lookup,
    required_paths,
)
from integration.ingest.models import Malformed
from tests.support.sources import customers, page_views, source_of

if TYPE_CHECKING:
    from integration.ingest.models import RawRecord

CUSTOMER: dict[str, object] = {
    "id": 7,
    "email": "a@example.com",
    "first_name": "Ann",
    "last_name": "Lee",
    "plan_type": "pro",
    "candidate": "yes",
}
KNOWN = frozenset(CUSTOMER)


def without(*names: str, **changes: object) -> dict[str, object]:
    """The customer without these fields, and with these others."""
    return {name: value for name, value in CUSTOMER.items() if name not in names} | changes


class TestLookup:
    """What a path leads to."""

    @pytest.mark.parametrize(
        ("record", "path", "value"),
        [
            ({"email": "x"}, "email", "x"),
            ({"email": None}, "email", None),
            ({}, "email", ABSENT),
            ({"contact": {"email": "x"}}, "contact.email", "x"),
            ({"contact": {"home": {"email": "x"}}}, "contact.home.email", "x"),
            ({"contact.email": "x", "contact": {"email": "y"}}, "contact.email", "x"),
            ({"contact": "x"}, "contact.email", ABSENT),
            ({"contact": None}, "contact.email", ABSENT),
            ({"contact": ["x"]}, "contact.0", ABSENT),
            (None, "email", ABSENT),
        ],
    )
    def test_a_path_is_a_name_or_leads_into_objects(
        self, record: object, path: str, value: object
    ) -> None:
        """A name with a dot comes first."""
        assert lookup(record, path) is value

    NAMES = st.sampled_from(["a", "b", "a.b", "b.a"])
    RECORDS = st.dictionaries(
        NAMES,
        st.recursive(
            st.none() | st.integers() | st.lists(st.integers(), max_size=2),
            lambda inner: st.dictionaries(st.sampled_from(["a", "b"]), inner, max_size=2),
            max_leaves=4,
        ),
    )

    @given(RECORDS, st.lists(st.sampled_from(["a", "b"]), min_size=1, max_size=3).map(".".join))
    def test_validation_finds_the_same(self, record: dict[str, object], path: str) -> None:
        """The alias leads wherever `lookup` does."""
        field = core_schema.typed_dict_field(
            core_schema.any_schema(), validation_alias=alias_of(path)
        )
        validator = SchemaValidator(core_schema.typed_dict_schema({"ours": field}))
        try:
            found = validator.validate_python(record)["ours"]
        except ValidationError:
            found = ABSENT
        assert found is lookup(record, path)


class TestPaths:
    """All fields of a page."""

    def test_those_of_every_record_count(self) -> None:
        """Objects, and what is in them; records that could not be decoded have none."""
        records: list[RawRecord] = [
            {"id": 1},
            {"contact": {"email": "x", "home": {"city": "y"}}},
            {"contact": None, "tags": [{"name": "x"}]},
            Malformed("cut off", "{"),
        ]
        assert field_paths(records) == {
            "id",
            "contact",
            "contact.email",
            "contact.home",
            "contact.home.city",
            "tags",
        }

    def test_there_are_none_without_records(self) -> None:
        """Nor with malformed ones only."""
        assert field_paths([]) == field_paths([Malformed("cut off", "{")]) == frozenset()

    def test_what_is_required_depends_on_the_source(self) -> None:
        """Its key, and how a view names its customer."""
        assert required_paths(customers()) == {"email": "email", "plan_type": "plan_type"}
        source = page_views(customer="email", key="uid", fields={"page": "ctx.page"})
        assert required_paths(source) == {
            "key": "uid",
            "email": "email",
            "page": "ctx.page",
            "event_time": "event_time",
        }


class TestNewFields:
    """A field that no earlier record had."""

    def test_it_is_reported(self) -> None:
        """Of an object, only its own name."""
        record = without(phone="1", address={"city": "x"})
        assert compare_fields(customers(), [CUSTOMER, record], KNOWN).new == ("address", "phone")

    def test_a_new_field_in_a_known_object_is_reported_with_its_path(self) -> None:
        """The object itself is not new."""
        known = KNOWN | {"address"}
        record = without(address={"city": "x"})
        assert compare_fields(customers(), [record], known).new == ("address.city",)

    def test_nothing_is_new_in_a_first_page(self) -> None:
        """There is nothing to compare with."""
        assert compare_fields(customers(schema="freeze"), [CUSTOMER], frozenset()).new == ()

    def test_a_frozen_schema_stops_at_it(self) -> None:
        """And says how to go on."""
        with pytest.raises(SchemaError) as caught:
            compare_fields(customers(schema="freeze"), [without(phone="1", zip="2")], KNOWN)
        assert str(caught.value) == (
            "crm: new fields phone, zip: correct the source, or set"
            ' schema = "evolve" to ignore new fields'
        )
        assert caught.value.exit_code == ExitCode.CONFIGURATION

    def test_a_page_without_decoded_records_changes_nothing(self) -> None:
        """Neither new nor missing."""
        changes = compare_fields(customers(), [Malformed("cut off", "{")], KNOWN)
        assert changes == FieldChanges((), ())


class TestMissingFields:
    """A field that is in no record of a page."""

    @pytest.mark.parametrize(
        ("record", "message"),
        [
            (
                without("email", e_mail="x"),
                'email is missing, e_mail is new: set email = "e_mail" in [sources.crm.fields]',
            ),
            (
                without("email", contact={"email": "x"}),
                (
                    "email is missing, contact.email is new:"
                    ' set email = "contact.email" in [sources.crm.fields]'
                ),
            ),
            (
                without("plan_type", planType="x"),
                (
                    "plan_type is missing, planType is new:"
                    ' set plan_type = "planType" in [sources.crm.fields]'
                ),
            ),
            (
                without("id", customer_id="x"),
                'id is missing, customer_id is new: set key = "customer_id" in [sources.crm]',
            ),
            (
                without("id", customerId="x", e="y"),
                'id is missing, customerId is new: set key = "customerId" in [sources.crm]',
            ),
            (without("email"), "email is missing: correct the source or [sources.crm.fields]"),
            (
                without("email", "plan_type", plan="x"),
                (
                    "email is missing; plan_type is missing, plan is new:"
                    ' set plan_type = "plan" in [sources.crm.fields]'
                ),
            ),
        ],
    )
    @pytest.mark.parametrize("known", [KNOWN, frozenset()])
    def test_a_required_one_stops_the_run_with_the_likely_rename(
        self, record: dict[str, object], message: str, known: frozenset[str]
    ) -> None:
        """In the first page of a source, too."""
        with pytest.raises(SchemaError) as caught:
            compare_fields(customers(key="id"), [record, record], known)
        assert str(caught.value) == f"crm: {message}"

    @pytest.mark.parametrize(("delimiter", "text"), [(";", '";"'), ("\t", r'"\t"')])
    def test_a_header_that_is_one_column_has_another_delimiter(
        self, delimiter: str, text: str
    ) -> None:
        """Its names are no new fields."""
        record: dict[str, object] = {
            delimiter.join(CUSTOMER): delimiter.join(map(str, CUSTOMER.values()))
        }
        with pytest.raises(SchemaError) as caught:
            compare_fields(customers(), [record], frozenset())
        assert str(caught.value) == (
            "crm: email is missing; plan_type is missing; the file has one column:"
            f" set delimiter = {text} in [sources.crm]"
        )

    @pytest.mark.parametrize(("records", "stops"), [(1, False), (19, False), (20, True)])
    def test_a_few_records_without_a_field_that_is_known_are_rejected_one_by_one(
        self, records: int, stops: bool
    ) -> None:
        """Otherwise a bad record that comes alone would stop the source in each run."""
        source = source_of("http", "customers")
        page: list[RawRecord] = [without("plan_type")] * records
        if stops:
            with pytest.raises(SchemaError, match="plan_type is missing"):
                compare_fields(source, page, KNOWN)
        else:
            assert compare_fields(source, page, KNOWN) == FieldChanges((), ())
        with pytest.raises(SchemaError, match="plan_type is missing"):
            compare_fields(source, page, KNOWN - {"plan_type"})
        with pytest.raises(SchemaError, match="planType is new"):
            compare_fields(source, [without("plan_type", planType="x")], KNOWN)

    def test_the_path_is_named_and_not_our_field(self) -> None:
        """The operator knows the source's names."""
        source = source_of("http", "customers", fields={"email": "contact.email"})
        record = without("email", contact={"e_mail": "x"})
        with pytest.raises(SchemaError, match=r"^crm: contact\.email is missing, contact\.e_mail"):
            compare_fields(source, [record], KNOWN | {"contact", "contact.email"})

    def test_a_field_that_is_read_already_is_no_rename(self) -> None:
        """Neither of a required one nor of an optional one."""
        source = customers(fields={"candidate": "e_mail"})
        with pytest.raises(SchemaError, match=r"^crm: email is missing: correct the source"):
            compare_fields(source, [without("email", e_mail="x")], frozenset())
        record = without("first_name", "last_name")
        changes = compare_fields(customers(), [{**record, "last_name": "x"}], KNOWN - {"last_name"})
        assert changes == FieldChanges(("last_name",), ())

    def test_one_record_with_the_field_is_enough(self) -> None:
        """The others are rejected one by one."""
        assert compare_fields(customers(), [CUSTOMER, without("email")], KNOWN).warnings == ()

    def test_a_value_of_null_is_not_a_missing_field(self) -> None:
        """The source still has the field."""
        assert compare_fields(customers(), [without(email=None)], KNOWN).warnings == ()

    def test_a_header_is_enough_to_notice_it(self) -> None:
        """Also without records: an HTML page is no CSV file."""
        with pytest.raises(SchemaError, match="email is missing; plan_type is missing"):
            compare_fields(
                customers(), [], frozenset(), found=frozenset(["<html><body>Maintenance"])
            )

    def test_an_optional_one_that_was_renamed_is_a_warning(self) -> None:
        """In a page of any size."""
        record = without("first_name", firstname="x")
        assert compare_fields(customers(), [record], KNOWN).warnings == (
            (
                "crm: first_name is missing, firstname is new:"
                ' set first_name = "firstname" in [sources.crm.fields]'
            ),
        )

    @pytest.mark.parametrize(("records", "warned"), [(19, False), (20, True)])
    def test_an_optional_one_that_is_gone_is_a_warning_in_a_page_of_some_size(
        self, records: int, warned: bool
    ) -> None:
        """Sources may leave out what is null."""
        changes = compare_fields(customers(), [without("candidate")] * records, KNOWN)
        assert bool(changes.warnings) is warned

    def test_an_optional_one_that_never_was_is_not_missed(self) -> None:
        """A source need not have all fields."""
        record = without("candidate")
        assert compare_fields(customers(), [record] * 50, frozenset(record)).warnings == ()

    @pytest.mark.parametrize("records", [1, 50])
    def test_one_that_is_mapped_wrongly_is_a_warning_in_a_first_page(self, records: int) -> None:
        """With what it is likely to be called; a field that the source does not name is not."""
        source = customers(fields={"first_name": "name.frst", "last_name": "family"})
        record = without("first_name", "last_name", "candidate", name={"first": "x"})
        assert compare_fields(source, [record] * records, frozenset()).warnings == (
            (
                "crm: name.frst is missing, name.first is new:"
                ' set first_name = "name.first" in [sources.crm.fields]'
            ),
            "crm: family is missing: correct the source or [sources.crm.fields]",
        )

    def test_one_that_is_mapped_wrongly_is_a_warning_after_the_first_page(self) -> None:
        """Of a file with a header whenever; of JSON in a page of some size."""
        fields, text = {"candidate": "applicant"}, "crm: applicant is missing: correct the source"
        record = without("candidate")
        (warning,) = compare_fields(customers(fields=fields), [record], KNOWN).warnings
        assert warning.startswith(text)
        source = source_of("jsonl", "customers", fields=fields)
        assert compare_fields(source, [record] * 19, KNOWN).warnings == ()
        (warning,) = compare_fields(source, [record] * 20, KNOWN).warnings
        assert warning.startswith(text)

    def test_one_that_is_spelt_with_capitals_is_a_warning_in_a_first_page(self) -> None:
        """It is not read, unless another field is."""
        record = without("candidate", Candidate="yes")
        assert compare_fields(customers(), [record], frozenset()).warnings == (
            (
                "crm: candidate is missing, Candidate is new:"
                ' set candidate = "Candidate" in [sources.crm.fields]'
            ),
        )
        source = customers(fields={"first_name": "Candidate"})
        assert compare_fields(source, [record], frozenset()).warnings == ()
