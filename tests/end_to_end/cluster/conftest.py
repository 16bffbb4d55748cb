"""Collected by `make test-cluster` only: a cluster needs three servers and a minute."""

from __future__ import annotations

import os

collect_ignore_glob = [] if os.environ.get("TEST_CLUSTER") == "1" else ["test_*.py"]
