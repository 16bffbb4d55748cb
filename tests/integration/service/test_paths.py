"""Every path of the window, on MySQL or MariaDB and on SQLite; the process is a real one."""

from __future__ import annotations

import csv
import html
import io
import json
import re
import subprocess
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from integration.service.json_paths import PATHS
from tests.support.runs import ROOT
from tests.support.window import CUSTOMERS, ODD_NAMES, checksums

if TYPE_CHECKING:
    from tests.support.window import Window

# 3 of database_setup.sql, and those of the source.
ALL_CUSTOMERS = 3 + CUSTOMERS + len(ODD_NAMES)
EMAIL = re.compile(r"[\w.+-]+@(?:example|gmail|email)\.com")
REQUESTS = [
    "/live",
    "/health",
    "/data?page_size=500",
    "/data?entity=page_views",
    "/data/export",
    "/data/export?format=ndjson&entity=page_views",
    "/people/user1@example.com",
    "/stats",
    "/runs",
    "/runs/ingest-1",
    "/runs/delivery-2",
    "/runs/delivery-2/users?page_size=500",
    "/runs/delivery-2/rejected",
    "/runs/ingest-1/rejected",
    "/compare-runs?run1=delivery-1&run2=delivery-2",
    "/compare-runs?run1=ingest-1&run2=ingest-2",
    "/metrics",
]
PAGES = [
    "/",
    "/page/runs",
    "/page/runs/ingest-1",
    "/page/runs/ingest-2",
    "/page/runs/delivery-2",
    "/page/runs/delivery-2?outcome=failed",
    "/page/people/user1@example.com",
    "/find?email=user",
    "/docs",
]


@pytest.mark.parametrize("path", [*REQUESTS, *PAGES])
def test_every_path_answers_and_changes_nothing(window: Window, path: str) -> None:
    """Not a byte of journal and SQLite file, and no file beside them; with all safety headers."""
    before = checksums(window.folder)

    answer = window.get(path)

    assert answer.status == (503 if path == "/health" else 200), answer.text
    assert checksums(window.folder) == before
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert "access-control-allow-origin" not in answer.headers
    assert answer.headers["cache-control"] == "no-store"
    if answer.headers["content-type"] == "application/json":
        assert answer.json["request_id"] == answer.headers["x-request-id"]
        assert answer.json["api_latency_ms"] > 0


def test_the_health_is_the_verdict(window: Window) -> None:
    """The stopped delivery comes first; a page says the same."""
    health = window.get("/health").json

    assert (health["status"], health["db_connected"]) == ("unhealthy", True)
    assert "20 users pending: Iterable is away" in health["sentence"]
    assert health["advice"] == "wait, then python main.py --resume"
    assert health["delivery"]["pending_users"] == 20
    assert health["delivery"]["last_run"]["id"] == "delivery-3"
    assert health["etl"]["stale_sources"] == ["web"]
    home = window.get("/").text
    assert html.escape(health["sentence"]) in home
    assert '<code class="command">python main.py --resume</code>' in home


def test_stats_add_up(window: Window) -> None:
    """Records of the runs, users by outcome."""
    stats = window.get("/stats").json

    records = CUSTOMERS + 5 + len(ODD_NAMES)
    assert (stats["total_records_processed"], stats["run_count"]) == (records, 2)
    crm, web = stats["sources"]
    assert (crm["source"], crm["records"], crm["rejected_open"]) == ("crm", records, 5)
    assert crm["last_success"]["id"] == "ingest-1"
    assert web["last_failure"]["error"] == "the file <views.csv> is gone"
    assert stats["deliveries"]["runs"] == 3
    assert stats["deliveries"]["outcomes"] == {
        "users": 91,
        "successful": 69,
        "partial": 2,
        "failed": 0,
        "not_attempted": 20,
        "unchanged": 0,
    }


