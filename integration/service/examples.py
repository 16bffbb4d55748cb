"""The examples of the OpenAPI document."""

from typing import Any

from pydantic import ConfigDict

AT = "2026-11-21T06:00:03.104Z"
ENVELOPE = {"request_id": "5f0c7e9a1b2c3d4e", "api_latency_ms": 1.7}
INGEST = {
    "id": "ingest-12",
    "type": "ingest",
    "name": "crm",
    "kind": "http",
    "status": "completed",
    "started_at": "2026-11-21T06:00:00Z",
    "finished_at": AT,
    "seconds": 3.104,
    "rate": 38.66,
    "counts": {"records": 120, "inserted": 110, "updated": 4, "unchanged": 0, "rejected": 6},
    "retries": 0,
    "error": None,
}
DELIVERY_COUNTS = {
    "users": 41,
    "successful": 40,
    "partial": 0,
    "failed": 1,
    "not_attempted": 0,
    "unchanged": 0,
}
DELIVERY = {
    **INGEST,
    "id": "delivery-7",
    "type": "delivery",
    "name": "0b6d0f1e-52a7-4b5a-9a36-0c8f54f0a7d2",
    "kind": "full",
    "sync": None,
    "counts": DELIVERY_COUNTS,
}


def example_of(**values: Any) -> ConfigDict:  # noqa: ANN401  of many types
    """The example of a JSON answer."""
    example: dict[str, Any] = {
        "request_id": ENVELOPE["request_id"],
        **values,
        "api_latency_ms": ENVELOPE["api_latency_ms"],
    }
    return ConfigDict(json_schema_extra={"examples": [example]})
