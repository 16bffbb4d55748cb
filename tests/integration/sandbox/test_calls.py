"""The sandbox's four write calls and its reads, as Iterable documents them."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from tests.support import sandbox_api
from tests.support.sandbox_api import EMAIL

if TYPE_CHECKING:
    from tests.support.sandbox_api import Api

running_sandbox_fixture = sandbox_api.running_sandbox_fixture
api_fixture = sandbox_api.api_fixture

ITEMS_KEY = {"users/bulkUpdate": "users", "events/trackBulk": "events"}
SUCCESS = {"msg": "", "code": "Success", "params": None}


def test_a_profile_is_created_and_read_back(api: Api) -> None:
    """users/update is an upsert, and both reads return what was sent."""
    assert api.update(name="Ada 😀", visits=3).json() == SUCCESS
    expected = {"user": {"email": EMAIL, "dataFields": {"name": "Ada 😀", "visits": 3}}}
    assert api.get("users/ada%40example.com").json() == expected
    assert api.get("users/getByEmail?email=ada%40example.com").json() == expected


def test_fields_are_merged_and_null_is_stored(api: Api) -> None:
    """Missing fields stay, null clears one, and updates are counted."""
    api.update(name="Ada", plan="pro")
    api.update(plan=None)
    assert api.users()[EMAIL] == {
        "email": EMAIL,
        "dataFields": {"name": "Ada", "plan": None},
        "updates": 2,
    }


@pytest.mark.parametrize(
    ("nested", "expected"), [(False, {"b": 2}), (True, {"a": 1, "b": 2})], ids=["replace", "merge"]
)
def test_nested_objects_are_merged_only_on_request(
    api: Api, nested: bool, expected: dict[str, int]
) -> None:
    """MergeNestedObjects decides between replacing and merging a top-level object."""
    api.update(settings={"a": 1})
    body = {"email": EMAIL, "dataFields": {"settings": {"b": 2}}, "mergeNestedObjects": nested}
    api.post("users/update", body)
    assert api.users()[EMAIL]["dataFields"]["settings"] == expected


def test_emails_are_compared_without_case(api: Api) -> None:
    """Addresses are stored in lower case."""
    api.update("ADA@Example.COM", name="Ada")
    api.track("Ada@Example.com", id="one")
    assert list(api.users()) == [EMAIL]
    assert api.events()["one"]["email"] == EMAIL
    assert api.get("users/ADA@example.com").json()["user"]["email"] == EMAIL


def test_an_unknown_user_is_an_empty_object(api: Api) -> None:
    """A read of an unknown user is 200 with {}."""
    answer = api.get("users/unknown@example.com")
    assert (answer.status_code, answer.json()) == (200, {})


@pytest.mark.parametrize(
    "email",
    [
        "000",
        "",
        "a b@example.com",
        "a@b",
        "a@@b.com",
        "a@x.test",
        "a@x.invalid",
        f"{'a' * 250}@b.com",
    ],
)
def test_an_invalid_email_is_refused(api: Api, email: str) -> None:
    """Undeliverable addresses are 400 in single calls and listed in bulk calls."""
    for answer in (api.update(email), api.track(email)):
        assert answer.status_code == 400
        assert answer.json() == {
            "msg": f"Invalid email: {email}",
            "code": "InvalidEmailAddressError",
            "params": None,
        }
    for answer in (api.update_bulk(email), api.track_bulk(email)):
        assert answer.json()["failedUpdates"]["invalidEmails"] == [email.lower()]
        assert answer.json()["invalidEmails"] == [email.lower()]


def test_an_event_is_stored_and_read_newest_first(api: Api) -> None:
    """events/{email} returns the newest first, 30 by default, at most 200."""
    api.update()
    events = [
        {"email": EMAIL, "eventName": "page_view", "id": f"e-{n}", "createdAt": n}
        for n in range(250)
    ]
    api.post("events/trackBulk", {"events": events})
    newest = api.get(f"events/{EMAIL}").json()["events"]
    assert [event["createdAt"] for event in newest] == list(range(249, 219, -1))
    assert len(api.get(f"events/{EMAIL}?limit=2").json()["events"]) == 2
    assert len(api.get(f"events/{EMAIL}?limit=999").json()["events"]) == 200
    assert len(api.get(f"events/{EMAIL}?limit=x").json()["events"]) == 30
    assert api.get("events/unknown@example.com").json() == {"events": []}


def test_an_event_with_a_known_id_is_updated(api: Api) -> None:
    """The id prevents duplicates: the second call creates no second event."""
    api.update()
    api.track(id="one", createdAt=5, dataFields={"page": "pricing", "device": "mobile"})
    api.track(id="one", createdAt=6, dataFields={"page": "settings"})
    assert api.events() == {
        "one": {
            "id": "one",
            "email": EMAIL,
            "eventName": "page_view",
            "createdAt": 6,
            "dataFields": {"page": "settings", "device": "mobile"},
            "updates": 2,
        }
    }


def test_an_event_can_move_to_another_user(api: Api) -> None:
    """An id is unique in the project, not per user."""
    api.update_bulk(EMAIL, "bob@example.com")
    api.track(id="one")
    api.track("bob@example.com", id="one")
    assert api.get(f"events/{EMAIL}").json() == {"events": []}
    assert api.get("events/bob@example.com").json()["events"][0]["id"] == "one"


def test_an_event_without_id_and_time_gets_both(api: Api) -> None:
    """A missing id is generated and returned; a missing time is the time of receipt."""
    api.update()
    before = int(time.time())
    event_id = api.track().json()["params"]["id"]
    assert before <= api.events()[event_id]["createdAt"] <= time.time()


@pytest.mark.parametrize("event_id", ["a_b", "a b", "", "ü", "x" * 513])
def test_an_event_id_of_other_characters_is_refused(api: Api, event_id: str) -> None:
    """Ids consist of letters, digits and hyphens, at most 512 bytes."""
    api.update()
    answer = api.track(id=event_id)
    assert (answer.status_code, answer.json()["code"]) == (400, "BadParams")
    assert api.events() == {}


@pytest.mark.parametrize("created_at", ["2026-01-13", 1.5, True])
def test_a_time_that_is_no_integer_is_refused(api: Api, created_at: object) -> None:
    """CreatedAt is unix seconds as an integer."""
    api.update()
    answer = api.track(createdAt=created_at)
    assert answer.status_code == 400
    assert answer.json() == {
        "msg": "[/api/events/track] Invalid JSON body",
        "code": "BadJsonBody",
        "params": {"obj.createdAt": "Integer value expected"},
    }


def test_an_event_for_an_unknown_user_is_refused(api: Api) -> None:
    """Events do not create users."""
    answer = api.track("unknown@example.com")
    assert (answer.status_code, answer.json()["code"]) == (400, "UnknownEmailError")
    bulk = api.track_bulk("Unknown@example.com").json()
    assert bulk["failedUpdates"]["notFoundEmails"] == ["unknown@example.com"]
    assert (bulk["successCount"], bulk["failCount"]) == (0, 1)


@pytest.mark.parametrize(
    ("path", "body", "code", "where"),
    [
        ("users/update", [], "BadJsonBody", "obj"),
        ("users/update", {}, "BadParams", None),
        ("users/update", {"email": 5}, "BadJsonBody", "obj.email"),
        ("users/update", {"email": EMAIL, "dataFields": 1}, "BadJsonBody", "obj.dataFields"),
        ("users/bulkUpdate", {}, "BadJsonBody", "obj.users"),
        ("users/bulkUpdate", {"users": [1]}, "BadJsonBody", "obj.users[0]"),
        (
            "users/bulkUpdate",
            {"users": [{"email": EMAIL}, {"email": EMAIL, "preferUserId": 1}]},
            "BadJsonBody",
            "obj.users[1].preferUserId",
        ),
        ("events/track", {"email": EMAIL}, "BadJsonBody", "obj.eventName"),
        ("events/track", {"email": EMAIL, "eventName": ""}, "BadParams", None),
        ("events/track", {"email": EMAIL, "eventName": "x", "id": 1}, "BadJsonBody", "obj.id"),
        ("events/trackBulk", {"events": None}, "BadJsonBody", "obj.events"),
    ],
)
def test_a_body_of_another_shape_is_refused(
    api: Api, path: str, body: object, code: str, where: str | None
) -> None:
    """A wrong structure is 400 and names the field; nothing is applied."""
    answer = api.post(path, body)
    assert (answer.status_code, answer.json()["code"]) == (400, code)
    assert list(answer.json()["params"] or {}) == ([where] if where else [])
    assert api.users() == {}


@pytest.mark.parametrize(
    "path", ["users/update", "users/bulkUpdate", "events/track", "events/trackBulk"]
)
def test_a_body_that_is_not_json_is_refused(api: Api, path: str) -> None:
    """Malformed JSON is 400 BadJsonBody."""
    answer = api.post(path, data=b"{")
    assert (answer.status_code, answer.json()["code"]) == (400, "BadJsonBody")


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ("x", 1, "string"),
        (1, "x", "number"),
        (True, 1, "boolean"),
        ([1], {}, "array"),
        ({}, [1], "object"),
    ],
)
def test_the_first_value_fixes_the_type_of_a_field(
    api: Api, first: object, second: object, expected: str
) -> None:
    """A later value of another type is rejected, for all users of the project."""
    api.update(field=None)
    api.update(field=first)
    answer = api.update("bob@example.com", field=second)
    assert (answer.status_code, answer.json()["code"]) == (400, "RequestFieldsTypesMismatched")
    error = answer.json()["params"]["validationErrors"]["field"]
    assert (error["expectedType"], error["offendingValue"]) == (expected, second)
    assert error["category"] == "user"
    assert list(api.users()) == [EMAIL]
    assert api.get("users/getFields").json() == {"fields": {"field": expected}}
    assert api.update(field=None).status_code == 200


def test_events_and_users_have_separate_fields(api: Api) -> None:
    """A user's field and an event's field of one name may differ in type."""
    api.update(field="x")
    assert api.track(dataFields={"field": 1}).status_code == 200
    answer = api.track(dataFields={"field": "x"})
    assert answer.json()["params"]["validationErrors"]["field"]["category"] == "event"


@pytest.mark.parametrize("path", ["users/bulkUpdate", "events/trackBulk"])
def test_one_wrong_type_refuses_a_whole_bulk_call(api: Api, path: str) -> None:
    """Nothing of the call is applied, and it fixes no type."""
    api.update()
    items = [
        {"email": EMAIL, "eventName": "page_view", "id": f"e{n}", "dataFields": {"new": value}}
        for n, value in enumerate([1, 2, "three"])
    ]
    answer = api.post(path, {ITEMS_KEY[path]: items})
    assert (answer.status_code, answer.json()["code"]) == (400, "RequestFieldsTypesMismatched")
    assert api.events() == {}
    assert api.users()[EMAIL]["dataFields"] == {}
    items[0]["dataFields"] = items[1]["dataFields"] = {"new": "one"}
    assert api.post(path, {ITEMS_KEY[path]: items}).json()["createdFields"] == ["new"]


def test_a_bulk_answer_names_failures_by_value(api: Api) -> None:
    """200 with failCount above 0 is the normal partial failure."""
    answer = api.update_bulk(EMAIL, "Forgotten.Bob@example.com", "not-an-email")
    assert answer.status_code == 200
    failed = {name: emails for name, emails in answer.json()["failedUpdates"].items() if emails}
    assert failed == {
        "forgottenEmails": ["forgotten.bob@example.com"],
        "invalidEmails": ["not-an-email"],
    }
    assert (answer.json()["successCount"], answer.json()["failCount"]) == (1, 2)
    assert list(api.users()) == [EMAIL]


def test_bulk_answers_have_every_documented_list(api: Api) -> None:
    """Empty lists are present too."""
    users, events = api.update_bulk(EMAIL).json(), api.track_bulk(EMAIL).json()
    both = {
        f"{why}{who}"
        for why in ("forgotten", "invalid", "notFound")
        for who in ("Emails", "UserIds")
    }
    more = {f"{why}{who}" for why in ("conflict", "invalidData") for who in ("Emails", "UserIds")}
    assert set(users["failedUpdates"]) == both | more
    assert set(events["failedUpdates"]) == both
    assert set(events) - set(users) == {"disallowedEventNames"}


@pytest.mark.parametrize("path", ["users/bulkUpdate", "events/trackBulk", "users/update"])
def test_a_body_above_four_million_bytes_is_too_large(api: Api, path: str) -> None:
    """The limit is on the body's bytes."""
    item = {"email": EMAIL, "eventName": "x", "dataFields": {"x": "x" * 4_000_000}}
    answer = api.post(path, item if path == "users/update" else {ITEMS_KEY[path]: [item]})
    assert (answer.status_code, answer.json()["code"]) == (413, "BatchTooLarge")
    assert api.users() == {}


