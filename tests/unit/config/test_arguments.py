"""The command line: what can be requested, and what is rejected."""

from __future__ import annotations

import re
from dataclasses import asdict
from pathlib import Path

import pytest

from integration.config.arguments import __version__, parse_arguments
from integration.core.exit_codes import ExitCode

ROOT = Path(__file__).resolve().parents[3]
NOTHING_ASKED = {
    "demo": False,
    "dry_run": False,
    "resume": False,
    "retry_failed": False,
    "incremental": False,
    "status": False,
    "check": False,
    "verify": None,
    "explain": None,
    "limit": None,
    "every": None,
    "mode": None,
    "workers": None,
    "env_file": None,
    "sync": None,
    "all_syncs": False,
    "output_dir": None,
    "verbose": False,
    "quiet": False,
    "json": False,
}


@pytest.fixture
def help_text(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> str:
    """What `--help` prints on a terminal of 100 columns, without colour."""
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("NO_COLOR", "1")
    with pytest.raises(SystemExit) as caught:
        parse_arguments(["--help"])
    assert caught.value.code == 0
    return capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "requested"),
    [
        ([], {}),
        (["--demo"], {"demo": True}),
        (["--dry-run"], {"dry_run": True}),
        (["--limit", "5"], {"limit": 5}),
        (["--every", "0.5"], {"every": 0.5}),
        (["--mode", "single"], {"mode": "single"}),
        (["--mode", "bulk"], {"mode": "bulk"}),
        (["--mode=auto"], {"mode": "auto"}),
        (["--workers", "1"], {"workers": 1}),
        (["--workers", "auto"], {"workers": "auto"}),
        (["--env-file", "eu.env"], {"env_file": Path("eu.env")}),
        (["--output-dir", "out dir"], {"output_dir": Path("out dir")}),
        (["--verbose"], {"verbose": True}),
        (["--quiet"], {"quiet": True}),
        (["--resume"], {"resume": True}),
        (["--retry-failed"], {"retry_failed": True}),
        (["--incremental", "--dry-run"], {"incremental": True, "dry_run": True}),
        (["--status"], {"status": True}),
        (["--check"], {"check": True}),
        (["--sync", "churn", "--resume"], {"sync": "churn", "resume": True}),
        (["--all-syncs"], {"all_syncs": True}),
        (["--verify"], {"verify": 100}),
        (["--verify", "7"], {"verify": 7}),
        (["--verify", "all"], {"verify": "all"}),
        (["--explain", " a@x.com "], {"explain": "a@x.com"}),
        (["--demo", "--dry-run", "--limit=1"], {"demo": True, "dry_run": True, "limit": 1}),
    ],
)
def test_each_option_changes_one_thing(arguments: list[str], requested: dict[str, object]) -> None:
    """All other options keep their defaults."""
    assert asdict(parse_arguments(arguments)) == NOTHING_ASKED | requested


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--limit", "0"], "argument --limit: 0 is not a whole number from 1 to "),
        (["--limit", "-3"], "argument --limit: -3 is not a whole number from 1 to "),
        (["--limit", "all"], "argument --limit: invalid whole number value: 'all'"),
        (["--limit"], "argument --limit: expected one argument"),
        (["--workers", "2.5"], "argument --workers: invalid whole number, or auto, value: '2.5'"),
        (["--workers", "0"], "argument --workers: 0 is not a whole number from 1 to 1024"),
        (["--workers", "1025"], "argument --workers: 1025 is not a whole number from 1 to 1024"),
        (["--every"], "argument --every: expected one argument"),
        (["--every", "x"], "argument --every: invalid number of seconds value: 'x'"),
        (["--every", "0"], "argument --every: 0 is not a number of seconds above 0 and up to "),
        (["--every", "nan"], "argument --every: nan is not a number of seconds above 0"),
        (["--every", "9999999"], "is not a number of seconds above 0 and up to 2678400"),
        (["--every", "60", "--status"], "--every applies to new runs only"),
        (["--every", "60", "--demo"], "--every applies to new runs only"),
        (["--mode", "batch"], "argument --mode: invalid choice: 'batch'"),
        (["--verbose", "--quiet"], "--quiet: not allowed with argument --verbose"),
        (["--verify", "9" * 20], "argument --verify: 99999999999999999999 is not a whole number"),
        (["--verify", "some"], "argument --verify: invalid whole number, or all, value: 'some'"),
        (["--resume", "--incremental"], "--incremental: not allowed with argument --resume"),
        (["--resume", "--dry-run"], "--dry-run and --limit apply to new runs only"),
        (["--retry-failed", "--limit", "5"], "--dry-run and --limit apply to new runs only"),
        (["--explain", " "], "argument --explain: an email is missing"),
        (["--explain", "a@x.com", "--status"], "not allowed with argument --explain"),
        (["--demo", "--verify"], "--demo has nothing to verify"),
        (["--demo", "--all-syncs"], "--demo has no syncs"),
        (["--sync", "churn", "--all-syncs"], "--all-syncs: not allowed with argument --sync"),
        (["--check", "--limit", "5"], "--dry-run and --limit apply to new runs only"),
        (["--dry"], "unrecognized arguments: --dry"),
        (["now"], "unrecognized arguments: now"),
    ],
)
def test_a_wrong_command_line_says_what_is_wrong_and_exits_with_2(
    capsys: pytest.CaptureFixture[str], arguments: list[str], complaint: str
) -> None:
    """On stderr, below the usage; an abbreviated option is an error, as it may be ambiguous."""
    with pytest.raises(SystemExit) as caught:
        parse_arguments(arguments)
    printed = capsys.readouterr()
    assert caught.value.code == ExitCode.USAGE
    assert printed.out == ""
    assert printed.err.startswith("usage: main.py ")
    assert complaint in printed.err


