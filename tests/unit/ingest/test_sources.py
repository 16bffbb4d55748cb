"""What sources.toml may say, and the message for what it may not."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args
from zoneinfo import ZoneInfoNotFoundError

import pytest
from pydantic import ValidationError

from integration.config.converting import ConfigurationError
from integration.ingest.source_file import find_sources_file, load_sources, parse_sources
from integration.ingest.source_rules import keys_of
from integration.ingest.sources import (
    KINDS,
    Auth,
    Cursor,
    CursorPagination,
    HttpSource,
    JsonlSource,
    NoPagination,
    PageSize,
)

ROOT = Path(__file__).resolve().parents[3]
EXAMPLE = ROOT / "sources.example.toml"
HTTP: dict[str, object] = {
    "entity": "customers",
    "kind": "http",
    "url": "https://crm.example.com/api",
}
CSV: dict[str, object] = {"entity": "page_views", "kind": "csv", "path": "views.csv"}
JSONL: dict[str, object] = {
    "entity": "page_views",
    "kind": "jsonl",
    "path": ["a.jsonl", "b.jsonl.gz"],
}


def mistakes(**tables: dict[str, object]) -> list[tuple[str, str]]:
    """Key and text of each mistake."""
    return [(".".join(path), text) for path, text in parse_sources(tables)[1]]


def loaded(folder: Path, text: str, **variables: str) -> str:
    """The message for a file with this text, without the file's name."""
    file = folder / "sources.toml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigurationError) as caught:
        load_sources(file, variables, folder)
    message = str(caught.value)
    assert "\n" not in message
    return message.replace(str(file), "sources.toml")


class TestExample:
    """`sources.example.toml` is complete."""

    def test_it_loads(self) -> None:
        """With the variables that it names; customers come first, and paths are absolute."""
        sources = load_sources(EXAMPLE, {"CRM_TOKEN": "secret-of-crm"}, Path("/srv"))

        crm, web, app = sources.sources
        assert [source.name for source in sources.sources] == ["crm", "web", "app"]
        assert isinstance(crm, HttpSource)
        assert crm.auth == Auth(header="Authorization", prefix="Bearer ", variable="CRM_TOKEN")
        assert crm.pagination == CursorPagination(
            kind="cursor", parameter="cursor", next="paging.next"
        )
        assert crm.page_size == PageSize(parameter="limit", value=1000)
        assert crm.cursor == Cursor(field="updated_at", parameter="updated_since")
        assert crm.paths["email"] == "contact.email"
        assert web.paths["email"] == "email"
        assert web.paths["event_time"] == "viewed_at"
        assert isinstance(app, JsonlSource)
        assert app.path == ("/srv/exports/app_*.jsonl", "/srv/exports/app_*.jsonl.gz")

    def test_it_has_every_key(self) -> None:
        """Each key of each kind is in it."""
        text = EXAMPLE.read_text(encoding="utf-8")
        keys = {key for kind in KINDS.values() for key in keys_of(kind)}
        start = r"^(\[sources\.\w+\.)?"
        assert [key for key in keys if not re.search(rf"{start}{key}\b", text, re.MULTILINE)] == []

    def test_each_kind_of_pagination_of_its_comments_is_valid(self) -> None:
        """They can be copied."""
        text = EXAMPLE.read_text(encoding="utf-8")
        kinds = re.findall(r"^#   (\{ kind = .*? \})", text, re.MULTILINE)
        assert len(kinds) == 6
        for kind in kinds:
            table = dict(re.findall(r'(\w+) = ("[^"]*"|\d)', kind))
            values = {key: int(v) if v.isdecimal() else v.strip('"') for key, v in table.items()}
            assert mistakes(crm={**HTTP, "pagination": values}) == []

    def test_what_it_shows_as_optional_are_the_defaults(self) -> None:
        """A key that is left out means what the example says, if it does not name anything."""
        crm = load_sources(EXAMPLE, {"CRM_TOKEN": "x"}, Path()).sources[0]
        bare = HttpSource.model_validate({"name": "bare", **HTTP})
        named = {"name", "url", "auth", "records", "pagination", "page_size", "cursor"}
        named |= {"key", "owns_ids", "fields"}
        for field in set(HttpSource.model_fields) - named:
            assert getattr(bare, field) == getattr(crm, field), field
        assert bare.pagination == NoPagination()


