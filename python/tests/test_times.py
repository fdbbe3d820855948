"""Times and arrays that no event can have, from files, spines and queries."""

from __future__ import annotations

import json
import urllib.request
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from client_side import NOW
from running_platform import needs_binary

import martlet

pytestmark = needs_binary

YEAR_1 = -62_135_596_800_000_000
YEAR_10000 = 253_402_300_800_000_000
OUTSIDE = [-(2**63), -(2**63) + 1, YEAR_1 - 1, YEAR_10000, 2**63 - 1]


def instants(values: list[int]) -> pa.Array:
    return pa.array(values, pa.timestamp("us", "UTC"))


def events(folder: Path, customer: int, times: list[int], **columns: Any) -> Path:
    path = folder / f"events-{customer}.parquet"
    keys = pa.array([customer] * len(times), pa.int64())
    table = pa.table({"customer_id": keys, "ordered_at": instants(times), **columns})
    pq.write_table(table, path)
    return path


def test_event_times_outside_the_calendar_go_to_quarantine(
    client: Any, customer: int, tmp_path: Path
) -> None:
    inside = int(NOW.timestamp()) * 1_000_000
    file = events(tmp_path, customer, [*OUTSIDE, inside])
    report = client.ingest("orders", file)
    assert (report.accepted, report.quarantined) == (1, len(OUTSIDE))
    assert "years 1 to 9999" in report.reasons[0].reason
    features = client.get_online(["orders.amount"], [{"customer_id": customer}])
    assert len(features) == 1


def test_other_times_outside_the_calendar_go_to_quarantine(
    client: Any, customer: int, tmp_path: Path
) -> None:
    inside = int(NOW.timestamp()) * 1_000_000
    file = events(tmp_path, customer, [inside, inside + 1], sent_at=instants([2**63 - 1, inside]))
    report = client.ingest("orders", file)
    assert (report.accepted, report.quarantined) == (1, 1)


def test_a_time_that_its_zone_brings_outside_the_calendar_is_refused(
    client: Any, customer: int
) -> None:
    record = {"customer_id": customer, "ordered_at": "9999-12-31T23:59:59.999999-14:00"}
    receipt = client.push("orders", [record])
    assert (receipt.accepted, receipt.quarantined) == (0, 1)


def test_lists_with_a_null_element_go_to_quarantine_also_when_all_have_one(
    client: Any, customer: int, tmp_path: Path
) -> None:
    inside = int(NOW.timestamp()) * 1_000_000
    places = pa.array([[1.0, None], [None, 2.0]], pa.list_(pa.float64()))
    file = events(tmp_path, customer, [inside, inside + 1], place=places)
    report = client.ingest("orders", file)
    assert (report.accepted, report.quarantined) == (0, 2)


def test_a_number_that_no_double_holds_is_not_taken_for_infinity(
    client: Any, customer: int, tmp_path: Path
) -> None:
    file = tmp_path / f"large-{customer}.csv"
    at = NOW.isoformat()
    file.write_text(
        f"customer_id,ordered_at,amount\n{customer},{at},1e400\n{customer},{at},Infinity\n"
    )
    report = client.ingest("orders", file)
    assert (report.accepted, report.quarantined) == (1, 1)


@pytest.mark.parametrize("time", OUTSIDE)
def test_a_spine_with_a_time_outside_the_calendar_is_refused(
    client: Any, customer: int, time: int
) -> None:
    spine = pa.table({"customer_id": pa.array([customer], pa.int64()), "at": instants([time])})
    with pytest.raises(martlet.InvalidArgumentError, match="years 1 to 9999"):
        client.get_history(spine, ["orders.amount"], time="at")


@pytest.mark.parametrize(
    "expression",
    [
        "'infinity'::timestamp",
        "'-infinity'::timestamp",
        "'infinity'::date",
        "'-infinity'::date",
        "DATE '5881580-07-10'",
        "make_timestamp(-9223372022400000000)",
    ],
)
def test_a_query_may_answer_with_times_that_no_event_has(
    client_platform: Any, expression: str
) -> None:
    # As REST has it; what pandas and Arrow make of such a time is theirs.
    address = client_platform.address
    query = json.dumps({"sql": f"SELECT {expression} AS t, 1 AS one"}).encode()
    call = urllib.request.Request(
        f"{address}/api/v1/sql", query, {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(call) as answer:
        assert json.load(answer)["rows"][0][1] == 1
    with martlet.Client(address) as client:
        assert client.sql("SELECT 1 AS one", as_="arrow").num_rows == 1


def test_the_ends_of_the_calendar_are_times(client: Any, customer: int, tmp_path: Path) -> None:
    file = events(tmp_path, customer, [YEAR_1, YEAR_10000 - 1])
    assert client.ingest("orders", file).accepted == 2
    spine = pd.DataFrame({"customer_id": [customer], "at": [datetime(2020, 1, 1, tzinfo=UTC)]})
    assert len(client.get_history(spine, ["orders.amount"], time="at")) == 1
