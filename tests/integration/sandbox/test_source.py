"""The mock source over real HTTP: pages, files, changes, credentials and faults."""

from __future__ import annotations

import csv
import gzip
import io
import json
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import requests

from sandbox.source import SourceOptions, SourceProcess

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[3]
FAULTS_WITHOUT_ANSWER = ["reset_before", "reset_middle", "truncated", "malformed"]


@pytest.fixture(scope="module", name="running")
def running_fixture() -> Iterator[SourceProcess]:
    """One server for all tests of the module."""
    with SourceProcess() as process:
        yield process


@pytest.fixture
def source(running: SourceProcess) -> SourceProcess:
    """A source with ten customers and twenty page views."""
    running.configure(**asdict(SourceOptions(customers=10, page_views=20, page_size=4)))
    running.reset()
    return running


def get(source: SourceProcess, path: str, **options: Any) -> requests.Response:
    """GET a path or a whole address."""
    url = path if "://" in path else f"{source.url}{path}"
    return requests.get(url, timeout=30, allow_redirects=False, **options)


def walk(source: SourceProcess, style: str, entity: str = "customers") -> list[dict[str, Any]]:
    """All records, as a client of this style reads them."""
    found: list[dict[str, Any]] = []
    url: str | None = f"/{style}/{entity}"
    number = 1
    while url:
        response = get(source, url)
        body = response.json()
        page = body if style == "link" else body["data"]
        found += page
        number += 1
        following = {
            "none": None,
            "page": f"/page/{entity}?page={number}" if page else None,
            "offset": f"/offset/{entity}?offset={len(found)}" if page else None,
            "link": response.links.get("next", {}).get("url"),
        }
        if style == "cursor":
            token = body["paging"]["next"]
            url = f"/cursor/{entity}?cursor={token}" if token else None
        else:
            url = body["next"] if style == "next_url" else following[style]
    return found


@pytest.mark.parametrize("style", ["none", "page", "offset", "cursor", "link", "next_url"])
@pytest.mark.parametrize("entity", ["customers", "page_views"])
def test_every_style_has_the_same_records(source: SourceProcess, style: str, entity: str) -> None:
    """Each once, in the order of change."""
    found = walk(source, style, entity)
    assert found == get(source, f"/none/{entity}").json()["data"]
    assert len({record["id"] for record in found}) == (10 if entity == "customers" else 20)
    assert found == sorted(found, key=lambda record: record["updated_at"])


def test_a_record_has_nested_fields(source: SourceProcess) -> None:
    """The same ones at each start."""
    assert get(source, "/none/customers").json()["data"][0] == {
        "id": 1,
        "contact": {"email": "user1@example.com"},
        "name": {"first": "Ada", "last": "Lovelace"},
        "plan_type": "free",
        "candidate": "no",
        "updated_at": "2026-01-30T23:59:51Z",
    }


def test_updated_since_is_inclusive(source: SourceProcess) -> None:
    """A record of that second is among the answer."""
    answer = get(source, "/none/customers?updated_since=2026-01-30T23:59:58Z").json()
    assert [record["id"] for record in answer["data"]] == [8, 9, 10]


def test_touched_records_come_last(source: SourceProcess) -> None:
    """With another content and time."""
    assert source.touch("customers", 2, "2026-02-01T00:00:00Z") == [1, 2]
    answer = get(source, "/none/customers?updated_since=2026-01-31T00:00:01Z").json()
    assert [(r["id"], r["name"]["last"]) for r in answer["data"]] == [
        (1, "Lovelace 1"),
        (2, "Hopper 1"),
    ]


def test_a_page_is_the_same_when_it_is_asked_for_again(source: SourceProcess) -> None:
    """Until the data changes, also by faults: none of those pages is kept."""
    path = "/cursor/customers?limit=2"
    first = get(source, path).content
    source.faults({"kind": "shrink"}, {"kind": "endless"})
    assert len({get(source, path).content for _ in range(2)} | {first}) == 3
    assert get(source, path).content == first
    assert get(source, "/cursor/customers?limit=3").content != first
    source.touch("customers", 1)
    assert [one["id"] for one in get(source, path).json()["data"]] == [2, 3]


def test_it_says_when_it_has_answered(source: SourceProcess) -> None:
    """The latency is between the two times."""
    source.configure(latency=0.2)
    get(source, "/cursor/customers")
    (request,) = source.requests()
    assert request["answered_unix_time"] - request["unix_time"] + 0.005 >= 0.2


