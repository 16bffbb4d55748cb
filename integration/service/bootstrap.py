"""`cli.py serve`: the parts of the service put together."""

from __future__ import annotations

import logging
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING

from integration.core.hosts import address_text
from integration.database.reading import ReadPool
from integration.service.access import Access
from integration.service.app import create_app
from integration.service.parts import IngestParts, Parts, Remembered
from integration.service.server import listening, serve

if TYPE_CHECKING:
    from pathlib import Path

    from integration.config.service_settings import ServiceSettings
    from integration.core.shutdown import Stop
    from integration.database.settings import DatabaseSettings

__all__ = ["IngestParts", "serve_window"]

logger = logging.getLogger(__name__)


def serve_window(
    settings: ServiceSettings,
    database: DatabaseSettings,
    journal: Path,
    ingest: IngestParts,
    stop: Stop,
    *,
    delivery_every_hours: float | None = None,
) -> None:
    """Serve until `stop`.

    Raises:
        ConfigurationError: the address cannot be used.
    """
    with (
        listening(settings.service_host, settings.service_port) as listener,
        closing(ReadPool(database)) as pool,
    ):
        parts = Parts(
            pool=pool,
            journal=journal,
            access=Access(settings.service_token),
            ingest=replace(ingest, has_tables=Remembered(ingest.has_tables)),
            is_masked=settings.service_masked,
            delivery_every_hours=delivery_every_hours,
        )
        port = listener.getsockname()[1]
        address = f"http://{address_text(settings.service_host, port)}/"
        serve(
            create_app(parts),
            listener,
            stop,
            lambda: logger.info("The window is at %s (Ctrl-C ends it)", address),
        )
