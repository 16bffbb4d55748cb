"""A mock Iterable server over real HTTP, and a private database server."""

from __future__ import annotations

from sandbox.options import DEFAULT_API_KEY, SandboxOptions
from sandbox.process import SandboxProcess

__all__ = ["DEFAULT_API_KEY", "SandboxOptions", "SandboxProcess"]
