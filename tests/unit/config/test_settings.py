"""Settings: where a value comes from, what is rejected, and with which message."""

from __future__ import annotations

import re
from dataclasses import FrozenInstanceError
from pathlib import Path

import pytest
from dotenv import dotenv_values

from integration.config.converting import ConfigurationError
from integration.config.database_url import DATABASE_URL
from integration.config.ingest_settings import INGEST_VARIABLES
from integration.config.loading import find_env_file, read_variables
from integration.config.notify_settings import NOTIFY_VARIABLES
from integration.config.service_settings import SERVICE_VARIABLES
from integration.config.settings import (
    FIELDS,
    SECRET_VARIABLES,
    VARIABLES,
    load_settings,
    load_status_settings,
)

EXAMPLE = Path(__file__).resolve().parents[3] / ".env.example"
REQUIRED = {
    "DB_HOST": "db.example.com",
    "DB_USER": "reader",
    "DB_PASSWORD": "correct horse",
    "DB_NAME": "iterable_challenge",
    "ITERABLE_API_KEY": "key-of-the-project",
}


def refused(**changes: str) -> str:
    """The message for the required settings with these changes."""
    with pytest.raises(ConfigurationError) as caught:
        load_settings({**REQUIRED, **changes})
    return str(caught.value)


def from_file(path: Path, content: str | bytes) -> dict[str, str]:
    """The variables of a `.env` file with this content, in an empty environment."""
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return read_variables({}, path)


HOSTS = "one or more hosts separated by commas, without a port (DB_PORT applies to all)"


class TestWhereAValueComesFrom:
    """The environment takes precedence, then one file."""

    def test_the_environment_overrides_the_file(self, tmp_path: Path) -> None:
        """A variable of the environment hides the file's; the others come from the file."""
        file = tmp_path / ".env"
        file.write_text("DB_HOST=file\nDB_USER=file\n")
        assert read_variables({"DB_HOST": "environment"}, file) == {
            "DB_HOST": "environment",
            "DB_USER": "file",
        }

    def test_an_empty_variable_of_the_environment_does_not_hide_the_file(
        self, tmp_path: Path
    ) -> None:
        """An empty variable counts as not set, so the file's value is used."""
        file = tmp_path / ".env"
        file.write_text("DB_HOST=file\n")
        assert read_variables({"DB_HOST": ""}, file) == {"DB_HOST": "file"}

    def test_an_empty_password_of_the_environment_hides_the_file(self, tmp_path: Path) -> None:
        """A password may be empty, so an empty one is a value like any other."""
        file = tmp_path / ".env"
        file.write_text("DB_PASSWORD=file\n")
        assert read_variables({"DB_PASSWORD": ""}, file) == {"DB_PASSWORD": ""}

    def test_the_working_directory_takes_precedence_over_the_program_directory(
        self, tmp_path: Path
    ) -> None:
        """The `.env` that is closer to the user takes precedence."""
        working, program = tmp_path / "working", tmp_path / "program"
        for folder in (working, program):
            folder.mkdir()
            (folder / ".env").touch()
        assert find_env_file(None, working, program) == working / ".env"
        (working / ".env").unlink()
        assert find_env_file(None, working, program) == program / ".env"

    def test_a_missing_env_file_is_not_an_error(self, tmp_path: Path) -> None:
        """All settings can come from the environment."""
        assert find_env_file(None, tmp_path, tmp_path) is None
        assert read_variables(REQUIRED, None) == REQUIRED

    def test_a_named_file_takes_precedence_over_both_folders(self, tmp_path: Path) -> None:
        """`--env-file` is the only file read when it is given."""
        (tmp_path / ".env").touch()
        named = tmp_path / "eu.env"
        named.touch()
        assert find_env_file(named, tmp_path, tmp_path) == named

    def test_a_named_file_that_is_missing_is_refused(self, tmp_path: Path) -> None:
        """A mistyped `--env-file` must not lead to another project's settings."""
        with pytest.raises(
            ConfigurationError, match=r"^No such file: .*eu\.env \(named by --env-file\)$"
        ):
            find_env_file(tmp_path / "eu.env", tmp_path, tmp_path)

    def test_other_variables_are_ignored(self) -> None:
        """Only the documented variables are read from an environment full of others."""
        assert read_variables({"HOME": "/root", "DB_NAME": "x"}, None) == {"DB_NAME": "x"}


