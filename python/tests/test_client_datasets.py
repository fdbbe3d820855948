"""Saved training sets, backfills, and features of everything, by both Python clients."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from client_side import DAY, NOW, order
from running_platform import needs_binary

import martlet

pytestmark = needs_binary


def spine(customer: int) -> pd.DataFrame:
    return pd.DataFrame({"customer_id": [customer, customer], "at": [NOW - DAY, NOW]})


# MARK: datasets


def test_a_saved_set_keeps_its_rows_whatever_comes_later(client: Any, customer: int) -> None:
    client.push("orders", [order(customer, NOW - 2 * DAY, amount=3.0, tags=["a", "b"])])
    saved = client.create_dataset(
        f"set-{customer}",
        features=["orders.amount", "orders.tags"],
        spine=spine(customer),
        time="at",
        mode="as_corrected",
    )
    assert isinstance(saved, martlet.Dataset)
    assert (saved.rows, saved.model, saved.time_column) == (2, None, "at")
    assert saved.features == ("orders.amount", "orders.tags")
    client.push("orders", [order(customer, NOW - 3 * DAY / 2, amount=99.0)])
    frame = client.read_dataset(saved)
    assert frame["orders.amount"].tolist() == [3.0, 3.0]
    assert [list(tags) for tags in frame["orders.tags"]] == [["a", "b"]] * 2
    assert frame["at"].tolist() == [NOW - DAY, NOW]
    assert isinstance(client.read_dataset(saved.id, as_="polars"), pl.DataFrame)
    assert client.get_dataset(saved.name) == client.get_dataset(saved) == saved
    assert saved.id in [found.id for found in client.list_datasets()]
    verdict = client.verify_dataset(saved)
    assert verdict.reproduced and verdict.same_file
    assert verdict.recomputed_hash == verdict.row_hash == saved.row_hash


def test_a_set_is_made_of_a_file_of_a_query_or_as_it_was_known(
    client: Any, customer: int, tmp_path: Path
) -> None:
    client.push("orders", [order(customer, NOW - 2 * DAY, amount=5.0)])
    path = tmp_path / "spine.csv"
    spine(customer).to_csv(path, index=False)
    of_file = client.create_dataset(
        "of-file", features=["orders.amount"], spine=path, time="at", mode="as_known"
    )
    # Nothing of it was stored a day ago.
    assert client.read_dataset(of_file)["orders.amount"].isna().tolist()[0]
    query = f"SELECT {customer} AS customer_id, ordered_at AS at FROM (SELECT event_timestamp AS "
    query += f"ordered_at FROM events_orders WHERE customer_id = {customer})"
    of_query = client.create_dataset(
        "of-query", features=["orders.amount"], spine_sql=query, time="at"
    )
    assert client.read_dataset(of_query, as_="arrow").column("orders.amount").to_pylist() == [5.0]
    assert of_query.spine.startswith("query: ")
    before = client.create_dataset(
        "before", features=["orders.amount"], spine=path, time="at", as_of=NOW - 9 * DAY
    )
    assert before.as_of == NOW - 9 * DAY
    assert client.read_dataset(before)["orders.amount"].isna().all()


def test_a_set_is_exported_whole_or_not_at_all(client: Any, customer: int, tmp_path: Path) -> None:
    client.push("orders", [order(customer, NOW - 2 * DAY, amount=5.0)])
    saved = client.create_dataset(
        "out", features=["orders.amount"], spine=spine(customer), time="at"
    )
    parquet = client.export_dataset(saved, tmp_path / "out.parquet")
    pd.testing.assert_frame_equal(pd.read_parquet(parquet), pd.read_parquet(parquet))
    assert pd.read_parquet(parquet)["orders.amount"].tolist() == [5.0, 5.0]
    text = client.export_dataset("out", tmp_path / "out.txt", format="csv").read_text()
    assert text.splitlines()[0] == "customer_id,at,orders.amount"
    with pytest.raises(martlet.NotFoundError):
        client.export_dataset("nothing", tmp_path / "nothing.csv")
    with pytest.raises(martlet.InvalidArgumentError, match="cannot be written"):
        client.export_dataset(saved, tmp_path / "no such folder" / "out.csv")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.parquet", "out.txt"]


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"model": "churn", "features": ["orders.amount"]},
        {"features": ["orders.amount"]},
        {"spine": "spine.csv"},
        {"features": ["orders.amount"], "spine": "a.csv", "spine_sql": "SELECT 1"},
        {"features": [], "spine_sql": "SELECT 1"},
        {"features": ["orders.amount"], "spine": 7},
    ],
)
def test_what_a_set_is_of_must_be_said_once(client: Any, given: dict[str, Any]) -> None:
    with pytest.raises(martlet.InvalidArgumentError):
        client.create_dataset("x", **given)


# MARK: backfill


def test_a_backfill_is_waited_for_or_watched(client: Any, customer: int) -> None:
    client.push("orders", [order(customer, amount=5.0)])
    seen: list[martlet.Job] = []
    job = client.backfill("visits", reason="a test", on_progress=seen.append)
    assert (job.kind, job.model, job.state, job.reason) == (
        "backfill",
        "visits",
        "COMPLETED",
        "a test",
    )
    assert all(one.id == job.id for one in seen)
    filed = client.backfill("orders.amount", rows_per_second=1_000_000, wait=False)
    assert filed.model == "orders"
    assert client.wait_for_job(filed, timeout=60).state == "COMPLETED"
    assert client.get_job(filed.id).done
    values = client.get_online(["orders.amount"], {"customer_id": customer})[0]
    assert values["orders.amount"] == 5.0
    with pytest.raises(martlet.NotFoundError, match="did you mean 'orders'"):
        client.backfill("orderz")
    with pytest.raises(martlet.InvalidArgumentError, match="rows_per_second"):
        client.backfill("orders", rows_per_second=0)


# MARK: erasure


def test_an_erasure_is_listed_by_its_digest(client: Any, customer: int) -> None:
    client.push("orders", [order(customer, amount=5.0)])
    receipt = client.erase("customer", customer)
    listed = {found.id: found for found in client.list_erasures()}
    assert listed[receipt.id].digest == receipt.digest
    assert listed[receipt.id].removed == receipt.removed


# MARK: features of everything, and arrays


def ping(level: int, **values: Any) -> dict[str, Any]:
    return {"at": NOW, "level": level, **values}


def test_features_without_a_key_are_read_with_empty_keys(client: Any, customer: int) -> None:
    known = {feature.name: feature for feature in client.list_features()}
    assert known["world.level"].key == {} and known["world.level"].entity == "everyone"
    before = client.get_online(["world.pings_1d"], {})[0]["world.pings_1d"]
    client.push("pings", [ping(1), ping(2), ping(3), ping(4)])
    client.push("orders", [order(customer, amount=7.0)])
    names = ["world.level", "world.pings_1d", "world.last_levels"]
    answer = client.get_online(names, {})
    assert len(answer) == 1
    assert dict(answer[0]) == {
        "world.level": 4,
        "world.pings_1d": before + 4,
        "world.last_levels": [4, 3, 2],
    }
    assert len(client.get_online(names, [{}, {}])) == 2
    mixed = client.get_online(["orders.amount", "world.level"], {"customer_id": customer})
    assert mixed.values == ((7.0, 4),)
    assert mixed.to_pandas()["world.level"].tolist() == [4]


@pytest.mark.parametrize("form", ["pandas", "polars", "arrow"])
def test_features_without_a_key_have_a_history_by_time_alone(client: Any, form: Any) -> None:
    client.push("pings", [ping(5, point=[1.0, 2.0, 3.0], marks=["a"])])
    times = pa.table({"at": pa.array([NOW - 30 * DAY, NOW], pa.timestamp("us", "UTC"))})
    made = {
        "pandas": times.to_pandas(),
        "polars": pl.from_arrow(times),
        "arrow": times,
    }[form]
    names = ["world.level", "world.point", "world.marks", "world.last_levels"]
    found = client.get_history(made, names, time="at", as_="arrow")
    assert found.column("world.level").to_pylist() == [None, 5]
    assert found.column("world.point").to_pylist() == [None, [1.0, 2.0, 3.0]]
    assert found.column("world.marks").to_pylist() == [None, ["a"]]
    assert found.column("world.last_levels").to_pylist()[1][0] == 5
    back = client.get_history(made, names[:2], time="at")
    assert type(back).__module__.partition(".")[0] == {"arrow": "pyarrow"}.get(form, form)


def test_arrays_are_pushed_as_numpy_has_them_and_read_back(client: Any, customer: int) -> None:
    point = np.array([1.5, -2.5])
    client.push("orders", order(customer, amount=1.0, place=point, tags=np.array(["x", "y"])))
    frame = pd.DataFrame(
        [order(customer + 10**9, amount=2.0, place=np.array([0.0, np.inf]), tags=[])]
    )
    assert client.push("orders", frame).accepted == 1
    rows = client.get_online(
        ["orders.place", "orders.tags"],
        [{"customer_id": customer}, {"customer_id": customer + 10**9}],
    )
    assert rows.values == (([1.5, -2.5], ["x", "y"]), ([0.0, float("inf")], []))
    table = rows.to_arrow()
    assert table.column("orders.place").type == pa.list_(pa.float64())
    bad = client.push("orders", order(customer, place=[1.0]))
    assert bad.quarantined == 1 and "place" in bad.reasons[0]