@pytest.mark.parametrize(
    ("path", "key", "number"),
    [
        ("/data?page_size=7", "id", ALL_CUSTOMERS),
        ("/data?page_size=500", "id", ALL_CUSTOMERS),
        ("/data?page_size=4&source=crm&search=user", "id", CUSTOMERS),
        ("/data?page_size=5&entity=page_views", "id", 15),
        ("/runs?page_size=1", "id", 5),
        ("/runs?page_size=3", "id", 5),
        ("/runs/delivery-2/users?page_size=4", "position", 31),
        ("/runs/delivery-2/users?page_size=1&outcome=partial", "position", 2),
        ("/runs/delivery-3/users?page_size=3&outcome=not_attempted", "position", 20),
        ("/runs/ingest-1/rejected?page_size=2", "source_key", 5),
    ],
)
def test_a_cursor_repeats_nothing_and_leaves_nothing_out(
    window: Window, path: str, key: str, number: int
) -> None:
    """However deep; the order is the same as in one page."""
    found = [item[key] for page in window.pages(path) for item in page["items"]]

    assert len(found) == len(set(found)) == number
    whole = window.get(re.sub(r"page_size=\d+", "page_size=500", path)).json
    assert found == [item[key] for item in whole["items"]]


def test_a_page_says_where_the_next_one_is(window: Window) -> None:
    """In a header as well; the total is that of the filter."""
    first = window.get("/data?page_size=2&search=user")
    link = re.fullmatch(r'<(/data\?.*)>; rel="next"', first.headers["link"])

    assert link is not None
    assert (first.json["total"], first.json["total_is_exact"]) == (CUSTOMERS, True)
    second = window.get(link[1]).json
    assert (second["page"], second["total"]) == (2, CUSTOMERS)
    assert window.get("/data?page_size=2&search=user&page=2").json["items"] == second["items"]


@pytest.mark.parametrize(
    ("path", "parameter", "says"),
    [
        ("/data?page=0", "page", "greater than or equal to 1"),
        ("/data?page=21&page_size=500", "page", "use the cursor"),
        ("/data?page_size=501", "page_size", "less than or equal to 500"),
        ("/data?plan_type=gold", "plan_type", "'free'"),
        ("/data?updated_since=yesterday", "updated_since", "datetime"),
        ("/data?entity=orders", "entity", "'customers'"),
        ("/data?cursor=!", "cursor", "is not a next_cursor"),
        ("/data?cursor=WzEsMSwxXQ", "cursor", "is not a next_cursor"),
        ("/data?search=%00", "search", "NUL"),
        ("/data/export?format=xml", "format", "'csv'"),
        ("/runs?cursor=x", "cursor", "is not a next_cursor"),
        ("/runs/delivery-2/users?outcome=lost", "outcome", "'successful'"),
        ("/compare-runs?run1=delivery-1", "run2", "required"),
        ("/compare-runs?run1=delivery-1&run2=ingest-1", "run2", "compare two delivery runs"),
    ],
)
def test_a_wrong_value_is_422_and_named(
    window: Window, path: str, parameter: str, says: str
) -> None:
    """As a problem document."""
    answer = window.get(path)

    assert (answer.status, answer.headers["content-type"]) == (422, "application/problem+json")
    (error,) = answer.json["errors"]
    assert error["parameter"] == parameter
    assert says in error["detail"]
    assert answer.json["request_id"] == answer.headers["x-request-id"]


@pytest.mark.parametrize("path", [path for path, _, _ in PATHS if path != "/live"])
def test_an_unknown_parameter_is_422_and_named(window: Window, path: str) -> None:
    """On every path."""
    filled = path.replace("{run_id}", "delivery-1").replace("{email:path}", "a@example.com")

    answer = window.get(f"{filled}?nope=1")

    assert answer.status == 422
    assert {"parameter": "nope", "detail": "is not a parameter of this path"} in (
        answer.json["errors"]
    )


def test_a_cursor_of_another_filter_is_refused(window: Window) -> None:
    """It would leave rows out silently."""
    cursor = window.get("/data?page_size=1").json["next_cursor"]
    assert window.get(f"/data?page_size=1&cursor={cursor}").status == 200
    assert window.get(f"/data?page_size=1&search=a&cursor={cursor}").status == 422
    assert window.get(f"/data?page_size=1&page=2&cursor={cursor}").status == 422


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("/nope", "No such path"),
        ("/runs/delivery-99", "delivery-99 is no run"),
        ("/runs/ingest-99", "ingest-99 is no run"),
        ("/runs/12", "ingest-12 or delivery-7"),
        ("/runs/delivery-0", "is no run"),
        ("/runs/ingest-1/users", "which has no users: see /runs/ingest-1/rejected"),
        ("/people/stranger@example.com", "Nothing is known"),
    ],
)
def test_what_is_not_there_is_404(window: Window, path: str, says: str) -> None:
    """With what to do instead."""
    answer = window.get(path)
    assert answer.status == 404
    assert says in answer.json["detail"]