def test_the_page_size_has_a_maximum(source: SourceProcess) -> None:
    """Whatever the request says."""
    source.configure(max_page_size=3)
    assert len(get(source, "/page/customers?limit=9").json()["data"]) == 3


@pytest.mark.parametrize(
    "headers", [{"Authorization": "Bearer hidden-1"}, {"X-Api-Key": "hidden-1"}]
)
def test_a_token_can_be_demanded(source: SourceProcess, headers: dict[str, str]) -> None:
    """In either header; without it the answer is 401."""
    source.configure(token="hidden-1")
    assert get(source, "/none/customers", headers=headers).status_code == 200
    assert get(source, "/none/customers").status_code == 401
    assert [request["has_credentials"] for request in source.requests()] == [True, False]


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_files_have_the_same_records(source: SourceProcess, suffix: str) -> None:
    """As CSV with names of columns, and as JSON Lines."""
    expected = get(source, "/none/customers").json()["data"]
    table = get(source, f"/files/customers.csv{suffix}").content
    lines = get(source, f"/files/customers.jsonl{suffix}").content
    if suffix:
        table, lines = gzip.decompress(table), gzip.decompress(lines)
    rows = list(csv.DictReader(io.StringIO(table.decode(), newline="")))
    assert [row["email"] for row in rows] == [r["contact"]["email"] for r in expected]
    assert [json.loads(line) for line in lines.splitlines()] == expected


def test_a_range_of_a_file(source: SourceProcess) -> None:
    """With the total in Content-Range, and a validator that changes with the file."""
    whole = get(source, "/files/customers.csv")
    part = get(source, "/files/customers.csv", headers={"Range": "bytes=3-10"})
    assert (part.status_code, part.content) == (206, whole.content[3:11])
    assert part.headers["Content-Range"] == f"bytes 3-10/{len(whole.content)}"
    assert part.headers["ETag"] == whole.headers["ETag"]
    outside = get(source, "/files/customers.csv", headers={"Range": "bytes=99999-"})
    assert outside.status_code == 416
    source.touch("customers", 1)
    assert get(source, "/files/customers.csv").headers["ETag"] != whole.headers["ETag"]
    source.configure(no_ranges=True)
    assert get(source, "/files/customers.csv", headers={"Range": "bytes=3-10"}).status_code == 200


def test_bad_records_are_bad_in_every_way(source: SourceProcess) -> None:
    """About as many as the option says; files have lines that cannot be decoded, too."""
    source.configure(customers=2000, bad=0.1)
    found = get(source, "/none/customers").json()["data"]
    good = [
        record
        for record in found
        if isinstance(record, dict)
        and record.get("contact", {}).get("email") == f"user{record['id']}@example.com"
        and record["plan_type"] != "platinum"
        and len(record["name"]["first"]) < 100
    ]
    assert 100 <= len(found) - len(good) <= 300
    kinds = {type(record).__name__ for record in found}
    assert kinds == {"dict", "str", "NoneType", "list"}
    with pytest.raises(UnicodeDecodeError):
        get(source, "/files/customers.csv").content.decode()


@pytest.mark.parametrize("kind", FAULTS_WITHOUT_ANSWER)
def test_an_answer_can_be_missing(source: SourceProcess, kind: str) -> None:
    """The next request is answered."""
    source.faults({"kind": kind})
    with pytest.raises((requests.ConnectionError, requests.exceptions.ChunkedEncodingError)):
        get(source, "/cursor/customers")
    assert get(source, "/cursor/customers").status_code == 200
    assert source.stats()["faults"] == {kind: 1}


def test_records_of_a_file_can_change_before_it_is_sent(source: SourceProcess) -> None:
    """The file that follows has them at its end."""
    source.faults({"kind": "change", "count": 3})
    assert get(source, "/files/customers.csv").text.splitlines()[-1].startswith("3,")


def test_faults_still_to_come_can_be_cleared(source: SourceProcess) -> None:
    """The changes stay."""
    source.touch("customers", 1)
    source.faults({"kind": "status", "times": 100})
    source.clear_faults()
    assert get(source, "/none/customers").json()["data"][-1]["id"] == 1
    assert source.stats()["faults_pending"] == 0


