"""The files around the program agree with it: image, compose, manifests, workflow."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from integration.config.arguments import __version__
from integration.config.ingest_settings import INGEST_SECRET_VARIABLES, INGEST_VARIABLES
from integration.config.service_settings import SERVICE_SECRET_VARIABLES, SERVICE_VARIABLES
from integration.config.settings import VARIABLES

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
COMPOSE = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
WORKFLOW = (ROOT / ".github/workflows/ci-cd.yml").read_text(encoding="utf-8")
MANIFESTS = ROOT / "deploy/kubernetes/iterable-integration.yaml"
SECRETS = {*INGEST_SECRET_VARIABLES, *SERVICE_SECRET_VARIABLES, "DATABASE_URL", "CRM_TOKEN"}
KNOWN = {
    *VARIABLES,
    *INGEST_VARIABLES,
    *SERVICE_VARIABLES,
    *(f"{name}_FILE" for name in SECRETS),
}
RUNNABLE = {path.name for path in (ROOT / "deploy/image").iterdir()}


def programs() -> Iterator[dict[str, Any]]:
    """The containers of the manifests."""
    for document in yaml.safe_load_all(MANIFESTS.read_text(encoding="utf-8")):
        spec = document.get("spec", {}) if document["kind"] != "Service" else {}
        spec = spec.get("jobTemplate", {}).get("spec", spec)
        yield from spec.get("template", {}).get("spec", {}).get("containers", [])


def config_maps() -> dict[str, str]:
    """The settings that all containers of the manifests have."""
    documents = yaml.safe_load_all(MANIFESTS.read_text(encoding="utf-8"))
    (settings,) = [d for d in documents if d["metadata"]["name"] == "iterable-settings"]
    return dict(settings["data"])


def test_compose_sets_only_what_the_program_reads() -> None:
    """A misspelt setting would silently have its default."""
    services = yaml.safe_load(COMPOSE)["services"]
    names = {n for s, one in services.items() if s != "db" for n in one.get("environment", {})}
    assert names - KNOWN == set()
    commands = {one["command"][0] for name, one in services.items() if name != "db"}
    assert commands - RUNNABLE == {"python"}


@pytest.mark.parametrize("program", list(programs()), ids=lambda program: program["name"])
def test_a_manifest_sets_only_what_the_program_reads(program: dict[str, Any]) -> None:
    """And starts a command of the image, confined, without a secret in its environment."""
    names = {one["name"] for one in program["env"]} | config_maps().keys()
    assert names - KNOWN == set()
    assert not names & SECRETS
    assert program["args"][0] in RUNNABLE
    assert program["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def test_the_image_has_the_version_of_the_program() -> None:
    """And the manifests start that one."""
    assert f"ARG VERSION={__version__}\n" in DOCKERFILE
    assert {program["image"].rpartition(":")[2] for program in programs()} == {__version__}


def test_compose_builds_on_the_same_base() -> None:
    """What BASE is without being set."""
    (base,) = re.findall(r"^ARG BASE=(\S+)$", DOCKERFILE, re.MULTILINE)
    assert f"${{BASE:-{base}}}" in COMPOSE


def test_the_user_of_the_image_is_the_same_everywhere() -> None:
    """In the Dockerfile and in the manifests."""
    users = set(re.findall(r"^USER (\d+):\1$", DOCKERFILE, re.MULTILINE))
    manifests = MANIFESTS.read_text(encoding="utf-8")
    assert users == set(re.findall(r"(?:runAsUser|runAsGroup|fsGroup): (\d+)", manifests))


def test_the_workflow_covers_the_promised_versions() -> None:
    """Python as in pyproject.toml, and the newest; both databases, old and new."""
    job = yaml.safe_load(WORKFLOW)["jobs"]["check"]
    assert job["strategy"]["matrix"] == {
        "python": ["3.11", "3.12", "3.13", "3.14"],
        "database": ["mysql:8.4", "mysql:9", "mariadb:10.11", "mariadb:11.8"],
    }


def test_the_workflow_pins_each_action_by_its_commit() -> None:
    """With the version in a comment; rights are given to single jobs only."""
    uses = re.findall(r"uses: (.*)", WORKFLOW)
    assert uses
    assert [one for one in uses if not re.fullmatch(r"\S+@[0-9a-f]{40} # v[\d.]+", one)] == []
    assert yaml.safe_load(WORKFLOW)["permissions"] == {}


def test_make_clean_removes_no_volume() -> None:
    """Neither does make down."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    recipes = re.findall(r"^(clean|down):.*\n((?:\t.*\n?)+)", makefile, re.MULTILINE)
    assert len(recipes) == 2
    for _, recipe in recipes:
        assert not re.search(r"volume|-v\b|secrets|prune", recipe)