def test_the_same_user_twice_in_a_call_is_counted(api: Api) -> None:
    """The sandbox applies both and reports it in its statistics."""
    api.update_bulk(EMAIL, EMAIL.upper(), "bob@example.com")
    api.track_bulk(EMAIL, EMAIL)
    assert api.users()[EMAIL]["updates"] == 2
    assert api.sandbox.stats()["duplicate_users_in_call"] == 2


def test_fields_outside_the_project_are_dropped(api: Api) -> None:
    """A project with fixed fields drops others and says so in bulk answers."""
    api.sandbox.configure(project_fields=["page"])
    item = {"email": EMAIL, "eventName": "x", "id": "x", "dataFields": {"page": "a", "new": 1}}
    for path, key in (("users/bulkUpdate", "users"), ("events/trackBulk", "events")):
        assert api.post(path, {key: [item]}).json()["filteredOutFields"] == ["new"]
    assert api.users()[EMAIL]["dataFields"] == {"page": "a"}
    assert api.events()["x"]["dataFields"] == {"page": "a"}


@pytest.mark.parametrize("path", ["users/update", "events/track"])
def test_a_call_can_forbid_new_fields(api: Api, path: str) -> None:
    """CreateNewFields false drops what the project does not know."""
    api.update(known=1)
    body = {"email": EMAIL, "eventName": "x", "id": "x", "createNewFields": False}
    api.post(path, {**body, "dataFields": {"known": 2, "new": 3}})
    assert api.users()[EMAIL]["dataFields"] == {"known": 2 if path == "users/update" else 1}
    assert api.sandbox.state()["events"].get("x", {"dataFields": {}})["dataFields"] == {}


def test_a_disallowed_event_is_answered_200_and_not_stored(api: Api) -> None:
    """Only the message (single) or a list (bulk) shows it."""
    api.sandbox.configure(disallowed_events=["page_view"])
    api.update()
    answer = api.track(id="one")
    assert answer.status_code == 200
    assert answer.json()["msg"] == "Event page_view is disallowed from tracking."
    bulk = api.track_bulk(EMAIL).json()
    assert bulk["disallowedEventNames"] == ["page_view"]
    assert (bulk["successCount"], bulk["failCount"]) == (0, 1)
    assert api.events() == {}


@pytest.mark.parametrize("path", ["nothing", "users/", "users/update", "events/trackBulk"])
def test_an_unknown_path_is_not_found(api: Api, path: str) -> None:
    """404 comes in Iterable's envelope; a write path accepts no GET."""
    answer = api.get(path)
    assert (answer.status_code, answer.json()["code"]) == (404, "NotFound")
