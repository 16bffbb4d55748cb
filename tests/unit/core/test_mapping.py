"""What the names of a query's columns say."""

from __future__ import annotations

import pytest

from integration.core.exit_codes import ExitCode
from integration.core.mapping import DOCUMENTED, Mapping, MappingError, person_in, problem_of


def targets(*columns: str) -> dict[str, tuple[object, object]]:
    """The paths of profile and event of each column."""
    mapping = Mapping.of(columns)
    return {one.column: (one.profile, one.event) for one in mapping.targets}


def test_the_documented_columns_go_where_they_always_went() -> None:
    """In their order they are the documented mapping, and in another they mean the same."""
    assert Mapping.of(DOCUMENTED).is_documented
    assert not Mapping.of(DOCUMENTED[::-1]).is_documented
    for columns in (DOCUMENTED, DOCUMENTED[::-1]):
        assert targets(*columns) == {
            "id": (None, None),
            "email": (None, None),
            "first_name": (("first_name",), None),
            "last_name": (("last_name",), None),
            "plan_type": (("plan_type",), None),
            "candidate": (("candidate",), ("candidate",)),
            "page": (None, ("page",)),
            "device": (None, ("device",)),
            "browser": (None, ("browser",)),
            "location": (None, ("location",)),
            "event_time": (None, ("timestamp",)),
        }


def test_dots_make_paths() -> None:
    """Of any depth, for profile and event."""
    assert targets("email", "profile.address.city", "event.a.b.c:json") == {
        "email": (None, None),
        "profile.address.city": (("address", "city"), None),
        "event.a.b.c:json": (None, ("a", "b", "c")),
    }


@pytest.mark.parametrize(
    ("columns", "sends_events"),
    [
        (["email"], False),
        (["email", "id", "first_name", "candidate", "profile.score"], False),
        (["email", "page"], True),
        (["email", "event_time"], True),
        (["email", "event_name"], True),
        (["email", "event.total"], True),
    ],
)
def test_a_query_without_an_event_column_sends_profiles_only(
    columns: list[str], sends_events: bool
) -> None:
    """Any of four kinds of columns makes each row an event."""
    assert Mapping.of(columns).sends_events is sends_events


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        (["id"], "no column email"),
        (["email", "churn"], "column churn has no place"),
        (["email", "churn"], "profile.churn for a profile field or event.churn"),
        (["email", "fist_name"], "did you mean first_name?"),
        (["email", "Email"], "did you mean email?"),
        (["email", "email:json"], "column email:json has no place"),
        (["email", "email"], "column email 2 times"),
        (["email", "profile."], "column profile. has an empty part"),
        (["email", "profile.a..b"], "column profile.a..b has an empty part"),
        (["email", "event.:json"], "column event.:json has an empty part"),
        (["email", "profile. a"], "column profile. a has an empty part"),
        (["email", "profile.a", "profile.a.b"], "profile.a and profile.a.b"),
        (["email", "profile.a", "profile.a.b.c", "profile.b"], "profile.a and profile.a.b.c"),
        (["email", "profile.a", "profile.a:json"], "profile.a and profile.a:json"),
        (["email", "first_name", "profile.first_name"], "first_name and profile.first_name"),
        (["email", "page", "profile.recent_page_view"], "page and profile.recent_page_view"),
        (["email", "event_time", "event.timestamp"], "event.timestamp and event_time"),
        (["email", "profile.signupDate"], "profile.signupDate is a field that Iterable writes"),
        (["email", "device"], "column device belongs to an event"),
        (["email", "event_id"], "column event_id belongs to an event"),
        (["email", "send_profile"], "column send_profile belongs to an event"),
    ],
)
def test_columns_that_cannot_be_sent_are_named_in_one_line(columns: list[str], words: str) -> None:
    """With what to do; exit code 78."""
    with pytest.raises(MappingError) as raised:
        Mapping.of(columns)
    message = str(raised.value)
    assert words in message.replace("event_time and event.timestamp", words)
    assert "\n" not in message
    assert raised.value.exit_code == ExitCode.CONFIGURATION


def test_the_same_name_may_be_a_field_of_profile_and_event() -> None:
    """They are two objects."""
    assert problem_of(["email", "profile.a", "event.a", "event.b.c", "event.b.d"]) is None


def test_a_person_is_found_in_rows_of_any_query() -> None:
    """By the documented names, or as fields of the profile."""
    columns = ("profile.firstName", "email", "profile.last_name")
    assert person_in(columns, ["Ada", "a@b.c", "L"]) == {
        "id": None,
        "email": "a@b.c",
        "first_name": "Ada",
        "last_name": "L",
    }