class TestKeys:
    """Types, bounds and enumerations."""

    @pytest.mark.parametrize(
        ("table", "key", "value"),
        [
            (HTTP, "url", "http://127.0.0.1:8000/customers?active=1"),
            (HTTP, "url", "http://localhost/customers"),
            (HTTP, "records", ""),
            (HTTP, "records", "data.items"),
            (HTTP, "requests_per_second", 0.1),
            (HTTP, "requests_per_second", 1000),
            (HTTP, "max_rejected_percent", 0),
            (HTTP, "max_rejected_percent", 100),
            (HTTP, "expected_every_hours", 0.5),
            (HTTP, "schema", "freeze"),
            (HTTP, "timezone", "Europe/Berlin"),
            (HTTP, "page_size", {"parameter": "limit", "value": 1}),
            (HTTP, "auth", {"variable": "TOKEN"}),
            (HTTP, "auth", {"header": "X-Api-Key", "prefix": "", "variable": "TOKEN_2"}),
            (HTTP, "auth", {"prefix": "Token token=", "variable": "TOKEN"}),
            (HTTP, "fields", {"email": "contact.email"}),
            (CSV, "path", "https://example.com/views.csv.gz"),
            (CSV, "path", ["a.csv", "b/*.csv.gz"]),
            (CSV, "delimiter", "\t"),
            (CSV, "encoding", "cp1252"),
            (CSV, "quote", ""),
            (CSV, "customer", "email"),
            (CSV, "fields", {"user_id": "uid", "page": "path"}),
            (JSONL, "fields", {"page": "context.page"}),
        ],
    )
    def test_a_possible_value_is_accepted(
        self, table: dict[str, object], key: str, value: object
    ) -> None:
        """At its bounds, too."""
        assert mistakes(one={**table, key: value}) == []

    @pytest.mark.parametrize(
        ("table", "key", "value", "text"),
        [
            (HTTP, "entity", "orders", "must be 'customers' or 'page_views'"),
            (HTTP, "entity", 1, "must be 'customers' or 'page_views'"),
            (HTTP, "kind", "xml", 'must be "http" or "csv" or "jsonl"'),
            (HTTP, "kind", ["http"], 'must be "http" or "csv" or "jsonl"'),
            (HTTP, "url", "ftp://example.com", "must be an address such as https://"),
            (HTTP, "url", "crm.example.com/api", "must be an address such as https://"),
            (HTTP, "url", "https://example.com:99999/", "must be an address such as https://"),
            (HTTP, "url", "https://[::1", "must be an address such as https://"),
            (HTTP, "url", "http://crm.example.com", "must be https; plain http is accepted for lo"),
            (HTTP, "url", "https://example.com/a b", "must be printable ASCII without spaces"),
            (HTTP, "url", "https://example.com/#top", "must be printable ASCII without spaces"),
            (HTTP, "url", 7, "must be a valid string"),
            (HTTP, "records", "data..items", 'must be a path such as "contact.email"'),
            (HTTP, "key", "", 'must be a path such as "contact.email"'),
            (HTTP, "requests_per_second", 0, "must be greater than 0"),
            (HTTP, "requests_per_second", float("nan"), "must be a finite number"),
            (HTTP, "max_rejected_percent", 101, "must be less than or equal to 100"),
            (HTTP, "max_rejected_percent", -1, "must be greater than or equal to 0"),
            (HTTP, "max_rejected_percent", "10", "must be a valid number"),
            (HTTP, "expected_every_hours", 0, "must be greater than 0"),
            (HTTP, "delete_missing", "yes", "must be a valid boolean"),
            (HTTP, "schema", "strict", "must be 'evolve' or 'freeze'"),
            (
                HTTP,
                "timezone",
                "Berlin",
                'must be a time zone that this system has, such as "Europe/Berlin"',
            ),
            (
                HTTP,
                "timezone",
                "../etc/passwd",
                'must be a time zone that this system has, such as "Europe/Berlin"',
            ),
            (HTTP, "auth", "TOKEN", "must be a table"),
            (HTTP, "pagination", {}, "needs a kind: none, page, offset, cursor, link"),
            (HTTP, "pagination", {"kind": "all"}, "needs a kind: 'none', 'page', 'offset', 'curs"),
            (HTTP, "pagination", "page", "must be a table"),
            (HTTP, "fields", {"email": 1}, "must be a valid string"),
            (CSV, "path", "", "must be a file, a glob or an https address"),
            (CSV, "path", [], "must have at least 1 item"),
            (CSV, "path", "http://example.com/a.csv", "must be https; plain http is accepted for"),
            (CSV, "delimiter", ";;", 'must be one character such as "," or "\\t"'),
            (CSV, "delimiter", "\n", 'must be one character such as "," or "\\t"'),
            (CSV, "quote", "''", 'must be one character, or "" for none'),
            (CSV, "encoding", "utf-16", 'must be an encoding such as "utf-8" or "cp1252"; not UT'),
            (CSV, "encoding", "klingon", 'must be an encoding such as "utf-8" or "cp1252"; not U'),
            (CSV, "encoding", "base64", 'must be an encoding such as "utf-8" or "cp1252"; not UT'),
            (CSV, "customer", "name", "must be 'id', 'key' or 'email'"),
        ],
    )
    def test_an_impossible_value_is_named_with_what_is_expected(
        self, table: dict[str, object], key: str, value: object, text: str
    ) -> None:
        """One mistake, of that key."""
        found = mistakes(one={**table, key: value})
        assert len(found) == 1
        assert found[0][0].startswith(f"one.{key}")
        assert found[0][1].startswith(text)

    @pytest.mark.parametrize(
        ("table", "missing"),
        [
            ({"entity": "customers", "kind": "http"}, "url"),
            ({"entity": "page_views", "kind": "csv"}, "path"),
            ({"entity": "page_views", "kind": "jsonl"}, "path"),
            ({"kind": "csv", "path": "x"}, "entity"),
            ({**HTTP, "auth": {}}, "auth.variable"),
            ({**HTTP, "page_size": {"parameter": "limit"}}, "page_size.value"),
            ({**HTTP, "cursor": {"field": "at"}}, "cursor.parameter"),
            ({**HTTP, "pagination": {"kind": "cursor", "next": "x"}}, "pagination.parameter"),
            ({**HTTP, "pagination": {"kind": "next_url"}}, "pagination.next"),
        ],
    )
    def test_each_kind_needs_its_keys(self, table: dict[str, object], missing: str) -> None:
        """Http an address, files a path."""
        assert mistakes(one=table) == [(f"one.{missing}", "is missing")]

    @pytest.mark.parametrize(
        ("table", "key", "text"),
        [
            ({**HTTP, "curser": {}}, "curser", "is not a key; did you mean cursor?"),
            ({**HTTP, "name": "x"}, "name", "is not a key; expected one of sources.example.toml"),
            ({**HTTP, "path": "x"}, "path", 'is for kind = "csv" or "jsonl" only'),
            ({**CSV, "url": "x"}, "url", 'is for kind = "http" only'),
            ({**JSONL, "quote": '"'}, "quote", 'is for kind = "csv" only'),
            (
                {**HTTP, "auth": {"variable": "A", "heder": "B"}},
                "auth.heder",
                "is not a key; did you mean header?",
            ),
            (
                {**HTTP, "pagination": {"kind": "page", "frist": 1}},
                "pagination.frist",
                "is not a key; did you mean first?",
            ),
            ({**HTTP, "fields": {"emial": "x"}}, "fields.emial", "is not a field; did you mean em"),
            ({**HTTP, "fields": {"id": "x"}}, "fields.id", "is not a field; set key to the path"),
            (
                {**CSV, "fields": {"email": "x"}},
                "fields.email",
                'needs customer = "email"',
            ),
            (
                {**CSV, "fields": {"city": "x"}},
                "fields.city",
                "is not a field; expected user_id, page, device, browser, location, event_time",
            ),
        ],
    )
    def test_an_unknown_key_is_named_with_the_likely_right_one(
        self, table: dict[str, object], key: str, text: str
    ) -> None:
        """Also a key that belongs to another kind of source."""
        ((found, message),) = mistakes(one=table)
        assert found == f"one.{key}"
        assert message.startswith(text)

    @pytest.mark.parametrize("name", ["CRM", "c r m", "ä", "a.b", "", "x" * 65])
    def test_a_name_is_plain(self, name: str) -> None:
        """It is part of file names, tables and messages."""
        ((key, text),) = mistakes(**{name: HTTP})
        assert key == f"{name}.name"
        assert text == "must be a name of lower-case letters, digits, _ and -"


