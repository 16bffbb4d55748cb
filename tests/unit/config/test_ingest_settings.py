"""The settings of `cli.py`."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest

from integration.config.converting import ConfigurationError
from integration.config.ingest_settings import (
    INGEST_FIELDS,
    INGEST_SECRET_VARIABLES,
    INGEST_VARIABLES,
    IngestSettings,
    load_ingest_settings,
)
from integration.config.loading import (
    read_all_variables,
    read_variables,
    with_absolute_paths,
)
from integration.config.settings import FIELDS, load_settings

EXAMPLE = Path(__file__).resolve().parents[3] / ".env.example"
REQUIRED = {
    "DB_HOST": "db.example.com",
    "DB_USER": "reader",
    "DB_PASSWORD": "correct horse",
    "DB_NAME": "iterable_challenge",
}


def refused(values: dict[str, str]) -> str:
    """The message for these variables."""
    with pytest.raises(ConfigurationError) as caught:
        load_ingest_settings(values)
    return str(caught.value)


class TestWhatIsRequired:
    """A database, and an account."""

    def test_no_key_of_iterable_is_needed(self) -> None:
        """Nothing is sent."""
        settings = load_ingest_settings(REQUIRED)
        assert (settings.db_host, settings.raw_retention_days) == (("db.example.com",), 30)
        assert settings.etl_interval == 3600

    def test_all_missing_variables_are_named_in_one_line(self) -> None:
        """In the order of `.env.example`."""
        assert refused({}) == (
            "Missing required environment variables: DB_HOST, DB_USER, DB_PASSWORD, DB_NAME"
        )
        assert refused({"DB_ENGINE": "SQLite"}) == "Missing required environment variables: DB_NAME"

    def test_an_account_of_its_own_replaces_the_readers(self) -> None:
        """Then the reader's need not be set, but both of its own."""
        own = {"DB_HOST": "db", "DB_NAME": "shop", "INGEST_DB_USER": "writer"}
        assert refused(own) == "Missing required environment variables: INGEST_DB_PASSWORD"
        settings = load_ingest_settings({**own, "INGEST_DB_PASSWORD": ""})
        assert settings.writer == ("writer", "")
        settings = load_ingest_settings({**REQUIRED, **own, "INGEST_DB_PASSWORD": "x"})
        assert settings.writer == ("writer", "x")

    def test_without_one_the_readers_is_used(self) -> None:
        """Even if a password is set."""
        assert load_ingest_settings(REQUIRED).writer == ("reader", "correct horse")
        settings = load_ingest_settings({**REQUIRED, "INGEST_DB_PASSWORD": "x"})
        assert settings.writer == ("reader", "correct horse")


