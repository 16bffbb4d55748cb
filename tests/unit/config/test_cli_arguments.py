"""The command line of `cli.py`: what can be requested, and what is rejected."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from integration.config.arguments import __version__
from integration.config.cli_arguments import parse_cli_arguments
from integration.config.cli_options import (
    CliOptions,
    DemoOptions,
    ForgetOptions,
    RejectedOptions,
    ReplayOptions,
    ResetOptions,
    RunOptions,
    ServeOptions,
    StatsOptions,
)
from integration.core.exit_codes import ExitCode

ROOT = Path(__file__).resolve().parents[3]
COMMANDS = ["run", "stats", "rejected", "replay", "reset", "forget", "serve", "demo"]
NOVEMBER = datetime(2026, 11, 1, tzinfo=UTC)


def shown(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *arguments: str
) -> str:
    """What `--help` or `--version` prints on a terminal of 80 columns, without colour."""
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("NO_COLOR", "1")
    with pytest.raises(SystemExit) as caught:
        parse_cli_arguments(arguments)
    assert caught.value.code == 0
    return capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "options"),
    [
        (["run"], RunOptions()),
        (["run", "--source", "crm"], RunOptions(source=("crm",))),
        (["run", "--source", "crm", "web"], RunOptions(source=("crm", "web"))),
        (
            ["run", "--source", "crm", "--source", "web", "crm"],
            RunOptions(source=("crm", "web")),
        ),
        (["run", "--full-refresh"], RunOptions(full_refresh=True)),
        (["run", "--since", "2026-11-01"], RunOptions(since=NOVEMBER)),
        (["run", "--since", "2026-11-01T02:00+02:00"], RunOptions(since=NOVEMBER)),
        (["run", "--until", "2026-11-01 00:00:00"], RunOptions(until=NOVEMBER)),
        (["run", "--until=2026-11-01T00:00:00Z"], RunOptions(until=NOVEMBER)),
        (["run", "--limit", "5"], RunOptions(limit=5)),
        (["run", "--dry-run"], RunOptions(dry_run=True)),
        (["run", "--every", "600"], RunOptions(every=600)),
        (["run", "--every", "0.5"], RunOptions(every=0.5)),
        (["run", "--every"], RunOptions(every="setting")),
        (["run", "--every", "--dry-run"], RunOptions(every="setting", dry_run=True)),
        (["stats"], StatsOptions()),
        (["stats", "--json"], StatsOptions(json=True)),
        (["rejected"], RejectedOptions()),
        (["rejected", "--source", "crm", "--retry"], RejectedOptions(source="crm", retry=True)),
        (["replay", "42"], ReplayOptions(run=42)),
        (["reset", "--source", "crm"], ResetOptions(source="crm")),
        (["reset", "--source", "crm", "--yes"], ResetOptions(source="crm", yes=True)),
        (["forget", "a@example.com"], ForgetOptions(email="a@example.com")),
        (["forget", "a@example.com", "--yes"], ForgetOptions(email="a@example.com", yes=True)),
        (["serve"], ServeOptions()),
        (["serve", "--host", "::1", "--port", "0"], ServeOptions(host="::1", port=0)),
        (["demo"], DemoOptions()),
        (["demo", "--once", "--quiet"], DemoOptions(once=True, quiet=True)),
    ],
)
def test_each_command_has_its_options(arguments: list[str], options: CliOptions) -> None:
    """All others keep their defaults."""
    parsed = parse_cli_arguments(arguments)
    assert (type(parsed), parsed) == (type(options), options)


@pytest.mark.parametrize("before", [True, False])
@pytest.mark.parametrize(
    ("arguments", "options"),
    [
        (["--env-file", "eu.env"], StatsOptions(env_file=Path("eu.env"))),
        (["--sources", "my.toml"], StatsOptions(sources=Path("my.toml"))),
        (["--verbose"], StatsOptions(verbose=True)),
        (["--quiet"], StatsOptions(quiet=True)),
    ],
)
def test_common_options_may_stand_before_the_command_or_after_it(
    arguments: list[str], options: CliOptions, *, before: bool
) -> None:
    """As the user thinks of them."""
    line = [*arguments, "stats"] if before else ["stats", *arguments]
    assert parse_cli_arguments(line) == options


@pytest.mark.parametrize(
    ("arguments", "overrides"),
    [
        (["stats"], {}),
        (["stats", "--verbose"], {"LOG_LEVEL": "DEBUG"}),
        (["stats", "--quiet"], {"LOG_LEVEL": "WARNING"}),
    ],
)
def test_options_override_settings(arguments: list[str], overrides: dict[str, str]) -> None:
    """The console's level."""
    assert parse_cli_arguments(arguments).overrides() == overrides


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ([], "the following arguments are required: COMMAND"),
        (["ingest"], "argument COMMAND: invalid choice: 'ingest'"),
        (["run", "--sourc", "crm"], "unrecognized arguments: --sourc crm"),
        (["run", "--source"], "argument --source: expected at least one argument"),
        (["run", "crm"], "unrecognized arguments: crm"),
        (["run", "--limit", "0"], "argument --limit: 0 is not a whole number from 1 to 1000000000"),
        (["run", "--limit", "all"], "argument --limit: invalid whole number value: 'all'"),
        (["run", "--since", "today"], "argument --since: invalid ISO 8601 time value: 'today'"),
        (["run", "--until", "2026-13-01"], "argument --until: invalid ISO 8601 time value: '2026-"),
        (["run", "--since", "0001-01-01T00:00+14:00"], "argument --since: invalid ISO 8601 time"),
        (["run", "--every", "0"], "argument --every: 0 is not above 0 and up to 2678400"),
        (["run", "--every", "nan"], "argument --every: nan is not above 0 and up to 2678400"),
        (["run", "--every", "hour"], "argument --every: invalid number of seconds value: 'hour'"),
        (["run", "--full-refresh", "--since", "2026-11-01"], "--full-refresh reads everything: le"),
        (["run", "--full-refresh", "--until", "2026-11-01"], "--full-refresh reads everything: le"),
        (
            ["run", "--since", "2026-11-01", "--until", "2026-11-01T00:00Z"],
            "--since must be before --until",
        ),
        (["replay"], "the following arguments are required: RUN"),
        (["replay", "last"], "argument RUN: invalid whole number value: 'last'"),
        (["reset", "--yes"], "the following arguments are required: --source"),
        (["forget"], "the following arguments are required: EMAIL"),
        (["forget", "Ada"], "argument EMAIL: invalid email address value: 'Ada'"),
        (["forget", "a@x.com b@x.com"], "argument EMAIL: invalid email address value: 'a@x.com b"),
        (["stats", "--verbose", "--quiet"], "--quiet: not allowed with argument --verbose"),
        (["--verbose", "stats", "--quiet"], "--quiet: not allowed with argument --verbose"),
        (["serve", "--port", "65536"], "--port: 65536 is not a whole number from 0 to 65535"),
        (["stats", "--once"], "unrecognized arguments: --once"),
        (["demo", "--sources", "a.toml"], "unrecognized arguments: --sources"),
        (["--sources", "a.toml", "demo"], "demo has settings and sources of its own"),
        (["--env-file", "a.env", "demo"], "demo has settings and sources of its own"),
    ],
)
def test_a_wrong_command_line_says_what_is_wrong_and_exits_with_2(
    capsys: pytest.CaptureFixture[str], arguments: list[str], complaint: str
) -> None:
    """On stderr, below the usage; an abbreviated option is an error, as it may be ambiguous."""
    with pytest.raises(SystemExit) as caught:
        parse_cli_arguments(arguments)
    printed = capsys.readouterr()
    assert caught.value.code == ExitCode.USAGE
    assert printed.out == ""
    assert printed.err.startswith("usage: cli.py ")
    assert complaint in printed.err