def test_utc_needs_no_time_zones(monkeypatch: pytest.MonkeyPatch) -> None:
    """A small container may have none; other zones are refused there."""

    def missing(name: str) -> None:
        raise ZoneInfoNotFoundError(name)

    monkeypatch.setattr("integration.ingest.sources.ZoneInfo", missing)
    assert mistakes(one={**HTTP, "timezone": "UTC"}) == []
    ((key, text),) = mistakes(one={**HTTP, "timezone": "Europe/Berlin"})
    assert (key, text[:30]) == ("one.timezone", "must be a time zone that this ")


class TestRules:
    """What one key means for another."""

    @pytest.mark.parametrize(
        ("table", "key", "text"),
        [
            ({**HTTP, "customer": "id"}, "customer", 'is for entity = "page_views" only'),
            ({**CSV, "owns_ids": False}, "owns_ids", 'is for entity = "customers" only'),
            ({**HTTP, "owns_ids": True}, "owns_ids", "needs key, the path of the source's own key"),
            ({**CSV, "delete_missing": True}, "delete_missing", "needs key, the path of the sour"),
            ({**HTTP, "sorted": True}, "sorted", "needs cursor, by which the records are sorted"),
            ({**CSV, "customer_source": "crm"}, "customer_source", 'needs customer = "key"'),
            (
                {
                    **HTTP,
                    "page_size": {"parameter": "p", "value": 2},
                    "pagination": {"kind": "page", "parameter": "p"},
                },
                "page_size.parameter",
                "is the same as pagination.parameter",
            ),
        ],
    )
    def test_keys_that_do_not_go_together(
        self, table: dict[str, object], key: str, text: str
    ) -> None:
        """Each is named."""
        ((found, message),) = mistakes(one=table)
        assert (found, message[: len(text)]) == (f"one.{key}", text)

    def test_one_source_owns_ids(self) -> None:
        """Two of them would fight over customer 7."""
        owner = {**HTTP, "key": "id", "owns_ids": True}
        assert mistakes(a=owner, b=HTTP) == []
        assert mistakes(a=owner, b=owner) == [
            ("b.owns_ids", "is set for a already; one source owns ids")
        ]

    def test_a_key_of_a_customer_is_that_of_one_source(self) -> None:
        """The only one that has keys, or the one that is named."""
        keyed: dict[str, object] = {**HTTP, "key": "id"}
        by_key: dict[str, object] = {**CSV, "customer": "key"}
        needed = "needs customer_source, a customers source with key"
        assert mistakes(web=by_key, crm=HTTP) == [("web.customer", needed)]
        assert mistakes(web=by_key, crm=keyed, erp=keyed) == [("web.customer", needed)]
        assert mistakes(web={**by_key, "customer_source": "erp"}, crm=keyed, erp=keyed) == []
        assert mistakes(web={**by_key, "customer_source": "app"}, crm=keyed) == [
            ("web.customer_source", "must be a customers source with key: crm")
        ]
        sources, found = parse_sources({"web": by_key, "crm": keyed})
        assert (found, sources[0].customer_source) == ([], "crm")


