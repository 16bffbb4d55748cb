"""The sandbox as a separate process, for tests, benchmarks and the demo."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import quote
from urllib.request import ProxyHandler, Request, build_opener

from sandbox.options import SandboxOptions

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import TracebackType

_READY_PREFIX = "Iterable sandbox listening on "
_STOP_SECONDS = 5.0
_PROJECT_ROOT = Path(__file__).resolve().parent.parent


class ServerProcess:
    """A running mock server; use it as a context manager.

    The child listens on a loopback port and ends with this process, however
    that ends: it holds the other end of the child's standard input.
    """

    def __init__(self, module: str, ready_prefix: str, arguments: list[str], port: int) -> None:
        self._module = module
        self._ready_prefix = ready_prefix
        self._arguments = arguments
        self.url = ""
        self._port = port
        self._process: subprocess.Popen[str] | None = None
        # A proxy in the environment must not come between us and the loopback.
        self._opener = build_opener(ProxyHandler({}))

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start the server and wait until it listens.

        Raises:
            RuntimeError: it ended before that; its message is on standard error.
        """
        command = [sys.executable, "-m", self._module, f"--port={self._port}", "--stop-with-stdin"]
        self._process = subprocess.Popen(  # noqa: S603 - our own module, no shell
            [*command, *self._arguments],
            cwd=_PROJECT_ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            # Ctrl-C is for the run, which ends this process after its calls have finished.
            start_new_session=True,
        )
        assert self._process.stdout
        line = self._process.stdout.readline().strip()
        if not line.startswith(self._ready_prefix):
            self.stop()
            raise RuntimeError(f"The mock server did not start: {line or 'no output'}")
        self.url = line.removeprefix(self._ready_prefix)

    def stop(self) -> int | None:
        """End the server and return its exit code; None when it does not run."""
        process, self._process = self._process, None
        if process is None:
            return None
        process.terminate()
        try:
            return process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            return process.wait()
        finally:
            for pipe in (process.stdin, process.stdout):
                if pipe:
                    pipe.close()

    @property
    def pid(self) -> int | None:
        """The server's process id while it runs."""
        return self._process.pid if self._process else None

    def stats(self) -> dict[str, Any]:
        """Return the counts of calls, answers, items, faults and connections."""
        stats: dict[str, Any] = self._call("stats")
        return stats

    def cpu_seconds(self) -> float:
        """Return the CPU time that the server has used so far."""
        return float(self.stats()["cpu_seconds"])

    def _call(self, path: str, content: object = None) -> Any:  # noqa: ANN401 - JSON
        body = None if content is None else json.dumps(content).encode()
        request = Request(f"{self.url}/_sandbox/{path}", data=body)  # noqa: S310 - our own http
        with self._opener.open(request, timeout=60) as response:
            return json.load(response)


class SandboxProcess(ServerProcess):
    """A running `python -m sandbox`."""

    def __init__(self, options: SandboxOptions | None = None, *, port: int = 0) -> None:
        self.options = options or SandboxOptions()
        super().__init__("sandbox", _READY_PREFIX, self.options.to_arguments(), port)

    def state(self) -> dict[str, Any]:
        """Return all users and events: `{"users": {email: …}, "events": {id: …}}`."""
        state: dict[str, Any] = self._call("state")
        return state

    def calls(self, limit: int = 10_000) -> list[dict[str, Any]]:
        """Return the last write calls, oldest first."""
        calls: list[dict[str, Any]] = self._call(f"calls?limit={limit}")
        return calls

    def faults(self, script: Sequence[Mapping[str, Any]]) -> None:
        """Append faults to the script."""
        self._call("faults", list(script))

    def rates(self, rates: Mapping[str, float], seed: int = 1) -> None:
        """Make write calls fail at random, e.g. `{"status:503": 0.05}`."""
        self._call("faults", {"rates": dict(rates), "seed": seed})

    def configure(self, **options: object) -> None:
        """Change options of the running server; limits start with full buckets."""
        self._call("configure", options)

    def reset(self) -> None:
        """Forget users, events, counts and faults."""
        self._call("reset", {})

    def overwrite(self, email: str, data_fields: Mapping[str, Any]) -> None:
        """Change fields of a profile, as another system would."""
        self._call(f"users/{quote(email, safe='')}", dict(data_fields))