class TestEnvFile:
    """The syntax of a `.env` file."""

    @pytest.mark.parametrize(
        ("line", "password"),
        [
            ("DB_PASSWORD=a$b", "a$b"),
            ("DB_PASSWORD=${HOME}", "${HOME}"),
            ("DB_PASSWORD=a#b", "a#b"),
            ("DB_PASSWORD='a b #c'", "a b #c"),
            ("DB_PASSWORD=a b", "a b"),
            ('DB_PASSWORD="it\'s"', "it's"),
            ("DB_PASSWORD='say \"so\"'", 'say "so"'),
            ("DB_PASSWORD=' spaces around '", " spaces around "),
            ("DB_PASSWORD=back\\slash", "back\\slash"),
            ("export DB_PASSWORD = x", "x"),
            ("DB_PASSWORD=pässwörd-🔑", "pässwörd-🔑"),
            ("DB_PASSWORD=", ""),
            ("DB_PASSWORD=x\r", "x"),
        ],
    )
    def test_a_password_is_read_as_it_is_written(
        self, tmp_path: Path, line: str, password: str
    ) -> None:
        """No character of a password is interpreted except quotes around it."""
        values = from_file(tmp_path / ".env", f"{line}\nDB_NAME=next\n")
        assert values == {"DB_PASSWORD": password, "DB_NAME": "next"}

    def test_a_byte_order_mark_is_skipped(self, tmp_path: Path) -> None:
        """Windows' editors write one before the first variable."""
        assert from_file(tmp_path / ".env", b"\xef\xbb\xbfDB_NAME=x\n") == {"DB_NAME": "x"}

    def test_a_name_without_a_value_counts_as_not_set(self, tmp_path: Path) -> None:
        """`DB_PASSWORD` without `=` is not an empty password."""
        assert from_file(tmp_path / ".env", "DB_PASSWORD\n") == {}

    def test_a_file_that_is_not_utf_8_is_refused_in_one_line(self, tmp_path: Path) -> None:
        """The message names the file and the problem, not the content."""
        with pytest.raises(ConfigurationError, match=r"^Cannot read .*\.env: 'utf-8' codec") as it:
            from_file(tmp_path / ".env", "DB_PASSWORD=geheimes-ä".encode("latin-1"))
        assert "geheim" not in str(it.value)

    @pytest.mark.skipif(not Path("/proc/self/mem").is_file(), reason="needs Linux's /proc")
    def test_a_file_that_cannot_be_read_is_refused_in_one_line(self) -> None:
        """An error of the file system becomes a line that names the file."""
        with pytest.raises(ConfigurationError, match=r"^Cannot read /proc/self/mem: "):
            read_variables({}, Path("/proc/self/mem"))


class TestWhatIsRequired:
    """All missing settings are named together."""

    def test_all_missing_variables_are_named_in_one_line(self) -> None:
        """The documented line, in the order of `.env.example`."""
        with pytest.raises(ConfigurationError) as caught:
            load_settings({})
        assert str(caught.value) == (
            "Missing required environment variables: "
            "DB_HOST, DB_USER, DB_PASSWORD, DB_NAME, ITERABLE_API_KEY"
        )

    @pytest.mark.parametrize("name", REQUIRED)
    def test_each_required_variable_is_reported_when_missing(self, name: str) -> None:
        """Each of them is required."""
        rest = {key: value for key, value in REQUIRED.items() if key != name}
        with pytest.raises(ConfigurationError) as caught:
            load_settings(rest)
        assert str(caught.value) == f"Missing required environment variables: {name}"

    @pytest.mark.parametrize("word", ["true", "True", "1", "yes", "on", "t", "Y"])
    def test_the_jwt_secret_is_required_with_jwt(self, word: str) -> None:
        """However JWT is turned on, its secret is required."""
        message = "Missing required environment variables: ITERABLE_JWT_SECRET"
        assert refused(USE_JWT_AUTH=word) == message
        settings = load_settings({**REQUIRED, "USE_JWT_AUTH": word, "ITERABLE_JWT_SECRET": "s"})
        assert settings.authentication == "JWT"

    @pytest.mark.parametrize("word", ["false", "0", "no", "OFF"])
    def test_the_jwt_secret_is_not_required_without_jwt(self, word: str) -> None:
        """An API key needs nothing else."""
        assert load_settings({**REQUIRED, "USE_JWT_AUTH": word}).authentication == "API Key"

    def test_sqlite_needs_no_server(self) -> None:
        """With `DB_ENGINE=sqlite` the name of a file is sufficient."""
        values = {"DB_ENGINE": "SQLite", "DB_NAME": "x.db", "ITERABLE_API_KEY": "k"}
        settings = load_settings(values)
        assert (settings.db_engine, settings.db_name, settings.db_host) == ("sqlite", "x.db", ())

    def test_a_password_may_be_empty_but_must_be_there(self) -> None:
        """An empty password is a choice, a missing one an oversight."""
        settings = load_settings(read_variables({**REQUIRED, "DB_PASSWORD": ""}, None))
        assert settings.db_password == ""

    @pytest.mark.parametrize("name", sorted(set(REQUIRED) - {"DB_PASSWORD"}))
    def test_any_other_empty_variable_counts_as_not_set(self, name: str) -> None:
        """An empty value, or one of spaces, counts as missing."""
        values = read_variables({**REQUIRED, name: "  "}, None)
        with pytest.raises(ConfigurationError, match=f"^Missing .*: {name}$"):
            load_settings(values)


