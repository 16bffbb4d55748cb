"""A Spark Connect server with two executors, each a process of its own, on loopback.

SPARK_SERVER_PYTHON names a Python with the package pyspark, which has Spark itself.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from sandbox.private_mysql import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PYTHON = "SPARK_SERVER_PYTHON"
START_SECONDS = 600
STOP_SECONDS = 30
EXECUTORS = 2
LOG = "spark.log"
_READY = "Spark Connect server started"


@contextmanager
def spark_connect(folder: Path, executors: int = EXECUTORS) -> Iterator[str]:
    """The server's address, as DATABASE_URL."""
    port = free_port()
    home = subprocess.run(
        [os.environ[PYTHON], "-c", "import pyspark; print(pyspark.__path__[0])"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    settings = {
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.connect.grpc.binding.address": "127.0.0.1",
        "spark.connect.grpc.binding.port": port,
        "spark.ui.enabled": "false",
        "spark.sql.warehouse.dir": folder / "warehouse",
        "spark.sql.session.timeZone": "America/New_York",  # a session that sets none fails a test
    }
    with (folder / LOG).open("wb") as log:
        process = subprocess.Popen(
            [
                *(f"{home}/bin/spark-submit", "--driver-memory", "1g"),
                *("--class", "org.apache.spark.sql.connect.service.SparkConnectServer"),
                *("--master", f"local-cluster[{executors},1,1024]"),
                *(part for item in settings.items() for part in ("--conf", "{}={}".format(*item))),
                "spark-internal",
            ],
            cwd=folder,
            env={**os.environ, "SPARK_HOME": home, "SPARK_LOCAL_IP": "127.0.0.1"},
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        _wait_until_it_is_ready(process, folder / LOG)
        yield f"sc://127.0.0.1:{port}"
    finally:
        _stop(process)


def _wait_until_it_is_ready(process: subprocess.Popen[bytes], log: Path) -> None:
    give_up = time.monotonic() + START_SECONDS
    while _READY not in log.read_text(errors="replace"):
        if process.poll() is not None or time.monotonic() > give_up:
            raise RuntimeError(f"Spark does not start: {log.read_text(errors='replace')[-2000:]}")
        time.sleep(0.2)


def _stop(process: subprocess.Popen[bytes]) -> None:
    """The server ends its executors, which are in its process group."""
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