def test_faults_have_a_path_a_start_and_a_number(source: SourceProcess) -> None:
    """Other requests are answered."""
    source.faults({"kind": "status", "status": 503, "path": "/page", "skip": 1, "times": 2})
    assert get(source, "/cursor/customers").status_code == 200
    statuses = [get(source, "/page/customers").status_code for _ in range(4)]
    assert statuses == [200, 503, 503, 200]


def test_other_answers(source: SourceProcess) -> None:
    """Status and headers, garbage, HTML, a redirect, and the credentials."""
    source.faults(
        {"kind": "status", "status": 429, "headers": {"Retry-After": "7"}},
        {"kind": "garbage"},
        {"kind": "html"},
        {"kind": "redirect", "location": "http://other.example{path}"},
        {"kind": "echo_secrets"},
        {"kind": "too_large", "count": 3},
    )
    limited, garbage, html, redirect, echo, large = (
        get(source, "/none/customers?limit=1", headers={"X-Api-Key": "hidden-1"}) for _ in range(6)
    )
    assert (limited.status_code, limited.headers["Retry-After"]) == (429, "7")
    with pytest.raises(requests.JSONDecodeError):
        garbage.json()
    assert (html.status_code, html.headers["Content-Type"]) == (200, "text/html")
    assert redirect.headers["Location"] == "http://other.example/none/customers?limit=1"
    assert "hidden-1" in echo.text
    assert large.content == b" " * 3_000_000


def test_slow_answers(source: SourceProcess) -> None:
    """Late, drop by drop, or never."""
    source.faults({"kind": "slow", "delay_seconds": 0.3}, {"kind": "drip", "delay_seconds": 0.003})
    started = time.monotonic()
    assert get(source, "/cursor/customers").status_code == 200
    assert time.monotonic() - started >= 0.3
    assert len(get(source, "/cursor/customers").json()["data"]) == 4
    source.faults({"kind": "hang"})
    with pytest.raises(requests.ReadTimeout):
        requests.get(f"{source.url}/cursor/customers", timeout=0.2)


def test_pages_that_do_not_follow_one_another(source: SourceProcess) -> None:
    """The first page again, the same token again, fewer records, and changes in between."""
    first = get(source, "/cursor/customers").json()
    token = first["paging"]["next"]
    source.faults({"kind": "endless"}, {"kind": "repeat_token"}, {"kind": "shrink"})
    endless = get(source, f"/cursor/customers?cursor={token}").json()
    assert endless["data"] == first["data"]
    assert endless["paging"]["next"] not in {token, None}
    assert get(source, f"/cursor/customers?cursor={token}").json()["paging"]["next"] == token
    assert len(get(source, f"/cursor/customers?cursor={token}").json()["data"]) == 2
    source.faults({"kind": "change", "count": 3})
    assert get(source, "/cursor/customers").json()["data"][0]["id"] == 4


@pytest.mark.parametrize(
    "path",
    ["/page/customers?page=x", "/cursor/customers?cursor=x", "/none/customers?updated_since=x"],
)
def test_a_parameter_that_makes_no_sense_is_refused(source: SourceProcess, path: str) -> None:
    """With the reason."""
    answer = get(source, path)
    assert answer.status_code == 400
    assert answer.json()["error"]


def test_what_does_not_exist_is_404(source: SourceProcess) -> None:
    """Tables, styles and files."""
    paths = ["/none/orders", "/pages/customers", "/files/orders.csv", "/_sandbox/nothing"]
    assert [get(source, path).status_code for path in paths] == [404] * 4


@pytest.mark.parametrize(
    ("path", "content"),
    [
        ("faults", [{"kind": "nothing"}]),
        ("faults", 5),
        ("touch", {"entity": "orders"}),
        ("touch", {"entity": "customers", "at": "2026-01-01"}),
        ("configure", {"nothing": 1}),
        ("configure", {"newest": "2026-01-01"}),
    ],
)
def test_mistakes_at_the_control_paths_are_refused(
    source: SourceProcess, path: str, content: object
) -> None:
    """A typo must not look like a fault that never occurs."""
    answer = requests.post(f"{source.url}/_sandbox/{path}", json=content, timeout=30)
    assert answer.status_code == 400


def test_the_page_and_the_help_name_every_fault(source: SourceProcess) -> None:
    """For a person."""
    command = [sys.executable, "-m", "sandbox.source", "--help"]
    text = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    page = get(source, "/").text
    for name in [*FAULTS_WITHOUT_ANSWER, "repeat_token", "/next_url/ENTITY", "_sandbox/touch"]:
        assert name in text
        assert name in page