class TestSecrets:
    """The file names variables and never holds a secret."""

    @pytest.mark.parametrize(
        "table",
        [
            {**HTTP, "url": "https://user:geheim@example.com/"},
            {**HTTP, "url": "https://user:geheim"},
            {**HTTP, "url": "https://example.com/?api_key=geheim"},
            {**HTTP, "url": "https://example.com/?a=1&Token=geheim"},
            {**CSV, "path": "https://geheim@example.com/x.csv"},
            {**HTTP, "auth": {"variable": "geheim"}},
            {**HTTP, "auth": {"variable": "TOKEN", "value": "geheim"}},
            {**HTTP, "auth": {"variable": "TOKEN", "prefix": "Bearer geheim-0123456789abcdef"}},
            {**HTTP, "auth": {"variable": "TOKEN", "header": "Authorization: geheim"}},
            {**HTTP, "auth": "geheim"},
        ],
    )
    def test_a_secret_in_the_file_is_refused_and_not_shown(self, table: dict[str, object]) -> None:
        """Wherever it is."""
        found = mistakes(one=table)
        assert found
        assert "geheim" not in str(found)

    def test_all_missing_variables_are_named_in_one_line(self, tmp_path: Path) -> None:
        """They need not be set one run at a time."""
        sources = "".join(
            f'[sources.s{number}]\nentity = "customers"\nkind = "http"\nurl = "https://x.example"\n'
            f'auth = {{ variable = "{variable}" }}\n'
            for number, variable in enumerate(["TOKEN_B", "TOKEN_A", "SET", "TOKEN_B"])
        )
        assert loaded(tmp_path, sources, SET="x") == (
            "Missing required environment variables: TOKEN_B, TOKEN_A"
        )

    def test_without_reading_secrets_may_be_missing(self) -> None:
        """Those that are set are known, so that no log shows them."""
        for variables in ({}, {"CRM_TOKEN": "geheim\n"}):
            sources = load_sources(EXAMPLE, variables, Path(), needs_secrets=False)
            assert sources.secrets == variables

    def test_a_secret_that_no_header_can_contain_is_not_shown(self, tmp_path: Path) -> None:
        """The message names the variable."""
        text = (
            '[sources.crm]\nentity = "customers"\nkind = "http"\nurl = "https://x.example"\n'
            'auth = { variable = "TOKEN" }\n'
        )
        message = loaded(tmp_path, text, TOKEN="geheim\n")
        assert message.startswith("TOKEN is a value that is not shown, expected printable ASCII")

    def test_no_repr_shows_a_secret(self) -> None:
        """Sources may appear in a log or a traceback; other variables are not kept."""
        sources = load_sources(EXAMPLE, {"CRM_TOKEN": "geheim", "OTHER": "geheim-2"}, Path())
        assert sources.secrets == {"CRM_TOKEN": "geheim"}
        assert "geheim" not in f"{sources!r} {sources}"

    def test_a_source_cannot_be_changed(self) -> None:
        """It is read once."""
        source = HttpSource.model_validate({"name": "crm", **HTTP})
        with pytest.raises(ValidationError):
            setattr(source, "url", "https://other.example.com")  # noqa: B010  mypy knows it


