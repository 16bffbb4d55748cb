"""The worked examples of docs/queries.md, each on a real database against the mock server."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.runs import environment_for, run

if TYPE_CHECKING:
    from db_connection import DatabaseSettings
    from sandbox.process import SandboxProcess
    from tests.support.mysql_server import MySQLServer

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "queries.md").read_text(encoding="utf-8")
EXAMPLES = [part.partition("\n") for part in PAGE.split("\n## Example: ")[1:]]
_BLOCK = re.compile(r"(?:^(\S+/\S+):\n\n)?```(sql|json)\n(.*?)```", re.DOTALL | re.MULTILINE)
_PAYLOAD = re.compile(r"Calling (\S+) for email: \S+ Payload: (\{.*\})$", re.MULTILINE)


def typed(value: Any) -> Any:
    """A value with the type of each part."""
    if isinstance(value, dict):
        return {name: typed(one) for name, one in value.items()}
    return [typed(one) for one in value] if isinstance(value, list) else (type(value), value)


@pytest.mark.parametrize("example", [text for _, _, text in EXAMPLES], ids=[e[0] for e in EXAMPLES])
def test_the_bodies_of_an_example_are_those_of_the_page(
    tmp_path: Path,
    mysql_server: MySQLServer,
    empty_database: DatabaseSettings,
    sandbox: SandboxProcess,
    example: str,
) -> None:
    """Field by field and type by type, as they are sent and as the mock server stores them."""
    (_, _, setup), (_, _, query), *bodies = _BLOCK.findall(example)
    mysql_server.run(*filter(str.strip, setup.split(";")), name=empty_database.name)
    (tmp_path / "own.sql").write_text(query, encoding="utf-8")

    variables = {**environment_for(tmp_path, sandbox, empty_database), "QUERY_FILE": "own.sql"}
    result = run(tmp_path, variables)

    assert (result.exit_code, result.stderr) == (0, "")
    expected = {call: [json.loads(line) for line in text.splitlines()] for call, _, text in bodies}
    found: dict[str, list[Any]] = {}
    for call, text in _PAYLOAD.findall(result.log):
        found.setdefault(call, []).append(json.loads(text))
    for body in found.get("events/track", []):
        assert re.fullmatch(r"[0-9a-f-]{36}", body["id"])
        body["id"] = "EVENT-ID"
    assert typed(found) == typed(expected)
    state = sandbox.state()
    assert {email: user["dataFields"] for email, user in state["users"].items()} == {
        body["email"].lower(): body["dataFields"] for body in expected["users/update"]
    }
    assert [event["dataFields"] for event in state["events"].values()] == [
        body["dataFields"] for body in expected.get("events/track", [])
    ]


def test_the_page_has_the_three_examples() -> None:
    """A page that is split in another way would test nothing."""
    assert len(EXAMPLES) == 3
    assert all(len(_BLOCK.findall(text)) >= 3 for _, _, text in EXAMPLES)