def test_only_get_is_allowed(window: Window) -> None:
    """The window only reads."""
    for method in ("POST", "PUT", "DELETE", "PATCH"):
        answer = window.get("/data", method)
        assert (answer.status, answer.headers["allow"]) == (405, "GET")


def test_an_export_has_the_rows_of_the_data(window: Window) -> None:
    """As NDJSON and CSV; what a spreadsheet would run is harmless."""
    items = window.get("/data?page_size=500").json["items"]
    lines = window.get("/data/export?format=ndjson").text.splitlines()
    assert [json.loads(line) for line in lines] == items
    rows = list(csv.DictReader(io.StringIO(window.get("/data/export").text, newline="")))
    assert [row["email"] for row in rows] == [item["email"] for item in items]
    formula = next(row for row in rows if row["email"] == "formula@example.com")
    assert formula["first_name"] == "'" + ODD_NAMES["formula@example.com"]
    filtered = window.get("/data/export?format=ndjson&search=user1@").text.splitlines()
    assert [json.loads(line)["email"] for line in filtered] == ["user1@example.com"]


@pytest.mark.parametrize(("email", "name"), ODD_NAMES.items(), ids=list(ODD_NAMES))
def test_an_odd_name_is_only_a_name(window: Window, email: str, name: str) -> None:
    """In JSON as it is, on pages escaped; it can be searched for."""
    person = window.get(f"/people/{email}").json
    assert person["customer"]["first_name"] == name
    assert [one["run"] for one in person["deliveries"]] == ["delivery-2"]
    (found,) = window.get(f"/data?search={email}").json["items"]
    assert found["first_name"] == name
    for path in (f"/page/people/{email}", "/page/runs/delivery-2"):
        page = window.get(path).text
        assert html.escape(name, quote=False).split("'")[0].split('"')[0] in page
        assert "<script>alert" not in page


def test_a_persons_story_names_source_list_and_outcomes(window: Window) -> None:
    """In the order in which things happened."""
    person = window.get("/people/user8@example.com").json

    assert [section["title"] for section in person["story"]] == [
        "Source",
        "Customer",
        "Views",
        "In the list",
        "Deliveries",
    ]
    assert person["sources"][0]["source"] == "crm"
    assert person["in_list"] == {"is_listed": False, "reason": "no view of pricing or settings"}
    outcomes = [one["outcome"] for one in person["deliveries"]]
    assert outcomes == ["successful", "partial", "successful"]
    assert person["deliveries"][1]["calls"]["users_update"]["error"] == "timeout"


def test_two_runs_are_compared(window: Window) -> None:
    """Counts, and who is in only one of them."""
    found = window.get("/compare-runs?run1=delivery-1&run2=delivery-2").json

    assert found["changes"]["users"] == 1
    assert found["only_in_run1"]["total"] == 5
    assert [one["customer_id"] for one in found["only_in_run1"]["items"]] == [1, 2, 3, 4, 5]
    emails = [one["email"] for one in found["only_in_run2"]["items"]]
    assert emails == list(ODD_NAMES)


@pytest.mark.parametrize("path", [*REQUESTS, *PAGES[:-1]])
def test_masked_there_is_no_name_and_no_email(window: Window, path: str) -> None:
    """On any path but /docs, whose examples are made up."""
    text = window.get(f"{path}{'&' if '?' in path else '?'}masked=1").text
    personal = {"Lovelace", "Delgado", *ODD_NAMES.values()}

    assert [name for name in personal if name in text or html.escape(name) in text] == []
    assert EMAIL.findall(re.sub(r"/page/people/\S+", "", text)) == []


def test_a_request_id_is_kept_if_it_is_harmless(window: Window) -> None:
    """Otherwise there is a new one."""
    assert window.get("/live", X_Request_ID="abc-1.2_3").json["request_id"] == "abc-1.2_3"
    for odd in ("a b", "x" * 65, "<b>"):
        assert window.get("/live", X_Request_ID=odd).headers["x-request-id"] != odd


