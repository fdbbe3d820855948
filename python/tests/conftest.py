from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from client_side import NEW_CUSTOMERS, connected, write_project
from platform_side import Platform, write_dataset
from running_platform import RunningPlatform

import martlet


@pytest.fixture
def dialled(tmp_path: Path) -> Iterator[Platform]:
    """A worker that has connected and has not been welcomed."""
    platform = Platform(tmp_path)
    try:
        yield platform
    finally:
        platform.close()


@pytest.fixture
def platform(dialled: Platform) -> Platform:
    """A worker ready for tasks."""
    dialled.hello()
    dialled.welcome()
    return dialled


@pytest.fixture
def customers(tmp_path: Path) -> Path:
    """400 rows: two numeric features that decide the label, a text, a time."""
    random = np.random.default_rng(7)
    orders = random.integers(0, 20, 400)
    spent = random.normal(50, 20, 400)
    city = random.choice(np.array(["Zürich", "Oslo", "東京"], dtype=object), 400)
    label = (orders + spent / 10 + random.normal(0, 1, 400)) > 15
    start = np.datetime64("2026-01-01", "us")
    return write_dataset(
        tmp_path / "customers.columns",
        {
            "event_timestamp": start + np.arange(400) * np.timedelta64(3600, "s"),
            "orders": orders,
            "spent": spent,
            "city": city,
            "label": label,
        },
        chunk_rows=150,
    )


@pytest.fixture(scope="session")
def client_platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningPlatform]:
    """A platform that the tests of the client share; each has customers of its own."""
    folder = tmp_path_factory.mktemp("client") / "project"
    folder.mkdir()
    write_project(folder)
    running = RunningPlatform(folder)
    try:
        with martlet.Client(running.address) as client:
            client.apply(folder, author="tests")
        yield running
    finally:
        status = running.stop()
    assert status == 0, running.log.read_text()


@pytest.fixture(params=["sync", "async"])
def client(request: pytest.FixtureRequest, client_platform: RunningPlatform) -> Iterator[Any]:
    with connected(request.param, client_platform.address) as client:
        yield client


@pytest.fixture
def customer() -> int:
    """A customer that no other test knows."""
    return next(NEW_CUSTOMERS)
