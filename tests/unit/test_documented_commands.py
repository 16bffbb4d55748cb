"""Each command that the documents show can be given: programs, options, targets, modules.

Commands are the lines of shell blocks (`bash`), lines after a `$`, lines of a crontab, and code
within the text. The programs' own parsers judge them, so that no documented option is misspelt.
What cannot be run here is listed, with its reason, in docs/README.md.
"""

from __future__ import annotations

import importlib
import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

from integration.config.arguments import parse_arguments
from integration.config.cli_arguments import parse_cli_arguments

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
FENCED = re.compile(r"^ *```(\w*)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
CRON = re.compile(r"^ *(?:[\d*/,-]+ +){5}(.*)$", re.MULTILINE)
HEREDOC = re.compile(r"<<'?(\w+)'?\n.*?^\1$", re.MULTILINE | re.DOTALL)
ASSIGNMENT = re.compile(r"\w+=.*")
PROGRAMS = (
    r"(?:\S*/)?(?:python3?|pip|make|docker|kubectl|systemctl|systemd-run|apprise|git|apt|mysql) "
)
PLACEHOLDERS = {
    "N": "1",
    "RUN": "1",
    "SECONDS": "60",
    "COMMAND": "stats",
    "EMAIL": "ada@example.com",
}
# What every system has.
SHELL = {".", "cat", "cd", "chmod", "cp", "curl", "echo", "export", "find", "kill", "mkdir", "rm"}
# Programs of the development environment.
TOOLS = {"pip", "pytest"}
INSTALLED = {"venv", "pip", "pytest"}
# As docs/README.md lists them.
NOT_RUN = {
    "docker": "a container engine",
    "make build, make up, make down, make logs, make db-shell": "a container engine",
    "kubectl": "a cluster",
    "systemctl, systemd-run, systemd-analyze": "systemd as process 1",
    "apt, useradd, install, editor, cp to /etc": "root",
    "mysql": "an administrator's account",
    "git": "the address of the repository",
    "apprise": "a service to notify",
}
OUTSIDE = {"docker", "kubectl", "systemctl", "systemd-run", "systemd-analyze", "apt", "useradd"} | {
    *("install", "editor", "mysql", "git", "apprise")
}
# The commands of the image, and what they start.
IMAGE: dict[str, Callable[[list[str]], object]] = {
    "deliver": parse_arguments,
    "ingest": lambda words: parse_cli_arguments(["run", *words]),
}


class Command(NamedTuple):
    """A simple command, without its redirections.

    Attributes:
        line: the line that has it.
        words: its name and arguments.
    """

    line: str
    words: list[str]


def lines_of(page: str) -> Iterator[str]:
    """The command lines of a page."""
    for language, block in FENCED.findall(page):
        text = HEREDOC.sub("\n", block).replace("\\\n", " ")
        if language == "bash":
            yield from filter(None, map(str.strip, text.splitlines()))
        else:
            yield from re.findall(r"^ *\$ (.*)$", text, re.MULTILINE)
            yield from CRON.findall(text)
            yield from re.findall(r"^  (python \S+\.py.*?)(?:  |$)", text, re.MULTILINE)
    for code in re.findall(r"`([^`\n]+)`", FENCED.sub("", page)):
        found = CRON.fullmatch(code)
        if found or re.match(PROGRAMS, code):
            yield found[1] if found else code


def commands_of(line: str) -> Iterator[Command]:
    """The simple commands of a line."""
    line = re.sub(r"\$\([^)]*\)", "now", line).replace("[", "").replace("]", "")
    parts = shlex.shlex(line, posix=True, punctuation_chars=True)
    parts.whitespace_split = True
    words: list[str] = []
    is_file = False
    for part in [*parts, ";"]:
        if set(part) <= set(";&|(){}"):
            if words := [word for word in words if word]:
                yield Command(line, words)
            words = []
        elif set(part) <= set("<>"):
            is_file = True
        elif is_file:
            is_file = False
        elif words or not ASSIGNMENT.fullmatch(part):
            words.append(PLACEHOLDERS.get(part, part))


def problem_of(command: Command) -> str | None:
    """Why a command cannot be given, or None."""
    name, *arguments = command.words
    name = name.rpartition("/")[2] or name
    if name in ("python", "python3"):
        return python_problem(arguments)
    if name == "make":
        return make_problem(arguments)
    if name in OUTSIDE:
        return outside_problem(arguments)
    return None if name in SHELL | TOOLS else f"{name} is not known"


def python_problem(arguments: Sequence[str]) -> str | None:
    """What is wrong with the arguments of Python."""
    if not arguments:
        return "an interactive Python"
    first, *rest = arguments
    if first in ("-X", "-c") or rest == ["…"]:
        return None
    script = first.rpartition("/")[2]
    if script in ("main.py", "cli.py"):
        return parsed(parse_arguments if script == "main.py" else parse_cli_arguments, rest)
    if first != "-m":
        return f"no program: {first}"
    module, *options = rest
    return None if module in INSTALLED else module_problem(module, options)


def parsed(parse: Callable[[list[str]], object], words: Sequence[str]) -> str | None:
    """What a parser says."""
    try:
        parse(list(words))
    except SystemExit as end:
        return f"{' '.join(words)} is refused" if end.code else None
    return None


def module_problem(module: str, options: Sequence[str]) -> str | None:
    """Whether a module of the project is there and knows the options."""
    file = ROOT / module.replace(".", "/")
    if file.is_dir():
        module += ".__main__"
    elif not file.with_suffix(".py").is_file():
        return f"no module {module}"
    if not any(option.startswith("-") for option in options):
        return None
    parser = importlib.import_module(module).build_parser()
    return parsed(parser.parse_args, options)


def make_problem(arguments: Sequence[str]) -> str | None:
    """Whether the Makefile has the targets and reads the variables."""
    for word in arguments:
        variable, is_set, value = word.partition("=")
        if is_set and not re.search(rf"\$[({{]{variable}\b", MAKEFILE):
            return f"the Makefile does not read {variable}"
        if variable == "BENCH":
            return module_problem("benchmarks", shlex.split(value))
        target = word.replace(".venv/", "$(VENV)/")
        if not is_set and not re.search(rf"^{re.escape(target)}:", MAKEFILE, re.MULTILINE):
            return f"no target {word}"
    return None


def outside_problem(arguments: Sequence[str]) -> str | None:
    """A program of ours that another one starts, such as `docker run IMAGE deliver --help`."""
    scripts = [i for i, word in enumerate(arguments) if word.endswith((".py", "/python"))]
    if scripts:
        first = scripts[0] + (not arguments[scripts[0]].endswith(".py"))
        return python_problem(arguments[first:])
    for name, parse in IMAGE.items():
        if name in arguments:
            last = len(arguments) - 1 - list(arguments)[::-1].index(name)
            return parsed(parse, arguments[last + 1 :])
    return None


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_each_command_can_be_given(page: Path) -> None:
    """As it is shown."""
    commands = [c for line in lines_of(page.read_text("utf-8")) for c in commands_of(line)]
    problems = [f"{c.line}: {found}" for c in commands if (found := problem_of(c))]
    assert problems == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_blocks_of_commands_are_marked(page: Path) -> None:
    """Those without a mark are output or files."""
    blocks = [text for mark, text in FENCED.findall(page.read_text("utf-8")) if mark != "bash"]
    blocks = [text for text in blocks if not text.lstrip().startswith("$ ")]
    assert [text for text in blocks if re.search(rf"^ *{PROGRAMS}", text, re.MULTILINE)] == []


@pytest.mark.parametrize(
    "line",
    [
        "python main.py --resumed",
        "cd /srv && .venv/bin/python cli.py runs >/dev/null",
        "0 4 * * * { python cli.py run; python main.py --incrementel; }",
        "python -m sandbox.databases",
        "python -m sandbox.source --costumers 3",
        "make tests",
        "make up PROFILE=",
        'make bench BENCH="--cases start"',
        "docker compose run --rm deliver deliver --dryrun",
        "docker compose exec etl python cli.py state",
        "pythn main.py",
    ],
)
def test_a_misspelt_command_is_found(line: str) -> None:
    """In each of the forms that the documents have."""
    (found,) = lines_of(f"```\n{line}\n```" if line[0] == "0" else f"```bash\n{line}\n```")
    assert any(problem_of(command) for command in commands_of(found))


def test_the_documents_say_what_is_not_run() -> None:
    """The table of docs/README.md, with the reasons."""
    index = (ROOT / "docs/README.md").read_text(encoding="utf-8")
    section = index.partition("\n## Commands that the tests do not run\n")[2]
    rows = re.findall(r"^\| (`.*) \| (.*) \|$", section, re.MULTILINE)
    assert {command.replace("`", ""): needs for command, needs in rows} == NOT_RUN
    names = {name.split(" ")[0] for command in NOT_RUN for name in command.split(", ")}
    assert names >= OUTSIDE
