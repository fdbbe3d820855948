"""With a key, only versions that it has signed are opened."""

from __future__ import annotations

import json
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from client_side import put_in_production, write_project
from running_platform import RunningPlatform, needs_binary

import martlet

KEY = "0123456789abcdef0123456789abcdef"

pytestmark = needs_binary


@contextmanager
def platform(folder: Path, key: str | None) -> Iterator[tuple[RunningPlatform, martlet.Client]]:
    running = RunningPlatform(folder, {} if key is None else {"MARTLET_WORKERS_ARTIFACT_KEY": key})
    try:
        with martlet.Client(running.address) as client:
            yield running, client
    finally:
        status = running.stop()
    assert status == 0, running.log.read_text()


def command(running: RunningPlatform, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["martlet", *words],
        cwd=running.folder,
        env=running.environment,
        capture_output=True,
        text=True,
        check=False,
    )


def refusal(client: martlet.Client) -> str:
    with pytest.raises(martlet.MartletError) as refused:
        client.predict("churn", {"customer_id": 7})
    return str(refused.value)


def signature(running: RunningPlatform, version: int) -> str:
    shown = command(running, "models", "show", "churn", str(version), "--json")
    return str(json.loads(shown.stdout)["artifact_signature"])


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, int]]:
    """A project with a version in production from before there was a key."""
    folder = tmp_path_factory.mktemp("safety") / "project"
    folder.mkdir()
    write_project(folder)
    with platform(folder, None) as (running, client):
        client.apply(folder, author="tests")
        version = put_in_production(client)
        assert client.predict("churn", {"customer_id": 7}).version == version
        assert signature(running, version) == "unchecked"
        warnings = [
            line for line in running.log.read_text().splitlines() if "artifact_key_file" in line
        ]
        assert len(warnings) == 1
        refused = command(running, "models", "sign", "churn")
        assert refused.returncode == 1 and "there is no key" in refused.stderr
    yield folder, version


def test_an_unsigned_version_is_refused_until_it_is_signed(project: tuple[Path, int]) -> None:
    folder, version = project
    with platform(folder, KEY) as (running, client):
        assert signature(running, version) == "unsigned"
        assert f"martlet models sign churn {version}" in refusal(client)
        signed = command(running, "models", "sign", "churn")
        assert signed.returncode == 0, signed.stderr
        assert signature(running, version) == "valid"
        assert client.predict("churn", {"customer_id": 7}).version == version
        # What is trained from now on is signed when it is published.
        newer = client.train("churn").version
        assert newer is not None and signature(running, newer) == "valid"
        client.promote("churn", newer, who="tests", why="signed")
        client.promote("churn", version, who="tests", why="back")
    with platform(folder, KEY + "another") as (running, client):
        assert signature(running, version) == "other_key"
        assert "signed with another key" in refusal(client)


def test_a_record_that_was_changed_is_refused_and_not_signed(project: tuple[Path, int]) -> None:
    folder, version = project
    with platform(folder, KEY) as (running, _):
        assert command(running, "models", "sign", "churn").returncode == 0
    with sqlite3.connect(folder / "martlet-data" / "catalog.sqlite") as catalog:
        (text,) = catalog.execute(
            "SELECT record FROM model_versions WHERE version = ?", [version]
        ).fetchone()
        record = json.loads(text)
        record["features"].reverse()
        catalog.execute(
            "UPDATE model_versions SET record = ? WHERE version = ?", [json.dumps(record), version]
        )
    catalog.close()
    with platform(folder, KEY) as (running, client):
        assert signature(running, version) == "wrong"
        assert "was changed after it was signed" in refusal(client)
        signed = command(running, "models", "sign", "churn", str(version))
        assert signed.returncode == 1 and "was changed after" in signed.stderr
