"""The tested versions are the installed ones: every package is pinned and hashed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
EXTRAS = [f"requirements-{name}.txt" for name in ("postgres", "duckdb", "spark")]
LOCKS = ["requirements.txt", "requirements-dev.txt", *EXTRAS]
LOCKED = re.compile(
    r"(?P<name>[a-z0-9-]+)==(?P<version>[^\s;]+)( ; [^-]+?)?( --hash=sha256:[0-9a-f]{64})+"
)


def statements(name: str) -> list[str]:
    """The statements of a requirements file, without comments, one string each."""
    text = (ROOT / name).read_text(encoding="utf-8").replace("\\\n", " ")
    lines = [re.sub(r"\s+", " ", line.split("#")[0]).strip() for line in text.splitlines()]
    return [line for line in lines if line]


def locked(name: str) -> dict[str, str]:
    """The version of each package in a lock."""
    found = [LOCKED.fullmatch(line) for line in statements(name)]
    return {match["name"]: match["version"] for match in found if match}


def requested(name: str) -> dict[str, str]:
    """The version of each package that a `.in` file requires, with normalized names."""
    lines = [re.sub(r"\[.*]", "", line) for line in statements(name) if "==" in line]
    pairs = [line.split("==") for line in lines]
    return {name.lower().replace("_", "-").replace(".", "-"): version for name, version in pairs}


@pytest.mark.parametrize("lock", LOCKS)
def test_every_package_of_a_lock_is_exact_and_hashed(lock: str) -> None:
    """Otherwise pip would reject the file, or could install another version."""
    assert [line for line in statements(lock) if not LOCKED.fullmatch(line)] == []


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_holds_what_its_source_asks_for_and_what_that_needs(lock: str) -> None:
    """After a change to a `.in` file, run `make lock`."""
    direct = requested(lock.replace(".txt", ".in"))
    assert direct.items() <= locked(lock).items()
    assert len(locked(lock)) >= len(direct)


def test_development_has_the_versions_that_the_program_runs_with() -> None:
    """The tests pass with the versions that are installed."""
    for lock in ("requirements.txt", "requirements-duckdb.txt", "requirements-postgres.txt"):
        assert locked(lock).items() <= locked("requirements-dev.txt").items()


def test_an_extra_needs_no_other_version_of_a_package_of_the_program() -> None:
    """Both are installed into one environment."""
    program = locked("requirements.txt")
    for extra in EXTRAS:
        common = program.keys() & locked(extra).keys()
        assert {name: locked(extra)[name] for name in common} == {
            name: program[name] for name in common
        }


def test_the_program_is_locked_for_every_platform_at_once() -> None:
    """A package with compiled code has a wheel for each system and Python, each with its hash."""
    lines = {line.split("==")[0]: line for line in statements("requirements.txt")}
    assert lines["orjson"].count("--hash=") > 20
    assert lines["mysql-connector-python"].count("--hash=") > 10