class TestValues:
    """How values are typed, and the message for one that cannot be parsed."""

    def test_everything_is_typed(self) -> None:
        """Text becomes numbers, paths, host names; case does not matter in names."""
        settings = load_settings(
            {
                **REQUIRED,
                "DB_HOST": "one, two,,three ",
                "DB_PORT": "3307",
                "DB_SSL_CA": __file__,
                "LOG_LEVEL": "warning",
                "DELIVERY_MODE": "BULK",
                "RATE_LIMIT_SHARE": "1.5",
                "REQUEST_TIMEOUT": "2.5",
                "MAX_ATTEMPTS": "1",
                "OUTPUT_DIR": "out",
            }
        )
        assert settings.db_host == ("one", "two", "three")
        assert (settings.db_port, settings.max_attempts) == (3307, 1)
        assert (settings.db_ssl_ca, settings.output_dir) == (Path(__file__), Path("out"))
        assert (settings.log_level, settings.delivery_mode) == ("WARNING", "bulk")
        assert (settings.rate_limit_share, settings.request_timeout) == (1.5, 2.5)

    @pytest.mark.parametrize(
        ("text", "hosts"),
        [
            ("[::1]", ("::1",)),
            ("::1", ("::1",)),
            ("fe80::1%eth0", ("fe80::1%eth0",)),
            ("[2001:db8::7], db2, 10.0.0.3", ("2001:db8::7", "db2", "10.0.0.3")),
        ],
    )
    def test_a_host_may_be_an_ipv6_address(self, text: str, hosts: tuple[str, ...]) -> None:
        """In brackets, as in a URL, or without."""
        assert load_settings({**REQUIRED, "DB_HOST": text}).db_host == hosts

    @pytest.mark.parametrize("name", ["ITERABLE_JWT_SECRET", "DB_PASSWORD", "OUTPUT_DIR"])
    def test_bytes_that_are_not_text_are_refused_and_not_shown(self, name: str) -> None:
        """Bytes that are not valid UTF-8 would end a run midway."""
        assert refused(**{name: "caf\udce9"}) == f"Not valid UTF-8: {name}"

    @pytest.mark.parametrize(
        ("name", "value", "expected"),
        [
            ("DB_ENGINE", "oracle", "one of mysql, sqlite, postgresql, duckdb, spark"),
            ("DB_HOST", " , ", HOSTS),
            ("DB_HOST", "db.example.com:3307", HOSTS),
            ("DB_HOST", "one,two:3307", HOSTS),
            ("DB_HOST", "[::1]:3307", HOSTS),
            ("DB_HOST", "[one]", HOSTS),
            ("DB_HOST", "::g", HOSTS),
            ("DB_PORT", "0", "a whole number from 1 to 65535"),
            ("DB_PORT", "65536", "a whole number from 1 to 65535"),
            ("DB_PORT", "3306x", "a whole number from 1 to 65535"),
            ("DB_PORT", "3306.0", "a whole number from 1 to 65535"),
            (
                "DB_SSL_CA",
                "/gone/ca.pem",
                "the path of a readable CA certificate file in PEM form",
            ),
            ("USE_JWT_AUTH", "maybe", "true or false"),
            ("LOG_LEVEL", "LOUD", "DEBUG, INFO, WARNING or ERROR"),
            ("DELIVERY_MODE", "batch", "auto, single or bulk"),
            ("MAX_WORKERS", "1025", "auto or a whole number from 1 to 1024"),
            ("MAX_WORKERS", "0", "auto or a whole number from 1 to 1024"),
            ("MAX_WORKERS", "2.5", "auto or a whole number from 1 to 1024"),
            ("RATE_LIMIT_SHARE", "0", "a number above 0, such as 0.9"),
            ("RATE_LIMIT_SHARE", "nan", "a number above 0, such as 0.9"),
            ("RATE_LIMIT_SHARE", "inf", "a number above 0, such as 0.9"),
            ("REQUEST_TIMEOUT", "0", "seconds, above 0 and up to 600"),
            ("REQUEST_TIMEOUT", "nan", "seconds, above 0 and up to 600"),
            ("REQUEST_TIMEOUT", "601", "seconds, above 0 and up to 600"),
            ("MAX_ATTEMPTS", "0", "a whole number from 1 to 20"),
            ("MAX_ATTEMPTS", "21", "a whole number from 1 to 20"),
            ("MAX_ATTEMPTS", "three", "a whole number from 1 to 20"),
        ],
    )
    def test_an_invalid_value_is_named_with_the_expected_one(
        self, name: str, value: str, expected: str
    ) -> None:
        """Variable, value and expectation are in one line."""
        assert refused(**{name: value}) == f"{name} is {value!r}, expected {expected}"

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("DB_PORT", "1"),
            ("DB_PORT", "65535"),
            ("ITERABLE_API_KEY", "!~"),
            ("LOG_LEVEL", "DEBUG"),
            ("LOG_LEVEL", "ERROR"),
            ("DELIVERY_MODE", "single"),
            ("MAX_WORKERS", "1"),
            ("MAX_WORKERS", "1024"),
            ("MAX_WORKERS", "auto"),
            ("RATE_LIMIT_SHARE", "0.001"),
            ("RATE_LIMIT_SHARE", "50"),
            ("REQUEST_TIMEOUT", "0.1"),
            ("REQUEST_TIMEOUT", "600"),
            ("MAX_ATTEMPTS", "20"),
        ],
    )
    def test_a_value_at_its_bounds_is_accepted(self, name: str, value: str) -> None:
        """The bounds named in an error are accepted."""
        given = getattr(load_settings({**REQUIRED, name: value}), name.lower())
        assert given == type(given)(value)

    def test_all_invalid_values_are_named_in_one_line(self) -> None:
        """They need not be fixed one run at a time."""
        message = refused(MAX_WORKERS="many", DB_PORT="none")
        assert re.findall(r"([A-Z_]+) is '(\w+)'", message) == [
            ("DB_PORT", "none"),
            ("MAX_WORKERS", "many"),
        ]
        assert "\n" not in message

    @pytest.mark.parametrize("key", ["two words", "line\nbreak", "schlüssel", "tab\there"])
    def test_a_key_that_no_header_can_contain_is_refused_and_not_shown(self, key: str) -> None:
        """The message names the variable; a secret's value is never shown."""
        message = refused(ITERABLE_API_KEY=key)
        assert message.startswith("ITERABLE_API_KEY is a value that is not shown, expected")
        assert key not in message
        assert repr(key)[1:-1] not in message

    def test_settings_cannot_be_changed(self) -> None:
        """They are read once; nothing changes them during a run."""
        settings = load_settings(REQUIRED)
        with pytest.raises(FrozenInstanceError):
            setattr(settings, "db_port", 1)  # noqa: B010  mypy knows that it is frozen


