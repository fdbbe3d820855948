from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from platform_side import Platform, write_dataset


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
