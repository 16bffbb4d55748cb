"""DATABASE_URL stands for the DB_ settings."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from integration.config.database_url import with_database_url
from integration.config.loading import read_variables
from integration.config.settings import ConfigurationError

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
        "postgresql://postgres:geheim@db:5432/etl_db",
        "mysql://u:geheim@db",
        "mysql://u:geheim@db/",
        "mysql://u:geheim@/shop",
        "mysql://u:geheim@db/shop/more",
        "mysql://u:geheim@db:port/shop",
        "mysql://u:geheim@db:99999/shop",
        "mysql://u:gehe/im@db/shop",
        "mysql://u:geheim#x@db/shop",
        "mysql://u:geheim@db/shop?ssl=true",
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