def test_the_version_is_that_of_the_program(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both commands have the same."""
    assert shown(capsys, monkeypatch, "--version") == f"cli.py {__version__}\n"


class TestHelp:
    """What `--help` says."""

    @pytest.mark.parametrize("command", COMMANDS)
    def test_each_command_explains_its_options(
        self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, command: str
    ) -> None:
        """With a short description of each."""
        text = shown(capsys, monkeypatch, command, "--help")
        assert text.startswith(f"usage: cli.py {command} ")
        options = set(re.findall(r"^  (?:-h, )?(--[a-z-]+)", text, re.MULTILINE))
        files = set() if command == "demo" else {"--env-file", "--sources"}
        assert {"--help", "--verbose", "--quiet"} | files <= options
        for option in options:
            assert re.search(rf"  (-h, )?{option}\b[^\n]*\s{{2,}}[a-z]", text), option

    def test_every_command_is_named_and_has_an_example(
        self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Examples can be copied."""
        text = shown(capsys, monkeypatch, "--help")
        examples = re.findall(r"^  python cli\.py (.*?) {2,}\S", text, re.MULTILINE)
        for example in examples:
            parse_cli_arguments(example.split())
        assert {example.split()[0] for example in examples} == set(COMMANDS)
        for command in COMMANDS:
            assert re.search(rf"^    {command} +[a-z]", text, re.MULTILINE), command

    def test_every_exit_code_is_explained(
        self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """They are needed for a crontab."""
        explained = shown(capsys, monkeypatch, "--help").partition("exit codes:")[2]
        assert {int(number) for number in re.findall(r"\b\d+\b", explained)} == set(ExitCode)

    def test_the_documented_help_is_the_programs(
        self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Word for word; where the usage is wrapped differs between versions of Python."""
        page = (ROOT / "docs" / "command-line.md").read_text(encoding="utf-8")
        documented = page.split("$ python cli.py --help\n", 1)[1].split("```", 1)[0]
        assert documented.split() == shown(capsys, monkeypatch, "--help").split()