class TestBaseUrl:
    """Only an origin, and plain http only to this machine."""

    @pytest.mark.parametrize(
        ("given", "used"),
        [
            ("https://api.iterable.com", "https://api.iterable.com"),
            ("https://api.eu.iterable.com/", "https://api.eu.iterable.com"),
            ("https://proxy.example.com:8443", "https://proxy.example.com:8443"),
            ("http://localhost:8080", "http://localhost:8080"),
            ("http://127.0.0.1:8080/", "http://127.0.0.1:8080"),
            ("http://127.9.8.7", "http://127.9.8.7"),
            ("http://[::1]:8080", "http://[::1]:8080"),
        ],
    )
    def test_an_origin_is_accepted(self, given: str, used: str) -> None:
        """TLS anywhere, http to loopback; a trailing slash is removed."""
        settings = load_settings({**REQUIRED, "ITERABLE_API_BASE_URL": given})
        assert settings.iterable_api_base_url == used

    @pytest.mark.parametrize(
        "url",
        [
            "http://api.iterable.com",
            "http://127.0.0.1.example.com",
            "http://localhost.example.com",
            "http://10.0.0.1",
            "http://[::2]",
            "ftp://localhost",
            "api.iterable.com",
            "https://",
            "https://[::1",
            "https://api.iterable.com/api",
            "https://api.iterable.com//",
            "https://api.iterable.com?api_key=x",
            "https://api.iterable.com#top",
            "https://api.iterable.com?",
            "https://api.iterable.com#",
            "https://api.iterable.com:port",
            "https://api.iterable.com:99999",
            "https://api iterable.com",
            "https://api.iter\table.com",
        ],
    )
    def test_what_is_not_an_origin_is_refused(self, url: str) -> None:
        """A path would be sent twice, a query is unused, plain http is not encrypted."""
        message = refused(ITERABLE_API_BASE_URL=url)
        assert message.startswith(f"ITERABLE_API_BASE_URL is {url!r}, expected an https address")

    @pytest.mark.parametrize("login", ["user:geheim", ":geheim", "geheim", ""])
    def test_an_address_with_a_login_is_refused_and_not_shown(self, login: str) -> None:
        """The part before an @ may be a password."""
        message = refused(ITERABLE_API_BASE_URL=f"https://{login}@api.iterable.com")
        assert "a value that is not shown" in message
        assert "geheim" not in message


