"""Collected by `make test-spark` only: a cluster needs Java and a minute."""

from __future__ import annotations

import os

collect_ignore_glob = [] if "SPARK_SERVER_PYTHON" in os.environ else ["test_*.py"]
