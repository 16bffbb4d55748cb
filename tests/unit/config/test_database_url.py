"""DATABASE_URL stands for the DB_ settings."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from integration.config.converting import ConfigurationError
from integration.config.database_url import with_database_url
from integration.config.loading import read_variables

if TYPE_CHECKING:
    from pathlib import Path


def settings_of(url: str, **others: str) -> dict[str, str]:
    """The settings that an address stands for, beside others."""
    return with_database_url({"DATABASE_URL": url, **others})


@pytest.mark.parametrize(
    ("url", "settings"),
    [
        (
            "mysql://reader:pass@db.example.com:3307/shop",
            {
                "DB_ENGINE": "mysql",
                "DB_HOST": "db.example.com",
                "DB_PORT": "3307",
                "DB_USER": "reader",
                "DB_PASSWORD": "pass",
                "DB_NAME": "shop",
            },
        ),
        (
            "mariadb://reader@[::1]/shop",
            {"DB_ENGINE": "mysql", "DB_HOST": "::1", "DB_USER": "reader", "DB_NAME": "shop"},
        ),
        (
            "mysql://u:@one,two:3307/shop",
            {
                "DB_ENGINE": "mysql",
                "DB_HOST": "one,two",
                "DB_PORT": "3307",
                "DB_USER": "u",
                "DB_PASSWORD": "",
                "DB_NAME": "shop",
            },
        ),
        (
            "postgresql://u:p%40ss@[::1]:6432/shop?sslmode=verify-ca&sslrootcert=ca.pem",
            {
                "DB_ENGINE": "postgresql",
                "DB_HOST": "::1",
                "DB_PORT": "6432",
                "DB_USER": "u",
                "DB_PASSWORD": "p@ss",
                "DB_NAME": "shop",
                "DB_SSL_CA": "ca.pem",
                "DB_OPTIONS": "sslmode=verify-ca",
            },
        ),
        (
            "duckdb:////srv/shop.duckdb?memory_limit=2GB",
            {
                "DB_ENGINE": "duckdb",
                "DB_NAME": "/srv/shop.duckdb",
                "DB_OPTIONS": "memory_limit=2GB",
            },
        ),
        ("duckdb:///:memory:", {"DB_ENGINE": "duckdb", "DB_NAME": ":memory:"}),
        (
            "sc://spark.example.com:443/;use_ssl=true;token=geheim;x-cluster-id=abc%2F1",
            {
                "DB_ENGINE": "spark",
                "DB_HOST": "spark.example.com",
                "DB_PORT": "443",
                "DB_PASSWORD": "geheim",
                "DB_NAME": "default",
                "DB_OPTIONS": "use_ssl=true&x-cluster-id=abc%2F1",
            },
        ),
        ("sc://localhost", {"DB_ENGINE": "spark", "DB_HOST": "localhost", "DB_NAME": "default"}),
        ("sqlite:///demo.db", {"DB_ENGINE": "sqlite", "DB_NAME": "demo.db"}),
        ("sqlite:////srv/demo.db", {"DB_ENGINE": "sqlite", "DB_NAME": "/srv/demo.db"}),
    ],
)
def test_each_part_is_a_setting(url: str, settings: dict[str, str]) -> None:
    """What the address leaves out is not set."""
    assert settings_of(url) == settings


@given(st.text(st.characters(codec="utf-8"), min_size=1))
def test_any_password_can_be_written(password: str) -> None:
    """Percent-encoded."""
    url = f"mysql://u:{quote(password, safe='')}@db/shop"
    assert settings_of(url)["DB_PASSWORD"] == password


@pytest.mark.parametrize(
    "url",
    [
        "postgresq://postgres:geheim@db:5432/etl_db",
        "postgresql:///etl_db?password=geheim",
        "postgresql://u:geheim@db/shop?sslmode",
        "sc://db/geheim",
        "sc://db/shop;token=geheim",
        "duckdb://geheim/shop",
        "duckdb:///",
        "mysql://u:geheim@db",
        "mysql://u:geheim@db/",
        "mysql://u:geheim@/shop",
        "mysql://u:geheim@db/shop/more",
        "mysql://u:geheim@db:port/shop",
        "mysql://u:geheim@db:99999/shop",
        "mysql://u:gehe/im@db/shop",
        "mysql://u:geheim#x@db/shop",
        "mysql://u:geheim@[::1/shop",
        "sqlite://geheim/demo.db",
        "sqlite:///",
        "geheim",
    ],
)
def test_another_address_is_refused_and_not_shown(url: str) -> None:
    """The message says what is expected."""
    with pytest.raises(ConfigurationError) as caught:
        settings_of(url)
    message = str(caught.value)
    assert message.startswith("DATABASE_URL is a value that is not shown, expected mysql://user:p")
    assert "geheim" not in message


@pytest.mark.parametrize(
    ("url", "message"),
    [
        (
            "mysql://u:geheim@db/shop?ssl=geheim",
            "ssl in DB_OPTIONS or DATABASE_URL: mysql accepts none",
        ),
        (
            "postgresql://u:geheim@db/shop?sslmod=geheim&sslmode=require",
            "sslmod in DB_OPTIONS or DATABASE_URL: postgresql accepts application_name, channel_",
        ),
    ],
)
def test_an_unknown_option_is_refused_by_its_name(url: str, message: str) -> None:
    """Its value may be a secret."""
    with pytest.raises(ConfigurationError) as caught:
        settings_of(url)
    assert str(caught.value).startswith(message)
    assert "geheim" not in str(caught.value)


def test_the_password_may_be_elsewhere() -> None:
    """As the port, the CA certificate and all other settings."""
    others = {"DB_PASSWORD": "x", "DB_SSL_CA": "ca.pem", "LOG_LEVEL": "INFO"}
    assert settings_of("mysql://u@db/shop", **others).items() > others.items()


def test_a_setting_that_says_something_else_is_refused() -> None:
    """Which of both is meant, only the operator knows."""
    same = {"DB_HOST": "db", "DB_NAME": "shop"}
    assert settings_of("mysql://db/shop", **same) == {"DB_ENGINE": "mysql", **same}
    with pytest.raises(ConfigurationError) as caught:
        settings_of("mysql://db/shop", DB_HOST="localhost", DB_NAME="test")
    assert str(caught.value) == (
        "DATABASE_URL and DB_HOST, DB_NAME contradict each other: remove one of them"
    )


def test_the_environment_comes_before_the_file(tmp_path: Path) -> None:
    """Also an address before settings, and a setting before an address."""
    file = tmp_path / ".env"
    file.write_text("DB_HOST=file\nDB_NAME=file\nDB_PORT=3307\n")
    found = read_variables({"DATABASE_URL": "mysql://environment/shop"}, file)
    assert found == {
        "DB_ENGINE": "mysql",
        "DB_HOST": "environment",
        "DB_PORT": "3307",
        "DB_NAME": "shop",
    }
    file.write_text("DATABASE_URL=mysql://file/shop\n")
    found = read_variables({"DB_HOST": "environment"}, file)
    assert (found["DB_HOST"], found["DB_NAME"]) == ("environment", "shop")
