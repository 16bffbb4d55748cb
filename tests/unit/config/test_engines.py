"""The DB_ settings of each engine."""

from __future__ import annotations

from pathlib import Path

import pytest

from integration.config.converting import ConfigurationError
from integration.config.ingest_settings import load_ingest_settings
from integration.config.loading import load, read_variables
from integration.config.settings import Settings, load_settings

KEY = {"ITERABLE_API_KEY": "key"}


def settings_of(url: str, **others: str) -> Settings:
    """The settings of a run with this address."""
    return load(read_variables({"DATABASE_URL": url, **KEY, **others}, None), {}, Path("/srv"))


@pytest.mark.parametrize(
    ("url", "port"),
    [
        ("mysql://u:p@db/shop", 3306),
        ("postgresql://u:p@db/shop", 5432),
        ("postgresql://u:p@db:6432/shop", 6432),
        ("sc://db", 15002),
    ],
)
def test_each_server_has_its_port(url: str, port: int) -> None:
    """Without one in the address."""
    assert settings_of(url).db_port == port


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("duckdb:///shop.duckdb", "/srv/shop.duckdb"),
        ("duckdb:///:memory:", ":memory:"),
        ("sqlite:///shop.db", "/srv/shop.db"),
        ("sc://db", "default"),
    ],
)
def test_a_file_is_relative_to_the_working_directory(url: str, name: str) -> None:
    """A database in memory has no file."""
    assert settings_of(url).db_name == name


@pytest.mark.parametrize(
    ("engine", "missing"),
    [
        ("postgresql", "DB_HOST, DB_USER, DB_PASSWORD, DB_NAME"),
        ("duckdb", "DB_NAME"),
        ("spark", "DB_HOST, DB_NAME"),
    ],
)
def test_each_engine_has_its_required_settings(engine: str, missing: str) -> None:
    """All are named in one line."""
    with pytest.raises(ConfigurationError) as caught:
        load_settings({"DB_ENGINE": engine, **KEY})
    assert str(caught.value) == f"Missing required environment variables: {missing}"


def test_a_token_and_the_headers_of_spark_are_secrets() -> None:
    """They are masked wherever they would be shown; other options are common words."""
    settings = settings_of("sc://db:443/;use_ssl=true;token=geheim-1;x-key=geheim-2")
    assert {"geheim-1", "geheim-2"} <= set(settings.secrets())
    assert "true" not in settings.secrets()
    assert "geheim" not in repr(settings)


def test_an_option_that_the_engine_does_not_know_is_refused() -> None:
    """Also when it is set on its own."""
    with pytest.raises(ConfigurationError) as caught:
        settings_of("duckdb:///shop.duckdb", DB_OPTIONS="memory=2GB")
    assert str(caught.value) == (
        "memory in DB_OPTIONS or DATABASE_URL: duckdb accepts memory_limit, temp_directory, threads"
    )


@pytest.mark.parametrize("url", ["postgresql://u:p@db/shop", "duckdb:///:memory:", "sc://db"])
def test_the_ingest_refuses_an_engine_that_it_cannot_write_to(url: str) -> None:
    """One line, before anything else."""
    variables = read_variables({"DATABASE_URL": url}, None)
    with pytest.raises(ConfigurationError) as caught:
        load_ingest_settings(variables)
    assert str(caught.value).startswith("cli.py and --explain use MySQL, MariaDB or SQLite, not ")