class TestConnectionLimit:
    """How many connections a run of any size may need."""

    @pytest.mark.parametrize(("given", "limit"), [("auto", 64), ("AUTO", 64), ("7", 7)])
    def test_it_is_the_largest_number_of_workers(self, given: str, limit: int) -> None:
        """It is needed before the number of users is known."""
        assert load_settings({**REQUIRED, "MAX_WORKERS": given}).connection_limit == limit


class TestSecrets:
    """Only the mask knows the secrets."""

    def test_no_repr_shows_a_secret(self) -> None:
        """Settings may appear in a log or a traceback."""
        values = {name: f"geheim-{name}" for name in SECRET_VARIABLES}
        settings = load_settings({**REQUIRED, **values})
        status_settings = load_status_settings(values)
        assert "geheim" not in f"{settings!r} {settings} {status_settings!r}"

    def test_the_mask_knows_all_secrets(self) -> None:
        """Every variable whose name marks it as secret is in `secrets()`."""
        values = {name: f"geheim-{name}" for name in SECRET_VARIABLES}
        assert set(load_settings({**REQUIRED, **values}).secrets()) == set(values.values())

    def test_a_secret_in_the_wrong_variable_is_not_shown(self) -> None:
        """A key pasted into an address is not shown when the address is rejected."""
        key = REQUIRED["ITERABLE_API_KEY"]
        message = refused(ITERABLE_API_BASE_URL=f"https://api.iterable.com?api_key={key}")
        assert message.startswith("ITERABLE_API_BASE_URL is ")
        assert key not in message


class TestEnvExample:
    """`.env.example` and the settings agree."""

    def test_it_lists_exactly_the_settings(self) -> None:
        """Both have the same variables."""
        own = [*VARIABLES, *INGEST_VARIABLES, *SERVICE_VARIABLES, *NOTIFY_VARIABLES]
        variables = [*own, DATABASE_URL]
        assert sorted(dotenv_values(EXAMPLE)) == sorted(variables)

    def test_each_variable_has_a_comment(self) -> None:
        """The line above each variable explains it; a heading does not count."""
        lines = EXAMPLE.read_text(encoding="utf-8").splitlines()
        bare = [
            line.partition("=")[0]
            for above, line in zip(["", *lines], lines, strict=False)
            if re.match(r"[A-Z_]+=", line) and not re.match(r"# (?!---)\S", above)
        ]
        assert bare == []

    def test_it_loads_and_shows_the_defaults(self) -> None:
        """A copy of it is a complete configuration; optional values are the defaults."""
        settings = load_settings(read_variables({}, EXAMPLE))
        optional = set(VARIABLES) - set(REQUIRED)
        assert {name: getattr(settings, name.lower()) for name in optional} == {
            name: FIELDS[name].default for name in optional
        }
