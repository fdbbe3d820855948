"""The two clients in one shape, so that every test runs with both, and what they are tested on."""

from __future__ import annotations

import functools
import itertools
import random
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import anyio.from_thread

from martlet import AsyncClient, Client

NOW = datetime.now(UTC).replace(microsecond=0)
DAY = timedelta(days=1)

NEW_CUSTOMERS = itertools.count(1)
"""Keys that no other test of this process uses."""

PROJECT = """\
project: client_tests

entities:
  customer: {key: [customer_id]}
  shop_day: {key: [shop, day]}
  everyone: {key: []}

sources:
  orders:
    event_time: ordered_at
    event_id: order_id
    columns:
      customer_id: int64
      amount: double
      note: string
      gift: bool
      items: int64
      sent_at: timestamp
      place: double[2]
      tags: string[]
    checks: {customer_id: {required: true}, amount: {min: 0}}
  visits:
    event_time: at
    columns: {customer_id: int64, pages: int64}
  takings:
    event_time: at
    zone: Europe/Vienna
    columns: {shop: string, day: int64, total: double}
  pings:
    event_time: at
    columns: {level: int64, point: "double[3]", marks: "string[]"}
  outcomes:
    event_time: known_at
    columns: {customer_id: int64, asked_at: timestamp, left: bool}

views:
  orders:
    entity: customer
    source: orders
    features:
      amount: {latest: amount}
      amount_2d: {latest: amount, ttl: 2d}
      note: {latest: note}
      gift: {latest: gift}
      items: {latest: items}
      sent_at: {latest: sent_at}
      place: {latest: place}
      tags: {latest: tags}
      count_30d: {count: "*", window: 30d}
      sum_30d: {sum: amount, window: 30d}
      mean_30d: {derived: sum_30d / count_30d}
  visits:
    entity: customer
    source: visits
    features:
      count_1d: {count: "*", window: 1d}
  world:
    entity: everyone
    source: pings
    features:
      level: {latest: level}
      point: {latest: point}
      marks: {latest: marks}
      pings_1d: {count: "*", window: 1d}
      last_levels: {last_k: level, k: 3, window: 1d}
  takings:
    entity: shop_day
    source: takings
    features:
      total: {latest: total}

models:
  churn:
    features: [orders.amount, orders.count_30d, orders.mean_30d]
    spine: {source: outcomes, time: asked_at}
    label: {source: outcomes, value: left, delay: 7d}
    train: {run: train.py:train, data: 180d, metric: roc_auc}
  broken:
    features: [orders.amount]
    spine: {source: outcomes, time: asked_at}
    label: {source: outcomes, value: left, delay: 7d}
    train: {run: train.py:fail, data: 180d, metric: roc_auc}
"""

TRAINING = """\
from sklearn.ensemble import HistGradientBoostingClassifier


def train(dataset, context):
    return HistGradientBoostingClassifier(random_state=1).fit(dataset.X, dataset.y)


def fail(dataset, context):
    raise ValueError("there is nothing to learn here")
"""

ALL_TYPES = [f"orders.{n}" for n in ("note", "gift", "items", "sent_at", "place", "tags")]


def write_project(folder: Path) -> None:
    (folder / "martlet.yaml").write_text(PROJECT)
    (folder / "train.py").write_text(TRAINING)


class Awaited:
    """An `AsyncClient` whose calls are waited for, on an event loop of their own thread."""

    def __init__(self, client: AsyncClient, portal: Any) -> None:
        self._client = client
        self._portal = portal

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._client, name)
        if not callable(found):
            return found
        return lambda *args, **named: self._portal.call(functools.partial(found, *args, **named))


@contextmanager
def connected(kind: str, address: str | None = None, **options: Any) -> Iterator[Any]:
    """A client of the kind `sync` or `async`, closed in the end."""
    if kind == "sync":
        with Client(address, **options) as client:
            yield client
        return
    with anyio.from_thread.start_blocking_portal() as portal:
        client = AsyncClient(address, **options)
        with portal.wrap_async_context_manager(client):
            yield Awaited(client, portal)


def order(customer: int, at: datetime = NOW, **values: Any) -> dict[str, Any]:
    """An order with an id that no other has."""
    numbers = {"order_id": random.getrandbits(48), "customer_id": customer}
    return numbers | {"ordered_at": at, **values}


def put_in_production(client: Client) -> int:
    """Trains the model churn on some customers from 0 on and promotes it; the version."""
    chance = random.Random(4)
    orders, outcomes = [], []
    for customer in range(200):
        asked = NOW - timedelta(days=chance.uniform(9, 90))
        orders.append(order(customer, asked, amount=chance.uniform(1, 90)))
        outcomes.append(
            {
                "customer_id": customer,
                "asked_at": asked,
                "known_at": asked + 7 * DAY,
                "left": chance.random() < 0.5,
            }
        )
    client.push("orders", orders)
    client.push("outcomes", outcomes)
    version = client.train("churn").version
    assert version is not None
    client.promote("churn", version, who="tests", why="the first")
    return version
