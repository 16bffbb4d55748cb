"""A mock API of customers and page views, with all styles of pagination and faults on demand."""

from __future__ import annotations

from sandbox.source.options import SourceOptions
from sandbox.source.process import SourceProcess

__all__ = ["SourceOptions", "SourceProcess"]
