"""The syncs of a folder: one file of settings each, `syncs/NAME.env`."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from integration.config.converting import ConfigurationError
from integration.config.loading import find_env_file, read_variables

if TYPE_CHECKING:
    from pathlib import Path

    from integration.config.arguments import Options

FOLDER = "syncs"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")


def syncs_folder(working_dir: Path, program_dir: Path) -> Path:
    """The folder of the syncs: the working directory's, else the program's.

    Raises:
        ConfigurationError: there is none.
    """
    for parent in (working_dir, program_dir):
        if (parent / FOLDER).is_dir():
            return parent / FOLDER
    raise ConfigurationError(
        f"There is no folder {FOLDER} in {working_dir}: create it, with a file NAME.env for each"
        " sync"
    )


def sync_file(folder: Path, name: str) -> Path:
    """The settings of a sync.

    Raises:
        ConfigurationError: there is no such sync.
    """
    path = folder / f"{name}.env"
    if _NAME.fullmatch(name) and path.is_file():
        return path
    known = ", ".join(sync_names(folder)) or "none"
    raise ConfigurationError(f"There is no sync {name!r} in {folder}: it has {known}")


def sync_names(folder: Path) -> list[str]:
    """The names of all syncs, in the order in which they run.

    Raises:
        ConfigurationError: a name has other characters than letters, digits, - and _.
    """
    names = sorted(path.stem for path in folder.glob("*.env") if path.stem)
    for name in names:
        if not _NAME.fullmatch(name):
            raise ConfigurationError(
                f"{folder / name}.env: a sync's name has letters, digits, - and _ only"
            )
    return names


def own_variables(options: Options, working_dir: Path, program_dir: Path) -> dict[str, str]:
    """The settings' variables of the environment, of the sync's file and of `.env`.

    Raises:
        ConfigurationError: a file cannot be read, or there is no such sync.
    """
    env_file = find_env_file(options.env_file, working_dir, program_dir)
    if options.sync is None:
        return read_variables(os.environ, env_file)
    folder = syncs_folder(working_dir, program_dir)
    return read_variables(os.environ, env_file, sync_file(folder, options.sync))
