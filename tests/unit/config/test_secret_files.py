"""Secrets in files that `NAME_FILE` names."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from integration.config.converting import ConfigurationError
from integration.config.ingest_settings import INGEST_SECRETS, load_ingest_settings
from integration.config.loading import (
    load,
    load_status,
    read_all_variables,
    read_variables,
    readable_secrets,
    with_secrets,
)
from integration.config.notify_settings import NOTIFY_SECRET_VARIABLES
from integration.config.service_settings import SERVICE_SECRET_VARIABLES, load_service_settings
from integration.config.settings import SECRET_VARIABLES
from integration.core.shutdown import Stop
from integration.ingest.source_file import load_sources
from integration.notify.delivery import DeliveryTelling
from integration.notify.ingest import IngestTelling

if TYPE_CHECKING:
    from pathlib import Path

SECRET = "a secret that is never shown"
SETTINGS = {"DB_HOST": "db", "DB_USER": "reader", "DB_NAME": "shop"}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file with a secret."""
    path = tmp_path / "secret"
    path.write_text(f"{SECRET}\n", encoding="utf-8")
    return path


def read(path: Path, content: bytes, name: str = "DB_PASSWORD") -> str:
    """The secret that a file with this content holds."""
    path.write_bytes(content)
    return with_secrets({f"{name}_FILE": str(path)}, [name])[name]


@pytest.mark.parametrize(
    ("content", "secret"),
    [
        (b"x", "x"),
        (b"x\n", "x"),
        (b"x\r\n", "x"),
        (b"x\n\n", "x\n"),
        (b" x \n", " x "),
        ("pässword".encode(), "pässword"),
        (b"", ""),
    ],
)
def test_one_newline_at_the_end_does_not_count(tmp_path: Path, content: bytes, secret: str) -> None:
    """Editors and `echo` add it; everything else belongs to the password."""
    assert read(tmp_path / "secret", content) == secret


@pytest.mark.parametrize("name", sorted(SECRET_VARIABLES))
def test_each_secret_of_a_delivery_may_be_in_a_file(tmp_path: Path, name: str) -> None:
    """It is the setting then, and is masked like it."""
    path = tmp_path / "secret"
    path.write_text("s3cret\n", encoding="utf-8")
    secrets = dict.fromkeys(SECRET_VARIABLES, "other") | {"USE_JWT_AUTH": "true"}
    del secrets[name]
    environment = {**SETTINGS, **secrets, f"{name}_FILE": str(path)}

    settings = load(read_variables(environment, None), {}, tmp_path)

    assert getattr(settings, name.lower()) == "s3cret"
    assert "s3cret" in settings.secrets()
    assert "s3cret" not in repr(settings)


@pytest.mark.parametrize("name", sorted(INGEST_SECRETS))
def test_each_secret_of_the_ingest_may_be_in_a_file(tmp_path: Path, file: Path, name: str) -> None:
    """The same for `cli.py`."""
    secrets = {one: "other" for one in INGEST_SECRETS if one != name}
    environment = {**SETTINGS, **secrets, "INGEST_DB_USER": "writer", f"{name}_FILE": str(file)}

    variables = with_secrets(read_all_variables(environment, None), INGEST_SECRETS)
    settings = load_ingest_settings(variables)

    assert getattr(settings, name.lower()) == SECRET
    assert SECRET in settings.secrets()
    assert SECRET not in repr(settings)


def test_the_token_of_the_window_may_be_in_a_file(tmp_path: Path) -> None:
    """And is not shown."""
    path = tmp_path / "token"
    path.write_text("s3cret\n", encoding="utf-8")

    settings = load_service_settings(
        with_secrets({"SERVICE_TOKEN_FILE": str(path)}, SERVICE_SECRET_VARIABLES)
    )

    assert settings.service_token == "s3cret"
    assert "s3cret" not in repr(settings)


@pytest.mark.parametrize("name", sorted(NOTIFY_SECRET_VARIABLES))
def test_an_address_that_is_told_may_be_in_a_file(tmp_path: Path, name: str) -> None:
    """For both programs; it is masked as a secret."""
    path = tmp_path / "address"
    path.write_text("http://127.0.0.1:1/geheim-geheim\n", encoding="utf-8")
    variables = read_variables({f"{name}_FILE": str(path)}, None)

    of_ingest = IngestTelling(variables, tmp_path, Stop()).secrets
    of_delivery = DeliveryTelling(Stop()).begin(variables, tmp_path, is_told=True)

    assert "geheim-geheim" in of_ingest
    assert of_delivery.is_set
    assert of_delivery.secrets() == of_ingest


def test_a_file_with_an_address_that_is_missing_is_one_clear_line(tmp_path: Path) -> None:
    """As for the other secrets."""
    variables = {"HEALTHCHECK_URL_FILE": str(tmp_path / "none")}
    with pytest.raises(ConfigurationError, match="HEALTHCHECK_URL_FILE names a file that cannot"):
        DeliveryTelling(Stop()).begin(variables, tmp_path, is_told=True)


def test_secrets_that_can_be_read_are_masked(tmp_path: Path, file: Path) -> None:
    """The others are left to whoever needs them: a pipe can be read once."""
    os.mkfifo(tmp_path / "pipe")
    variables = {
        "DB_PASSWORD": "x",
        "API_KEY_FILE": str(file),
        "ITERABLE_API_KEY_FILE": str(tmp_path / "pipe"),
        "SERVICE_TOKEN_FILE": str(tmp_path / "none"),
    }
    names = ["DB_PASSWORD", "API_KEY", "ITERABLE_API_KEY", "SERVICE_TOKEN"]
    assert readable_secrets(variables, names) - {""} == {"x", SECRET}


