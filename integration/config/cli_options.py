"""What the command line of `cli.py` asks for: one value for each command."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class CommonOptions:
    """The options of every command."""

    env_file: Path | None = None
    sources: Path | None = None
    verbose: bool = False
    quiet: bool = False

    @property
    def console_level(self) -> str | None:
        """The console's log level, if the command line sets it."""
        if self.verbose:
            return "DEBUG"
        return "WARNING" if self.quiet else None

    @property
    def prints_json(self) -> bool:
        """Whether stdout is kept for a JSON object."""
        return bool(getattr(self, "json", False))

    @property
    def volume(self) -> list[str]:
        """The option that sets the console's log level, for another program."""
        return [name for name in ("--verbose", "--quiet") if getattr(self, name[2:])]

    def overrides(self) -> dict[str, str]:
        """The settings' variables that the command line sets."""
        return {"LOG_LEVEL": self.console_level} if self.console_level else {}


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions(CommonOptions):
    """`run`: ingest sources.

    Attributes:
        source: the names of the sources, or none for all.
        since: with a time zone, as `until`.
        every: seconds between the starts of two runs, "setting" for ETL_INTERVAL, or None to run
            once.
    """

    source: tuple[str, ...] = ()
    full_refresh: bool = False
    since: datetime | None = None
    until: datetime | None = None
    limit: int | None = None
    dry_run: bool = False
    json: bool = False
    every: float | Literal["setting"] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StatsOptions(CommonOptions):
    """`stats`: show what is known about each source."""

    json: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RejectedOptions(CommonOptions):
    """`rejected`: show rejected records, or try those that are open again."""

    source: str | None = None
    retry: bool = False
    json: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayOptions(CommonOptions):
    """`replay`: store a run again from its raw pages."""

    run: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ResetOptions(CommonOptions):
    """`reset`: forget a source's checkpoint, runs and raw pages."""

    source: str
    yes: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ForgetOptions(CommonOptions):
    """`forget`: erase a person's data."""

    email: str
    yes: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeOptions(CommonOptions):
    """`serve`: the window.

    Attributes:
        host: instead of SERVICE_HOST.
        port: instead of SERVICE_PORT; 0 is any free one.
    """

    host: str | None = None
    port: int | None = None

    def overrides(self) -> dict[str, str]:
        """The settings' variables that the command line sets."""
        given = {"SERVICE_HOST": self.host, "SERVICE_PORT": self.port}
        texts = {name: str(value) for name, value in given.items() if value is not None}
        # Without super(): slots make another class of this one.
        return {**CommonOptions.overrides(self), **texts}


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoOptions(CommonOptions):
    """`demo`: the whole way with bundled parts, which have settings and sources of their own."""

    once: bool = False


CliOptions = (
    RunOptions
    | StatsOptions
    | RejectedOptions
    | ReplayOptions
    | ResetOptions
    | ForgetOptions
    | ServeOptions
    | DemoOptions
)
