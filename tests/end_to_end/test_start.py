"""What the start and the exit do not spend time on."""

from __future__ import annotations

import subprocess
import sys

from tests.support.runs import MAIN

# Runs main.py as a script. Prints the state of the garbage collector after it, and at the exit the
# number of objects that Python is about to search.
COLLECTOR = f"""
import atexit, gc, runpy, sys
atexit.register(lambda: print(len(gc.get_objects())))
sys.argv = ["main.py", "--version"]
sys.path.insert(0, {str(MAIN.parent)!r})
try:
    runpy.run_path({str(MAIN)!r}, run_name="__main__")
except SystemExit:
    print(gc.isenabled(), gc.get_freeze_count() > 10_000)
"""


def test_the_garbage_collector_ignores_what_was_imported() -> None:
    """It is on again during the run, and has nothing to search at the exit."""
    ran = subprocess.run(
        [sys.executable, "-c", COLLECTOR], capture_output=True, text=True, check=True
    )

    version, state, objects_at_exit = ran.stdout.splitlines()
    assert version.startswith("main.py ")
    assert state == "True True"
    assert int(objects_at_exit) < 1_000
