"""The image, built and run without a container engine.

buildah executes the Dockerfile with `--isolation chroot`, on a base that debootstrap makes: Debian
with Python, for `python:3.13-slim`. To run the image, a script makes what an engine would:
namespaces for mounts and processes, a read-only root, the volumes, an empty /tmp, and the image's
user, folder and environment. The program is process 1 there. Not made: a network of its own, limits
of cgroups, and filters of system calls.
"""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

ROOT = Path(__file__).resolve().parents[2]
TOOLS = ("buildah", "debootstrap", "unshare", "chroot")
SUITE = "trixie"
PACKAGES = "python3,python3-venv,ca-certificates"
BASE, TAG = "localhost/python-base:latest", "localhost/iterable-integration:test"
# What the image of Python does not have either.
LEFT_OUT = (
    "var/cache/apt",
    "var/lib/apt/lists",
    "usr/share/doc",
    "usr/share/locale",
    "usr/share/man",
)
_RUN = r"""
set -eu
root=$1 state=$2 output=$3 user=$4 folder=$5
shift 5
mount --bind "$root" "$root"
mount --bind "$state" "$root/state"
mount --bind "$output" "$root/output"
mount -t tmpfs tmpfs "$root/tmp"
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
mount -o remount,bind,ro "$root"
exec chroot "$root" /usr/bin/setpriv --reuid "${user%%:*}" --regid "${user#*:}" --clear-groups \
    --no-new-privs --bounding-set=-all --inh-caps=-all /bin/sh -c 'cd "$0" && exec "$@"' \
    "$folder" "$@"
"""


def missing_tools() -> str | None:
    """What this machine lacks, or None."""
    if os.geteuid() != 0:
        return "make test-image needs root"
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    return f"not installed: {', '.join(missing)} (Debian: apt install)" if missing else None


@dataclass(frozen=True)
class Image:
    """A built image.

    Attributes:
        config: what buildah knows of it.
        size: in bytes.
        root: the files of a container of it.
    """

    config: dict[str, Any]
    size: int
    root: Path

    @property
    def settings(self) -> dict[str, Any]:
        """User, environment, command and the like, as Docker has them."""
        settings: dict[str, Any] = self.config["Docker"]["config"]
        return settings

    def start(
        self, folder: Path, *command: str, environment: Mapping[str, str] | None = None
    ) -> subprocess.Popen[str]:
        """Start a command, or the image's own; `state` and `output` of `folder` are its volumes."""
        user = self.settings["User"]
        for name in ("state", "output"):
            (folder / name).mkdir(exist_ok=True)
            for path in (folder / name, *(folder / name).iterdir()):
                os.chown(path, *map(int, user.split(":")))
        words = command or self.settings["Cmd"]
        variables = [*self.settings["Env"], *(f"{n}={v}" for n, v in (environment or {}).items())]
        volumes = [str(folder / "state"), str(folder / "output")]
        place = [str(self.root), *volumes, user, self.settings["WorkingDir"]]
        namespaces = ["unshare", "--mount", "--pid", "--fork", "--kill-child"]
        inside = ["/usr/bin/env", "-i", *variables, *words]
        return subprocess.Popen(
            [*namespaces, "/bin/sh", "-c", _RUN, "sh", *place, *inside],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(
        self, folder: Path, *command: str, environment: Mapping[str, str] | None = None
    ) -> tuple[int, str]:
        """The exit code of a command, and what it printed."""
        process = self.start(folder, *command, environment=environment)
        output, _ = process.communicate(timeout=120)
        return process.returncode, output


def first_process(started: subprocess.Popen[str]) -> int:
    """The id, outside, of the process that is number 1 inside."""
    children = Path(f"/proc/{started.pid}/task/{started.pid}/children")
    while not (found := children.read_text(encoding="ascii").split()):
        assert started.poll() is None
    return int(found[0])


@contextmanager
def built_image(folder: Path) -> Iterator[Image]:
    """Build base and image in a store of their own, and remove all of it."""
    buildah = ["buildah", "--root", str(folder / "store"), "--runroot", str(folder / "run")]
    buildah += ["--storage-driver", "vfs"]
    base = Path(os.environ.get("TEST_IMAGE_BASE") or make_base(folder / "base"))
    container = call(*buildah, "from", "scratch")
    call(*buildah, "add", "--quiet", container, str(base), "/")
    call(*buildah, "commit", "--quiet", "--rm", container, BASE)
    build = ["bud", "--isolation", "chroot", "--pull-never", "--format", "docker"]
    build += ["--network", "host", *pip_options(folder), "--build-arg", f"BASE={BASE}"]
    call(*buildah, *build, "--build-arg", "REVISION=tested", "--tag", TAG, str(ROOT))
    (listed,) = json.loads(call(*buildah, "images", "--json", TAG))
    config = json.loads(call(*buildah, "inspect", "--type", "image", TAG))
    container = call(*buildah, "from", "--pull-never", TAG)
    try:
        yield Image(config, size_of(listed["size"]), Path(call(*buildah, "mount", container)))
    finally:
        call(*buildah, "rm", "--all")
        for name in ("base", "store"):
            shutil.rmtree(folder / name, ignore_errors=True)


def call(*command: str) -> str:
    """What a command prints; its messages are shown if it fails."""
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=900)
    assert done.returncode == 0, f"{command}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done.stdout.strip()


def size_of(text: str) -> int:
    """Bytes, for "179 MB"."""
    number, unit = text.split()
    return int(float(number) * {"KB": 10**3, "MB": 10**6, "GB": 10**9}[unit])


def make_base(folder: Path) -> Path:
    """Debian with Python, from the mirror that this machine itself uses.

    TEST_IMAGE_BASE names a folder with one that was made earlier, which saves some minutes.
    """
    call("debootstrap", "--variant=minbase", f"--include={PACKAGES}", SUITE, str(folder), mirror())
    for name in LEFT_OUT:
        shutil.rmtree(folder / name, ignore_errors=True)
    return folder


def mirror() -> str:
    """The first address of the machine's package sources."""
    files = [*Path("/etc/apt").glob("sources.list.d/debian*"), Path("/etc/apt/sources.list")]
    text = "".join(file.read_text(encoding="utf-8") for file in files if file.is_file())
    found = re.search(r"^(?:URIs:|deb(?: \[.*?\])?)\s+(https?://\S+)", text, re.MULTILINE)
    return found[1] if found else "http://deb.debian.org/debian"


def pip_options(folder: Path) -> list[str]:
    """Options of the build for pip to find packages as it does on this machine."""
    listed = call(sys.executable, "-m", "pip", "config", "list")
    pairs = [line.partition("=") for line in listed.splitlines()]
    settings = {name.partition(".")[2]: ast.literal_eval(value) for name, _, value in pairs}
    # Links of a local index may lead anywhere on this machine.
    used = {name: value for name, value in settings.items() if "file:" not in str(value)}
    file = folder / "pip.conf"
    lines = [f"{name} = {value}" for name, value in used.items()]
    file.write_text("\n".join(["[global]", *lines, ""]), encoding="utf-8")
    mounts = {str(file): "/etc/pip.conf"}
    words = " ".join(map(str, used.values())).split()
    mounts |= {word: word for word in words if word.startswith("/") and Path(word).exists()}
    return [part for here, there in mounts.items() for part in ("--volume", f"{here}:{there}:ro")]