def test_the_log_has_no_query_and_no_email(window: Window) -> None:
    """Paths by the name of their endpoint."""
    window.get("/data?search=secret-search@example.com")
    window.get("/people/secret-person@example.com")
    window.get("/secret-path@example.com")

    assert "secret-" not in window.log
    assert "GET /people/{email:path} 404" in window.log
    assert "GET (no such path) 404" in window.log


def test_metrics_are_those_of_the_runs(window: Window) -> None:
    """And the requests of this process."""
    lines = window.get("/metrics").text.splitlines()

    assert f'etl_records_total{{source="crm",outcome="inserted"}} {CUSTOMERS + 6}' in lines
    assert 'etl_runs_total{source="web",status="failed"} 1' in lines
    assert 'delivery_users_total{outcome="partial"} 2' in lines
    assert "delivery_pending_users 20" in lines
    assert 'integration_up{part="database"} 1' in lines
    names = {line.split()[2] for line in lines if line.startswith("# TYPE")}
    assert {"etl_checkpoint_lag_seconds", "http_request_duration_seconds"} <= names
    samples = [line for line in lines if not line.startswith("#")]
    assert all(re.fullmatch(r'\w+(\{(\w+="[^"]*",?)+\})? [\d.e+-]+', line) for line in samples)


def test_fifty_clients_are_answered_at_once(window: Window) -> None:
    """They wait for a connection instead of failing."""
    paths = ["/data?page_size=10", "/people/user1@example.com", "/runs", "/", "/stats"] * 10
    with ThreadPoolExecutor(50) as clients:
        statuses = list(clients.map(lambda path: window.get(path).status, paths))
    assert statuses == [200] * 50


def test_the_examples_of_the_docs_work(window: Window) -> None:
    """Each is copied from the page into a shell."""
    page = window.get("/docs").text
    commands = [html.unescape(one) for one in re.findall(r"<code>(curl .*?)</code>", page)]

    assert len(commands) == len(PATHS)
    for command in commands:
        done = subprocess.run(
            ["bash", "-c", f"{command} -o /dev/null -w '%{{http_code}}'"],
            capture_output=True,
            text=True,
            check=False,
        )
        expected = "503" if "/health" in command else "200"
        assert (done.returncode, done.stdout, done.stderr) == (0, expected, ""), command


def test_the_commands_of_the_docs_work(window: Window) -> None:
    """As they are written, but for the port; the answers have the fields that are documented."""
    text = (ROOT / "docs" / "window.md").read_text(encoding="utf-8")
    commands = re.findall(r"^curl .*$", text, flags=re.MULTILINE)
    models = {re.sub(r"\{[^}]*\}", "[^/]+", path): model for path, _, model in PATHS}
    shown = set()

    for command in commands:
        here = command.replace("//127.0.0.1:8000/", f"{window.url.removeprefix('http:')}/")
        assert here != command
        done = subprocess.run(["bash", "-c", here], capture_output=True, check=False)
        assert (done.returncode, done.stderr) == (0, b""), command
        path = re.search(r"8000(/[^?']*)", command)
        assert path is not None
        (known,) = [one for one in models if re.fullmatch(one, path[1])]
        shown.add(known)
        if model := models[known]:
            answer = json.loads(done.stdout)
            assert set(model.model_fields) <= set(answer), command
    assert shown == set(models)


def test_the_openapi_document_has_every_path_with_an_example(window: Window) -> None:
    """And the errors."""
    document: dict[str, Any] = window.get("/openapi.json").json

    assert set(document["paths"]) == {path.replace(":path", "") for path, _, _ in PATHS}
    for path, methods in document["paths"].items():
        responses = methods["get"]["responses"]
        assert ("422" in responses) is (path != "/live")
        reference = responses["200"]["content"].get("application/json", {}).get("schema")
        if reference:
            name = reference["$ref"].rpartition("/")[2]
            assert document["components"]["schemas"][name]["examples"], path


def test_the_search_leads_to_a_person(window: Window) -> None:
    """At once if there is only one, or to those whose email or name begins so."""
    one = window.get("/find?email=user12@")
    assert (one.status, one.headers["location"]) == (303, "/page/people/user12@example.com")
    exact = window.get("/find?email=user1@example.com")
    assert exact.headers["location"] == "/page/people/user1@example.com"
    several = window.get("/find?email=user1")
    assert several.text.count('href="/page/people/user1') == 11
    assert "There is no customer" in window.get("/find?email=zzz").text
