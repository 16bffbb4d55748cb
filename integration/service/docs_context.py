"""What the template of `/docs` shows, from the OpenAPI document. Pure."""

from __future__ import annotations

import json
import shlex
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

if TYPE_CHECKING:
    from collections.abc import Sequence

# The parameters of the examples; those of the path that nothing is known for are in the document.
_QUERIES = {
    "/data": "plan_type=pro&page_size=2",
    "/data/export": "format=csv&entity=page_views",
    "/runs": "page_size=2",
    "/runs/{run_id}/users": "outcome=successful&page_size=1",
}


def docs_context(
    document: dict[str, Any],
    base: str,
    deliveries: Sequence[str],
    person: str,
    *,
    needs_token: bool,
) -> dict[str, Any]:
    """The paths.

    Args:
        document: the OpenAPI document.
        base: the address of this service, with a slash at the end.
        deliveries: the ids of the last delivery runs, newest first; the examples name them.
        person: an email for the examples.
        needs_token: whether a client has to send one.
    """
    return {
        "description": document["info"]["description"].replace("`", ""),
        "needs_token": needs_token,
        "paths": [
            {
                "path": path,
                "id": path.strip("/").replace("/", "-").replace("{", "").replace("}", ""),
                "summary": methods["get"]["description"].replace("`", ""),
                "parameters": [_parameter(one) for one in methods["get"].get("parameters", ())],
                "command": _command(path, base, deliveries, person, needs_token=needs_token),
                "example": _example(document, methods["get"]),
                "statuses": [
                    (status, response["description"])
                    for status, response in sorted(methods["get"]["responses"].items())
                ],
            }
            for path, methods in document["paths"].items()
        ],
    }


def _parameter(one: dict[str, Any]) -> dict[str, str]:
    schema = one["schema"]
    kinds = [schema, *schema.get("anyOf", ())]
    allowed = next((kind["enum"] for kind in kinds if "enum" in kind), None)
    kind = next((str(kind["type"]) for kind in kinds if kind.get("type", "null") != "null"), "")
    default = schema.get("default")
    return {
        "name": one["name"],
        "place": one["in"],
        "text": (one.get("description") or schema.get("description") or "").replace("`", ""),
        "kind": " | ".join(map(str, allowed)) if allowed else kind,
        "default": "–" if default is None else json.dumps(default).strip('"'),
    }


def _command(
    path: str, base: str, deliveries: Sequence[str], person: str, *, needs_token: bool
) -> str:
    """A curl command that works as it is, if there has been a delivery."""
    newest = deliveries[0] if deliveries else "delivery-1"
    before = deliveries[1] if len(deliveries) > 1 else newest
    queries = {**_QUERIES, "/compare-runs": f"run1={before}&run2={newest}"}
    filled = path.replace("{run_id}", newest).replace("{email}", quote(person, safe="@"))
    url = f"{base.rstrip('/')}{filled}"
    if path in queries:
        url = f"{url}?{queries[path]}"
    header = ' -H "Authorization: Bearer $SERVICE_TOKEN"' if needs_token and path != "/live" else ""
    # Not shlex.quote alone, which leaves simple addresses bare.
    quoted = shlex.quote(url) if "'" in url else f"'{url}'"
    return f"curl -sS{header} {quoted}"


def _example(document: dict[str, Any], operation: dict[str, Any]) -> str | None:
    content = operation["responses"]["200"].get("content", {}).get("application/json", {})
    reference = content.get("schema", {}).get("$ref", "")
    schema = document["components"]["schemas"].get(reference.rpartition("/")[2], {})
    examples = schema.get("examples")
    return json.dumps(examples[0], indent=2, ensure_ascii=False) if examples else None
