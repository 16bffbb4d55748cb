"""Stand-ins for what the program talks to: an Iterable API over real HTTP."""

from __future__ import annotations

from sandbox.options import DEFAULT_API_KEY, SandboxOptions
from sandbox.process import SandboxProcess

__all__ = ["DEFAULT_API_KEY", "SandboxOptions", "SandboxProcess"]
