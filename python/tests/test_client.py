"""Pushing events and reading features by both Python clients, on a real platform."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from client_side import ALL_TYPES, DAY, NEW_CUSTOMERS, NOW, order
from running_platform import needs_binary

import martlet

pytestmark = needs_binary


# MARK: pushing and reading


def test_a_push_is_seen_by_the_next_online_read(client: Any, customer: int) -> None:
    receipt = client.push("orders", order(customer, amount=12.5))
    assert (receipt.accepted, receipt.duplicates, receipt.quarantined) == (1, 0, 0)
    answer = client.get_online(["orders.amount", "orders.count_30d"], {"customer_id": customer})
    assert dict(answer[0]) == {"orders.amount": 12.5, "orders.count_30d": 1}
    assert answer[0].status("orders.amount") == "present"
    assert answer[0].event_timestamp("orders.amount") == NOW


def test_online_values_have_the_types_of_their_features(client: Any, customer: int) -> None:
    at = datetime(2026, 3, 1, 12, 30, 0, 123456, tzinfo=UTC)
    values = {"note": "é", "gift": True, "items": 2**53 + 1, "sent_at": at}
    client.push("orders", order(customer, **values, place=[1.5, -2.0], tags=["a", ""]))
    row = client.get_online(ALL_TYPES, {"customer_id": customer})[0]
    expected = {**values, "place": [1.5, -2.0], "tags": ["a", ""]}
    assert dict(row) == {f"orders.{name}": value for name, value in expected.items()}


def test_online_statuses_tell_null_expired_and_not_found_apart(client: Any, customer: int) -> None:
    client.push("orders", order(customer, NOW - 3 * DAY, amount=1.0, note=None))
    names = ["orders.amount_2d", "orders.note", "orders.count_30d"]
    answer = client.get_online(names, [{"customer_id": customer}, {"customer_id": -customer}])
    assert answer.statuses[0] == ("expired", "null", "present")
    assert answer.statuses[1][:2] == ("not_found", "not_found")
    assert answer.values == ((None, None, 1), (None, None, 0))


def test_nan_and_infinity_survive_the_way_there_and_back(client: Any, customer: int) -> None:
    client.push("takings", {"shop": f"s{customer}", "day": 1, "total": float("nan"), "at": NOW})
    client.push("takings", {"shop": f"s{customer}", "day": 2, "total": float("inf"), "at": NOW})
    keys = [{"shop": f"s{customer}", "day": day} for day in (1, 2)]
    answer = client.get_online(["takings.total"], keys)
    assert np.isnan(answer[0]["takings.total"])
    assert answer[1]["takings.total"] == float("inf")


def test_online_reads_take_a_data_frame_of_keys(client: Any, customer: int) -> None:
    client.push("orders", [order(customer, amount=1.0), order(-customer, amount=2.0)])
    for keys in (
        pd.DataFrame({"customer_id": [-customer, customer]}),
        pl.DataFrame({"customer_id": [-customer, customer]}),
        pa.table({"customer_id": [-customer, customer]}),
    ):
        answer = client.get_online(["orders.amount"], keys)
        assert [row["orders.amount"] for row in answer] == [2.0, 1.0]


def test_an_online_answer_becomes_a_table_with_the_features_types(
    client: Any, customer: int
) -> None:
    client.push("orders", order(customer, gift=False))
    answer = client.get_online(ALL_TYPES, [{"customer_id": customer}])
    table = answer.to_pandas()
    assert list(table.columns) == ["customer_id", *ALL_TYPES]
    assert [str(table[name].dtype) for name in ALL_TYPES[1:4]] == [
        "boolean",
        "Int64",
        "datetime64[us, UTC]",
    ]
    assert answer.to_polars().schema["orders.place"] == pl.List(pl.Float64)
    assert answer.to_arrow().column("orders.gift").to_pylist() == [False]


@pytest.mark.parametrize("form", ["pandas", "polars", "arrow"])
def test_a_data_frame_is_pushed_with_nulls_arrays_and_times(
    client: Any, customer: int, form: str
) -> None:
    rows = [
        order(customer, NOW - DAY, amount=1.5, items=3, gift=True, place=[0.5, 1.0], tags=["x"]),
        order(customer, NOW, amount=None, items=None, gift=None, place=None, tags=[]),
    ]
    table = pa.Table.from_pylist(rows)
    frame = {"pandas": pd.DataFrame(rows), "polars": pl.from_arrow(table), "arrow": table}[form]
    receipt = client.push("orders", frame)
    assert (receipt.accepted, receipt.reasons) == (2, ())
    names = ["orders.amount", "orders.items", "orders.gift", "orders.place", "orders.tags"]
    answer = client.get_online([*names, "orders.sum_30d"], {"customer_id": customer})
    assert answer.values[0] == (None, None, None, None, [], 1.5)
    assert answer.statuses[0][:4] == ("null",) * 4


def test_many_records_go_in_batches_and_the_receipt_is_of_all(client: Any, customer: int) -> None:
    records = (order(customer, amount=1.0 if n % 100 else -1.0) for n in range(12_345))
    receipt = client.push("orders", records)
    assert (receipt.accepted, receipt.quarantined) == (12_345 - 124, 124)
    assert 0 < len(receipt.reasons) <= 100 and "below the minimum" in receipt.reasons[0]
    count = client.get_online(["orders.count_30d"], {"customer_id": customer})[0]
    assert count["orders.count_30d"] == 12_345 - 124


def test_pushes_with_the_same_client_and_sequence_count_once(client: Any, customer: int) -> None:
    visits = [{"customer_id": customer, "pages": 1, "at": NOW}] * 3
    name = f"crm-{customer}"
    assert client.push("visits", visits, client=name, sequence=5).accepted == 3
    again = client.push("visits", [*visits, visits[0]], client=name, sequence=5)
    assert (again.accepted, again.duplicates) == (1, 3)
    count = client.get_online(["visits.count_1d"], {"customer_id": customer})[0]
    assert count["visits.count_1d"] == 4


def test_equal_records_of_two_pushes_are_two_events(client: Any, customer: int) -> None:
    visit = {"customer_id": customer, "pages": 1, "at": NOW}
    assert client.push("visits", visit).accepted == 1
    assert client.push("visits", visit).accepted == 1


def test_what_is_no_record_is_refused_before_anything_is_sent(client: Any, customer: int) -> None:
    for records in ("orders.csv", 7, [7], {"customer_id": object()}, [{"customer_id": {"a": 1}}]):
        with pytest.raises(martlet.InvalidArgumentError):
            client.push("orders", records)
    with pytest.raises(martlet.InvalidArgumentError, match="belong together"):
        client.push("orders", order(customer), client="crm")


def test_a_push_that_breaks_off_tells_what_is_stored(client: Any, customer: int) -> None:
    def records() -> Iterator[Any]:
        yield from (order(customer, amount=1.0) for _ in range(7_000))
        yield "not a record"

    with pytest.raises(martlet.InvalidArgumentError, match="record 7001") as caught:
        client.push("orders", records())
    assert caught.value.receipt.accepted == 5_000


def test_a_wrong_name_is_an_error_that_tells_the_right_one(client: Any) -> None:
    with pytest.raises(martlet.NotFoundError, match="did you mean 'orders'") as caught:
        client.push("orderz", {"customer_id": 1})
    assert (caught.value.code, caught.value.status) == ("not_found", 404)
    with pytest.raises(martlet.MartletError, match="amount"):
        client.get_online(["orders.amout"], {"customer_id": 1})
    with pytest.raises(martlet.InvalidArgumentError, match="custmer_id"):
        client.get_online(["orders.amount"], {"custmer_id": 1})
    for features in ([], ["orders.amount", "orders.amount"], [7], "orders.amount"):
        with pytest.raises((martlet.InvalidArgumentError, martlet.NotFoundError)):
            client.get_online(features, {"customer_id": 1})


# MARK: history


def history_case(seed: int, customers: range) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Orders at distinct times, and a spine with repeated rows, unknown keys and null keys."""
    chance = random.Random(seed)
    times = [NOW - 10 * DAY + timedelta(seconds=s) for s in chance.sample(range(864_000), 600)]
    orders = pd.DataFrame(
        {
            "order_id": [chance.getrandbits(48) for _ in times],
            "customer_id": [chance.choice(customers) for _ in times],
            "amount": [chance.choice([None, round(chance.uniform(0, 99), 2)]) for _ in times],
            "note": [chance.choice([None, "a", "ü"]) for _ in times],
            "gift": pd.array([chance.choice([None, True, False]) for _ in times], "boolean"),
            "items": pd.array([chance.choice([None, 1, 2**60]) for _ in times], "Int64"),
            "ordered_at": times,
        }
    )
    keys = [*customers, customers.stop + 1_000_000, None]
    asked = [NOW - timedelta(seconds=chance.randrange(1_000_000)) for _ in range(400)]
    asked[-50:] = asked[:50]
    spine = pd.DataFrame(
        {
            "label": [chance.random() for _ in asked],
            "customer_id": pd.array([chance.choice(keys) for _ in asked], "Int64"),
            "asked_at": pd.Series(asked, dtype="datetime64[us, UTC]"),
            "anything": [{"at": n} for n in range(len(asked))],
        },
        index=[n // 2 for n in range(len(asked))],
    )
    return orders, spine


def as_of(orders: pd.DataFrame, spine: pd.DataFrame, column: str, ttl: timedelta | None) -> Any:
    """The latest value by pandas' own as-of join, which shares nothing with the platform."""
    asked = spine.reset_index(drop=True).reset_index().dropna(subset="customer_id")
    asked = asked.astype({"customer_id": "int64"}).sort_values("asked_at")
    events = orders.astype({"ordered_at": "datetime64[us, UTC]"}).sort_values("ordered_at")
    found = pd.merge_asof(
        asked[["index", "customer_id", "asked_at"]],
        events[["customer_id", "ordered_at", column]],
        left_on="asked_at",
        right_on="ordered_at",
        by="customer_id",
        tolerance=ttl and pd.Timedelta(ttl),
    ).set_index("index")[column]
    return [None if pd.isna(v) else v for v in found.reindex(range(len(spine))).array]


@pytest.mark.parametrize("form", ["pandas", "polars", "arrow"])
def test_history_is_what_pandas_own_join_says_row_by_row(client: Any, form: str) -> None:
    first = next(NEW_CUSTOMERS) * 10_000
    orders, spine = history_case(first, range(first, first + 20))
    assert client.push("orders", orders).accepted == len(orders)
    names = ["amount", "amount_2d", "note", "gift", "items"]
    table = pa.Table.from_pandas(spine.drop(columns="anything"), preserve_index=False)
    asked = {"pandas": spine, "polars": pl.from_arrow(table), "arrow": table}[form]
    answer = client.get_history(asked, [f"orders.{name}" for name in names], time="asked_at")
    assert type(answer) is type(asked)
    read = pa.Table.from_pandas(answer) if form == "pandas" else answer
    read = read.to_arrow() if form == "polars" else read
    for name in names:
        column, ttl = ("amount", 2 * DAY) if name == "amount_2d" else (name, None)
        assert read.column(f"orders.{name}").to_pylist() == as_of(orders, spine, column, ttl), name


def test_a_pandas_spine_comes_back_as_it_was_with_columns_more(client: Any, customer: int) -> None:
    client.push("orders", order(customer, NOW - DAY, amount=3.0))
    spine = pd.DataFrame(
        {
            "anything": [object(), object(), object()],
            "event_timestamp": pd.to_datetime([NOW, NOW - 2 * DAY, NOW]),
            "kind": pd.Categorical(["b", "a", "b"]),
            "customer_id": [customer, customer, customer],
        },
        index=pd.Index([9, 9, 3], name="row"),
    )
    before = spine.copy()
    answer = client.get_history(spine, ["orders.count_30d", "orders.amount"])
    pd.testing.assert_frame_equal(spine, before)
    pd.testing.assert_frame_equal(answer[list(spine.columns)], before)
    assert answer["orders.count_30d"].tolist() == [1, 0, 1]
    assert answer["orders.amount"].isna().tolist() == [False, True, False]


def test_dtypes_are_those_of_the_features_with_and_without_nulls(
    client: Any, customer: int
) -> None:
    values = {"note": "n", "gift": True, "items": 1, "sent_at": NOW}
    client.push("orders", order(customer, **values, place=[1.0, 2.0], tags=["a", "b"]))
    for keys in ([customer], [customer, -customer], [-customer]):
        spine = pd.DataFrame({"customer_id": keys, "event_timestamp": NOW + DAY})
        frame = client.get_history(spine, ALL_TYPES)
        assert [str(frame[name].dtype) for name in ALL_TYPES] == [
            str(pd.Series(["a"]).astype("str").dtype),
            "boolean",
            "Int64",
            "datetime64[us, UTC]",
            "object",
            "object",
        ]
        table = client.get_history(spine, ALL_TYPES, as_="arrow")
        assert [str(table.schema.field(name).type) for name in ALL_TYPES] == [
            "string",
            "bool",
            "int64",
            "timestamp[us, tz=UTC]",
            "list<element: double>",
            "list<element: string>",
        ]
        found = -1 if keys[0] == -customer else 0
        expected = {"place": [1.0, 2.0], "tags": ["a", "b"]} if found == 0 else {}
        for name in ("place", "tags"):
            assert table.column(f"orders.{name}")[0].as_py() == expected.get(name)


def test_history_of_two_entities_reads_the_keys_of_both(client: Any, customer: int) -> None:
    client.push("orders", order(customer, NOW - DAY, items=4))
    takings = {"shop": f"s{customer}", "day": customer, "total": 9.0}
    client.push("takings", takings | {"at": (NOW - DAY).isoformat()})
    spine = pl.DataFrame(
        {"shop": [f"s{customer}"], "day": [customer], "customer_id": [customer], "at": [NOW]}
    )
    answer = client.get_history(spine, ["takings.total", "orders.items"], time="at")
    assert answer.row(0)[-2:] == (9.0, 4)


def test_as_known_shows_only_what_was_stored_by_then(client: Any, customer: int) -> None:
    client.push("orders", order(customer, NOW - 3 * DAY, amount=1.0))
    spine = pa.table({"customer_id": [customer], "event_timestamp": [NOW - DAY]})
    for mode, expected in (("as_corrected", 1), ("as_known", 0)):
        answer = client.get_history(spine, ["orders.count_30d"], mode=mode)
        assert answer.column("orders.count_30d").to_pylist() == [expected]


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_a_spine_may_be_a_file(client: Any, customer: int, tmp_path: Path, ending: str) -> None:
    client.push("orders", order(customer, NOW - DAY, items=5))
    path = tmp_path / f"spine.{ending}"
    spine = pl.DataFrame({"customer_id": [customer], "at": [NOW], "more": ["m"]})
    spine.write_csv(path) if ending == "csv" else spine.write_parquet(path)
    answer = client.get_history(path, ["orders.items"], time="at")
    assert isinstance(answer, pd.DataFrame)
    assert answer[["customer_id", "more", "orders.items"]].to_dict("records") == [
        {"customer_id": customer, "more": "m", "orders.items": 5}
    ]
    table = client.get_history(str(path), ["orders.items"], time="at", as_="polars")
    assert isinstance(table, pl.DataFrame)


def test_a_wrong_spine_is_refused_with_what_is_wrong(client: Any, tmp_path: Path) -> None:
    good = pd.DataFrame({"customer_id": [1], "event_timestamp": [pd.Timestamp(NOW)]})
    naive = good.assign(event_timestamp=good["event_timestamp"].dt.tz_localize(None))
    for spine, message in (
        (good.drop(columns="customer_id"), "customer_id"),
        (good.drop(columns="event_timestamp"), "time column 'event_timestamp'"),
        (naive, "has no zone"),
        (good.assign(customer_id="x"), "is int64"),
        (good.assign(**{"orders.amount": 1}), "already"),
        ({"customer_id": 1}, "a spine is a table"),
        (pl.LazyFrame({"customer_id": [1]}), "collect"),
        (tmp_path / "none.csv", "there is no file"),
        (tmp_path / "spine.xlsx", "ends in .csv or .parquet"),
    ):
        with pytest.raises(martlet.MartletError, match=message):
            client.get_history(spine, ["orders.amount"])
    empty = client.get_history(good.iloc[:0], ["orders.amount"], as_="pandas")
    assert len(empty) == 0 and "orders.amount" in empty.columns
    with pytest.raises(martlet.InvalidArgumentError, match="as_corrected or as_known"):
        client.get_history(good, ["orders.amount"], mode="now")
    with pytest.raises(martlet.InvalidArgumentError, match="'pandas', 'polars' or 'arrow'"):
        client.get_history(good, ["orders.amount"], as_="excel")