class TestFile:
    """Which file is read, and how its mistakes are reported."""

    def test_all_mistakes_are_in_one_line_each_with_its_line_in_the_file(
        self, tmp_path: Path
    ) -> None:
        """In the order of the file, for all sources together."""
        text = (
            "\n[sources.crm]\n"
            'entity = "customer"\n'
            'kind = "http"\n'
            'pagintion = { kind = "none" }\n'
            "page_size.parameter = 1\n"
            "owns_ids = true\n"
            "[sources.crm.fields]\n"
            'emial = "x"\n'
            "[sources.web]\n"
            'kind = "cvs"\n'
            'path = "views.csv"\n'
            'schema = "frozen"\n'
        )
        assert loaded(tmp_path, text) == (
            "sources.toml: line 2: crm.url is missing;"
            " line 3: crm.entity must be 'customers' or 'page_views';"
            " line 5: crm.pagintion is not a key; did you mean pagination?;"
            " line 6: crm.page_size.parameter must be a valid string;"
            " line 6: crm.page_size.value is missing;"
            " line 7: crm.owns_ids needs key, the path of the source's own key;"
            " line 10: web.entity is missing;"
            ' line 11: web.kind must be "http" or "csv" or "jsonl";'
            " line 13: web.schema must be 'evolve' or 'freeze'"
        )

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("", "sources.toml has no source: add a table such as [sources.crm]"),
            ("[sources]\n", "sources.toml has no source: add a table such as [sources.crm]"),
            ("[source.crm]\n", "sources.toml: line 1: source is not known here; a source is a ta"),
            ("\nsources = 1\n", "sources.toml: line 2: sources is not known here; a source is a"),
            ("[sources]\ncrm = 1\n", "sources.toml: line 2: crm is not known here; a source is"),
            ("[sources.crm\n", "sources.toml is not valid TOML: Expected ']' at the end of a tab"),
        ],
    )
    def test_a_file_without_sources_is_refused(
        self, tmp_path: Path, text: str, message: str
    ) -> None:
        """And what looks like one is named."""
        assert loaded(tmp_path, text).startswith(message)

    def test_a_file_that_is_not_text_is_refused_in_one_line(self, tmp_path: Path) -> None:
        """TOML is UTF-8; editors on Windows may add a byte order mark."""
        file = tmp_path / "sources.toml"
        file.write_bytes(b"\xff\xfe")
        with pytest.raises(ConfigurationError, match=r"^Cannot read .*sources\.toml: 'utf-8'"):
            load_sources(file, {}, tmp_path)
        file.write_bytes(b"\xef\xbb\xbf" + EXAMPLE.read_bytes())
        assert load_sources(file, {"CRM_TOKEN": "x"}, tmp_path).sources

    def test_the_working_directory_comes_before_the_programs(self, tmp_path: Path) -> None:
        """And a named file before both."""
        working, program = tmp_path / "working", tmp_path / "program"
        for folder in (working, program):
            folder.mkdir()
            (folder / "sources.toml").touch()
        named = tmp_path / "other.toml"
        named.touch()
        assert find_sources_file(named, working, program) == named
        assert find_sources_file(None, working, program) == working / "sources.toml"
        (working / "sources.toml").unlink()
        assert find_sources_file(None, working, program) == program / "sources.toml"
        (program / "sources.toml").unlink()
        assert find_sources_file(None, working, program) is None

    def test_a_folder_that_cannot_be_searched_is_refused_in_one_line(self, tmp_path: Path) -> None:
        """Another place can be named."""
        folder = tmp_path / ("x" * 300)
        with pytest.raises(ConfigurationError, match=r"; name the file with --sources$"):
            find_sources_file(None, folder, tmp_path)

    def test_a_named_file_that_is_missing_is_refused(self, tmp_path: Path) -> None:
        """A mistyped `--sources` must not lead to other sources."""
        with pytest.raises(ConfigurationError, match=r"^No such file: .*x\.toml \(named by --sour"):
            find_sources_file(tmp_path / "x.toml", tmp_path, tmp_path)


