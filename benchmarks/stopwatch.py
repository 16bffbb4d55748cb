"""Run a command and report its cost as JSON.

    python -I -S stopwatch.py REPORT COMMAND...

A separate, small script: on Linux the peak memory of a process counts that of the
process that started it, which here is this one and not the whole benchmark.
"""

import json
import os
import sys
import time
from pathlib import Path


def main() -> None:
    """Start the command, wait for its end, write the report."""
    report, *command = sys.argv[1:]
    started_unix_time = time.time()
    started = time.monotonic()
    process = os.posix_spawn(command[0], command, os.environ)
    _, status, usage = os.wait4(process, 0)
    seconds = time.monotonic() - started
    figures = {
        "exit_code": os.waitstatus_to_exitcode(status),
        "started_unix_time": started_unix_time,
        "seconds": seconds,
        "cpu_seconds": usage.ru_utime + usage.ru_stime,
        "peak_bytes": usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024),
    }
    Path(report).write_text(json.dumps(figures), encoding="utf-8")


if __name__ == "__main__":
    main()
