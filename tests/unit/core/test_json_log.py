"""Log records as JSON."""

from __future__ import annotations

import json
import logging
import sys

from integration.core.json_log import JsonFormatter
from integration.core.log_context import naming_run
from integration.core.redaction import SecretMask


def line_of(message: str, *values: object, **fields: object) -> str:
    """A record of the logger a.b, with the secret geheim."""
    record = logging.LogRecord("a.b", logging.WARNING, "a.py", 1, message, values, None)
    vars(record).update(fields)
    return JsonFormatter(SecretMask(["geheim", '"level"'])).format(record)


def test_a_record_is_one_line_of_ascii() -> None:
    """Whatever its text contains; half of a surrogate pair, too."""
    text = 'a\nb\u2028c\r\x1b[31m é \ud800 "quoted" see http://host, x@y'
    line = line_of("%s", text)

    assert line.isascii()
    assert line.isprintable()
    found = json.loads(line)
    assert found["message"] == 'a\nb\u2028c\r\x1b[31m é \ud800 "quoted" see http://***@y'
    assert (found["logger"], found["level"]) == ("a.b", "WARNING")


def test_secrets_are_masked_in_each_text() -> None:
    """Even one that the names of the fields contain leaves the line JSON."""
    try:
        int("geheim 1")
    except ValueError:
        line = line_of("geheim %s", 2, exc_info=sys.exc_info(), stack_info="geheim 3")

    found = json.loads(line)
    assert "geheim" not in line
    assert found["message"] == "*** 2"
    assert found["exception"].endswith("with base 10: '*** 1'")
    assert found["stack"] == "*** 3"


def test_lines_of_a_run_have_its_id() -> None:
    """Until its end."""
    with naming_run("7"):
        inside = json.loads(line_of("text"))
    assert inside["run_id"] == "7"
    assert "run_id" not in json.loads(line_of("text"))