@pytest.mark.parametrize(
    ("arguments", "overrides"),
    [
        ([], {}),
        (["--demo", "--dry-run", "--limit", "5", "--env-file", "x"], {}),
        (["--mode", "bulk"], {"DELIVERY_MODE": "bulk"}),
        (["--workers", "8"], {"MAX_WORKERS": "8"}),
        (["--workers", "auto"], {"MAX_WORKERS": "auto"}),
        (["--output-dir", "out"], {"OUTPUT_DIR": "out"}),
        (["--verbose"], {"LOG_LEVEL": "DEBUG"}),
        (["--quiet"], {"LOG_LEVEL": "WARNING"}),
    ],
)
def test_options_override_settings(arguments: list[str], overrides: dict[str, str]) -> None:
    """An option overrides the setting's variable, as text; other variables are unchanged."""
    assert parse_arguments(arguments).overrides() == overrides


def test_the_version_is_the_packages(capsys: pytest.CaptureFixture[str]) -> None:
    """`--version` and `pyproject.toml` have the same version."""
    with pytest.raises(SystemExit) as caught:
        parse_arguments(["--version"])
    assert caught.value.code == 0
    assert capsys.readouterr().out == f"main.py {__version__}\n"
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert re.search(r'^version = "(.*)"$', project, re.MULTILINE)[1] == __version__  # type: ignore[index]


def test_help_names_every_option(help_text: str) -> None:
    """With a short description of each."""
    options = {f"--{name.replace('_', '-')}" for name in NOTHING_ASKED} | {"--help", "--version"}
    entry = re.compile(r"^  (?:-h, )?(--[a-z-]+)(?: \S+)?\s{2,}[a-z]", re.MULTILINE)
    assert set(entry.findall(help_text)) == options


def test_every_example_of_the_help_is_a_valid_command_line(help_text: str) -> None:
    """Examples can be copied."""
    examples = re.findall(r"^  python main\.py(.*?) {2,}\S", help_text, re.MULTILINE)
    assert len(examples) >= 4
    for example in examples:
        parse_arguments(example.split())


def test_help_explains_every_exit_code(help_text: str) -> None:
    """They are needed for a crontab, without the README."""
    explained = help_text.partition("exit codes:")[2]
    assert {int(number) for number in re.findall(r"\b\d+\b", explained)} == set(ExitCode)