class TestNames:
    """The sources that the command line asks for."""

    def test_they_keep_their_order(self) -> None:
        """Customers before page views, however they are asked for."""
        sources = load_sources(EXAMPLE, {"CRM_TOKEN": "x"}, Path())
        assert [source.name for source in sources.named(["web", "crm"])] == ["crm", "web"]
        assert sources.named([]) == sources.sources

    def test_an_unknown_name_is_refused_with_the_known_ones(self) -> None:
        """All unknown ones in one line."""
        sources = load_sources(EXAMPLE, {"CRM_TOKEN": "x"}, Path())
        with pytest.raises(ConfigurationError) as caught:
            sources.named(["crn", "web", "ap"])
        assert str(caught.value) == "No such source: ap, crn; there is crm, web, app"


class TestShortForm:
    """Without a file, two variables are two sources."""

    def test_a_host_is_a_source_of_customers_and_a_csv_one_of_page_views(self) -> None:
        """The API's ids are the customers', which the views name."""
        variables = {
            "API_HOST": "https://api.example.com/users",
            "API_KEY": "geheim",
            "CSV_URL": "https://example.com/views.csv",
        }
        sources = load_sources(None, variables, Path("/srv"))

        api, csv = sources.sources
        assert isinstance(api, HttpSource)
        assert (api.name, api.entity, api.url) == ("api", "customers", variables["API_HOST"])
        assert (api.key, api.owns_ids) == ("id", True)
        assert api.auth == Auth(prefix="Bearer ", variable="API_KEY")
        assert sources.secrets == {"API_KEY": "geheim"}
        assert (csv.name, csv.entity, csv.kind, csv.customer) == ("csv", "page_views", "csv", "id")
        assert csv.path == ("https://example.com/views.csv",)  # type: ignore[union-attr]

    def test_either_is_enough(self) -> None:
        """A host may need no key, and a CSV may be a file."""
        (api,) = load_sources(None, {"API_HOST": "http://127.0.0.1:8000"}, Path()).sources
        assert isinstance(api, HttpSource)
        assert api.auth is None
        (csv,) = load_sources(None, {"CSV_URL": "x.csv"}, Path("/srv")).sources
        assert csv.path == ("/srv/x.csv",)  # type: ignore[union-attr]

    def test_neither_says_what_to_do(self) -> None:
        """With a file or without."""
        with pytest.raises(ConfigurationError) as caught:
            load_sources(None, {"API_KEY": "x"}, Path())
        assert str(caught.value) == (
            "No sources: create sources.toml (see sources.example.toml), or set API_HOST or CSV_URL"
        )

    def test_a_mistake_names_the_variable(self) -> None:
        """There is no line to name."""
        variables = {"API_HOST": "http://jsonplaceholder.typicode.com", "CSV_URL": "ftp://x/y"}
        with pytest.raises(ConfigurationError) as caught:
            load_sources(None, variables, Path())
        assert str(caught.value) == (
            "API_HOST must be https; plain http is accepted for loopback only;"
            " CSV_URL must be an address such as https://crm.example.com/api/customers"
        )


def test_every_kind_is_in_the_union() -> None:
    """A new kind is added to both."""
    from integration.ingest.sources import Source  # noqa: PLC0415

    assert set(get_args(Source)) == set(KINDS.values())