def test_the_secret_of_a_source_may_be_in_a_file(tmp_path: Path) -> None:
    """Whatever variable `auth` names."""
    token = tmp_path / "token"
    token.write_text("s3cret\n", encoding="utf-8")
    sources = tmp_path / "sources.toml"
    sources.write_text(
        '[sources.crm]\nentity = "customers"\nkind = "http"\nurl = "https://crm.example.com/c"\n'
        'auth = { variable = "CRM_TOKEN" }\n',
        encoding="utf-8",
    )

    loaded = load_sources(sources, {"CRM_TOKEN_FILE": str(token)}, tmp_path)

    assert loaded.secrets == {"CRM_TOKEN": "s3cret"}
    assert "s3cret" not in repr(loaded)


def test_the_short_form_finds_its_key_in_a_file(tmp_path: Path) -> None:
    """It is looked for twice, by the settings and by the sources."""
    path = tmp_path / "key"
    path.write_text("s3cret\n", encoding="utf-8")
    environment = {"API_HOST": "https://crm.example.com", "API_KEY_FILE": str(path)}

    variables = with_secrets(read_all_variables(environment, None), INGEST_SECRETS)

    assert load_sources(None, variables, tmp_path).secrets == {"API_KEY": "s3cret"}


def test_an_address_in_a_file_stands_for_the_settings(tmp_path: Path) -> None:
    """DATABASE_URL_FILE is read where DATABASE_URL is."""
    path = tmp_path / "url"
    path.write_text("mysql://reader:pass@db/shop\n", encoding="utf-8")

    variables = read_variables({"DATABASE_URL_FILE": str(path)}, None)

    assert variables["DB_PASSWORD"] == "pass"
    assert variables["DB_NAME"] == "shop"


def test_the_environment_hides_the_other_form_of_the_file(tmp_path: Path, file: Path) -> None:
    """A password of the environment and a DB_PASSWORD_FILE of .env, and the reverse."""
    env_file = tmp_path / ".env"
    in_file = f"DB_PASSWORD_FILE={file}"
    env_file.write_text(in_file, encoding="utf-8")
    assert read_variables({"DB_PASSWORD": "x"}, env_file) == {"DB_PASSWORD": "x"}

    env_file.write_text("DB_PASSWORD=x", encoding="utf-8")
    found = read_variables({"DB_PASSWORD_FILE": str(file)}, env_file)
    assert with_secrets(found, SECRET_VARIABLES) == {"DB_PASSWORD": SECRET}


def test_log_file_is_not_the_secret_of_log(tmp_path: Path) -> None:
    """LOG_FILE and JOURNAL_FILE are settings of their own."""
    env_file = tmp_path / ".env"
    env_file.write_text("LOG_FILE=run.log\nJOURNAL_FILE=journal.db", encoding="utf-8")

    found = read_variables({"LOG": "x", "JOURNAL": "y"}, env_file)

    assert found == {"LOG_FILE": "run.log", "JOURNAL_FILE": "journal.db"}


@pytest.mark.parametrize(
    ("content", "problem"),
    [(None, "No such file or directory"), (b"\xff", "not valid UTF-8"), (b"\n", "it is empty")],
)
def test_a_file_that_cannot_be_used_is_one_clear_line(
    tmp_path: Path, content: bytes | None, problem: str
) -> None:
    """The variable is named; its value is not shown, since it may be the secret itself."""
    path = tmp_path / "hunter2"
    if content is not None:
        path.write_bytes(content)

    with pytest.raises(ConfigurationError) as caught:
        with_secrets({"ITERABLE_API_KEY_FILE": str(path)}, ["ITERABLE_API_KEY"])

    assert str(caught.value) == (
        f"ITERABLE_API_KEY_FILE names a file that cannot be used: {problem}"
    )


def test_a_secret_in_both_forms_is_refused(file: Path) -> None:
    """All of them in one line; the program would have to guess which one is old."""
    variables = {
        name: value
        for one in ("ITERABLE_API_KEY", "DB_PASSWORD")
        for name, value in ((one, "x"), (f"{one}_FILE", str(file)))
    }

    with pytest.raises(ConfigurationError) as caught:
        with_secrets(variables, SECRET_VARIABLES)

    assert str(caught.value) == (
        "DB_PASSWORD and DB_PASSWORD_FILE are both set;"
        " ITERABLE_API_KEY and ITERABLE_API_KEY_FILE are both set: remove one of them"
    )


def test_an_empty_variable_is_not_the_other_form(file: Path) -> None:
    """Compose files set variables that are empty."""
    found = read_variables({"DB_PASSWORD": "", "DB_PASSWORD_FILE": str(file)}, None)

    assert with_secrets(found, SECRET_VARIABLES) == {"DB_PASSWORD": SECRET}


def test_the_status_reads_no_password(tmp_path: Path) -> None:
    """It may run as an account that can read the journal only."""
    variables = read_variables({"DB_PASSWORD_FILE": "/no/such/file"}, None)

    assert load_status(variables, tmp_path).iterable_api_key is None