class TestValues:
    """How they are typed."""

    @pytest.mark.parametrize(
        ("name", "value", "expected"),
        [
            ("RAW_RETENTION_DAYS", "0", "a whole number of days from 1 to 3650"),
            ("RAW_RETENTION_DAYS", "3651", "a whole number of days from 1 to 3650"),
            ("RAW_RETENTION_DAYS", "x", "a whole number of days from 1 to 3650"),
            ("ETL_INTERVAL", "0", "seconds, above 0 and up to 2678400"),
            ("ETL_INTERVAL", "nan", "seconds, above 0 and up to 2678400"),
            ("ETL_INTERVAL", "2678401", "seconds, above 0 and up to 2678400"),
            ("DB_PORT", "0", "a whole number from 1 to 65535"),
            ("LOG_LEVEL", "LOUD", "DEBUG, INFO, WARNING or ERROR"),
        ],
    )
    def test_an_invalid_value_is_named_with_the_expected_one(
        self, name: str, value: str, expected: str
    ) -> None:
        """Variable, value and expectation are in one line."""
        assert refused({**REQUIRED, name: value}) == f"{name} is {value!r}, expected {expected}"

    @pytest.mark.parametrize("value", ["1", "3650"])
    def test_a_retention_at_its_bounds_is_accepted(self, value: str) -> None:
        """The bounds named in an error are accepted."""
        settings = load_ingest_settings({**REQUIRED, "RAW_RETENTION_DAYS": value})
        assert settings.raw_retention_days == int(value)

    @pytest.mark.parametrize(("value", "seconds"), [("0.5", 0.5), ("2678400", 2678400)])
    def test_an_interval_at_its_bounds_is_accepted(self, value: str, seconds: float) -> None:
        """Fractions, too."""
        settings = load_ingest_settings({**REQUIRED, "ETL_INTERVAL": value})
        assert settings.etl_interval == seconds

    def test_wrong_settings_of_a_delivery_do_not_matter(self) -> None:
        """They are not used."""
        load_ingest_settings({**REQUIRED, "MAX_WORKERS": "many", "ITERABLE_API_KEY": "a b"})

    def test_paths_become_absolute(self) -> None:
        """As those of a delivery."""
        settings = load_ingest_settings({"DB_ENGINE": "sqlite", "DB_NAME": "x.db"})
        absolute = with_absolute_paths(settings, Path("/srv"))
        assert absolute.log_file == Path("/srv/iterable_integration.log")
        assert absolute.db_name == "/srv/x.db"

    def test_what_both_programs_use_has_the_same_defaults(self) -> None:
        """One `.env` is for both."""
        shared = [one for one in fields(IngestSettings) if one.name.upper() in FIELDS]
        assert len(shared) == 15
        given = load_settings({**REQUIRED, "ITERABLE_API_KEY": "key"})
        settings = load_ingest_settings(REQUIRED)
        for one in shared:
            assert getattr(settings, one.name) == getattr(given, one.name), one.name

    def test_the_example_loads_and_shows_the_defaults(self) -> None:
        """A copy of it is a complete configuration."""
        settings = load_ingest_settings(read_all_variables({}, EXAMPLE))
        assert {name: getattr(settings, name.lower()) for name in INGEST_VARIABLES} == {
            name: INGEST_FIELDS[name].default for name in INGEST_VARIABLES
        }


class TestSecrets:
    """No message and no repr shows one."""

    def test_no_repr_shows_a_secret(self) -> None:
        """Settings may appear in a log or a traceback."""
        values = {name: f"geheim-{name}" for name in INGEST_SECRET_VARIABLES}
        settings = load_ingest_settings({**REQUIRED, **values})
        assert "geheim" not in f"{settings!r} {settings}"
        used = {name for name in INGEST_SECRET_VARIABLES if not name.startswith("ITERABLE")}
        assert set(settings.secrets()) == {values[name] for name in used}

    def test_a_secret_in_the_wrong_variable_is_not_shown(self) -> None:
        """The mask knows the others."""
        message = refused({**REQUIRED, "API_KEY": "geheim", "DB_PORT": "geheim"})
        assert message == "DB_PORT is '***', expected a whole number from 1 to 65535"


class TestAllVariables:
    """What a source's `auth` may name."""

    def test_the_environment_comes_before_the_file(self, tmp_path: Path) -> None:
        """Of each variable on its own; an empty one does not hide the file's."""
        file = tmp_path / ".env"
        file.write_text("CRM_TOKEN=file\nWEB_TOKEN=file\nAPP_TOKEN=file\n")
        environment = {"CRM_TOKEN": " environment ", "WEB_TOKEN": " "}
        assert read_all_variables(environment, file) == {
            "CRM_TOKEN": "environment",
            "WEB_TOKEN": "file",
            "APP_TOKEN": "file",
        }

    def test_passwords_are_read_as_they_are_written(self) -> None:
        """Spaces are part of them, and they may be empty."""
        environment = {"DB_PASSWORD": " x ", "INGEST_DB_PASSWORD": "", "DB_USER": " x "}
        assert read_all_variables(environment, None) == {**environment, "DB_USER": "x"}
        assert read_variables(environment, None) == {"DB_PASSWORD": " x ", "DB_USER": "x"}
