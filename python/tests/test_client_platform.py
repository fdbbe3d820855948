"""Files, quarantine, definitions, models and jobs by both Python clients, on a real platform."""

from __future__ import annotations

import random
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from client_side import DAY, NOW, order
from running_platform import RunningPlatform, needs_binary

import martlet
from martlet.errors import FailedPreconditionError

pytestmark = needs_binary


# MARK: files


@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet"])
def test_a_file_is_ingested_once(client: Any, customer: int, tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"orders.{ending}"
    rows = [order(customer, amount=1.0), order(customer, amount=2.0), order(customer, amount=-1.0)]
    frame = pd.DataFrame(rows)
    if ending == "csv":
        frame.to_csv(path, index=False)
    elif ending == "jsonl":
        frame.to_json(path, orient="records", lines=True, date_format="iso")
    else:
        frame.to_parquet(path, index=False)
    seen: list[tuple[float, int]] = []
    report = client.ingest("orders", path, on_progress=lambda *told: seen.append(told))
    assert (report.rows, report.accepted, report.quarantined) == (3, 2, 1)
    assert [(reason.count, "minimum" in reason.reason) for reason in report.reasons] == [(1, True)]
    assert all(0 <= share <= 1 and rows <= 3 for share, rows in seen)
    assert client.ingest("orders", str(path)).already_ingested


def test_a_data_frame_is_ingested_once(client: Any, customer: int) -> None:
    frame = pd.DataFrame([order(customer, amount=float(n), tags=["t"]) for n in range(50)])
    assert client.ingest("orders", frame, name="first.parquet").accepted == 50
    assert client.ingest("orders", frame.copy(), name="second.parquet").already_ingested
    rows = client.get_online(["orders.count_30d", "orders.tags"], {"customer_id": customer})
    assert rows.values[0] == (50, ["t"])


def test_a_strict_file_with_a_bad_row_stores_nothing(client: Any, customer: int) -> None:
    frame = pd.DataFrame([order(customer, amount=1.0), order(customer, amount=-1.0)])
    with pytest.raises(martlet.InvalidRecordError, match="minimum"):
        client.ingest("orders", frame, strict=True)
    count = client.get_online(["orders.count_30d"], {"customer_id": customer})[0]
    assert count["orders.count_30d"] == 0


def test_what_is_no_file_is_refused(client: Any, tmp_path: Path) -> None:
    with pytest.raises(martlet.NotFoundError, match="there is no file"):
        client.ingest("orders", tmp_path / "none.csv")
    with pytest.raises(martlet.InvalidArgumentError, match="path of a file or a data frame"):
        client.ingest("orders", [1, 2])
    odd = tmp_path / "orders.xlsx"
    odd.write_bytes(b"no")
    with pytest.raises(martlet.MartletError, match="xlsx"):
        client.ingest("orders", odd)
    with pytest.raises(martlet.InvalidArgumentError, match="convert it"):
        client.ingest("orders", pd.DataFrame({"a": [1, "x"]}))


# MARK: quarantine


def test_quarantined_records_are_listed_corrected_and_replayed(client: Any, customer: int) -> None:
    bad = [order(customer, amount=-1.0), order(customer, items="many")]
    client.push("orders", bad)
    found = {record.kind: record for record in client.list_quarantine("orders", limit=2)}
    assert set(found) == {"range", "type"}
    record = client.get_quarantined(found["range"].id)
    assert (record.source, record.status) == ("orders", "waiting")
    assert abs(record.quarantined_at - datetime.now(UTC)) < timedelta(hours=1)
    report = client.replay_quarantine([record.id], set={"amount": 4.0})
    assert (report.replayed, report.failed) == (1, 0)
    mended = bad[1] | {"items": 7}
    assert client.replay_quarantine(records={found["type"].id: mended}).replayed == 1
    row = client.get_online(["orders.count_30d", "orders.sum_30d"], {"customer_id": customer})[0]
    assert dict(row) == {"orders.count_30d": 2, "orders.sum_30d": 4.0}
    assert client.get_quarantined(record.id).status == "replayed"


def test_quarantined_records_are_discarded(client: Any, customer: int) -> None:
    client.push("orders", order(customer, amount=-1.0))
    (record,) = client.list_quarantine("orders", limit=1)
    assert client.discard_quarantine([record.id]) == 1
    assert client.get_quarantined(record.id).status == "discarded"
    with pytest.raises(martlet.NotFoundError):
        client.get_quarantined(2**40)
    with pytest.raises(martlet.MartletError):
        client.replay_quarantine()


def test_an_erased_key_is_not_found_any_more(client: Any, customer: int) -> None:
    client.push("orders", order(customer, amount=1.0))
    receipt = client.erase("customer", customer)
    assert receipt.removed and receipt.erased_at.tzinfo is not None
    answer = client.get_online(["orders.amount"], {"customer_id": customer})
    assert answer.statuses == (("not_found",),)


# MARK: definitions and lineage


def test_plan_shows_what_apply_then_does(client: Any, client_platform: RunningPlatform) -> None:
    assert client.plan(client_platform.folder).empty
    path = client_platform.folder / "martlet.yaml"
    before = path.read_text()
    try:
        path.write_text(before.replace("{latest: gift}", "{latest: gift, ttl: 9d}"))
        plan = client.plan(client_platform.folder / "martlet.yaml")
        (change,) = plan.changes
        assert (change.kind, change.name, change.action) == ("feature", "orders.gift", "changed")
        assert [(f.field, f.old, f.new) for f in change.fields] == [("ttl", None, "9d")]
        applied = client.apply(client_platform.folder)
        assert f"version {applied.version} is in force" in str(applied)
        assert client.get_definitions().digest == applied.digest
    finally:
        path.write_text(before)
        client.apply(client_platform.folder)


def test_wrong_definitions_are_refused_with_every_place(client: Any, tmp_path: Path) -> None:
    (tmp_path / "martlet.yaml").write_text("project: x\nentitis: {}\n")
    with pytest.raises(martlet.InvalidDefinitionError, match="entities"):
        client.plan(tmp_path)
    with pytest.raises(martlet.NotFoundError, match="martlet init"):
        client.plan(tmp_path / "elsewhere")


def test_definitions_tell_the_features_and_their_keys(client: Any) -> None:
    features = {feature.name: feature for feature in client.list_features()}
    assert features["takings.total"].key == {"shop": "string", "day": "int64"}
    assert features["orders.place"].type == "double[2]"


def test_lineage_leads_both_ways(client: Any) -> None:
    upstream = client.lineage("orders.mean_30d", "upstream")
    assert {"column:orders.amount", "source:orders"} <= {node.id for node in upstream.nodes}
    downstream = client.lineage("column:orders.amount", "downstream")
    assert downstream.node("churn").kind == "model"
    assert any(edge.to == "model:churn" for edge in downstream.edges)
    assert client.lineage_text("churn", format="dot").startswith("digraph")
    with pytest.raises(martlet.NotFoundError):
        client.lineage("nothing")


# MARK: SQL and the rest


def test_sql_gives_typed_tables(client: Any, customer: int) -> None:
    client.push("orders", order(customer, amount=2.5, items=None, tags=["a"], sent_at=NOW))
    query = (
        "SELECT customer_id, amount, items, gift, sent_at, tags FROM events_orders "
        f"WHERE customer_id = {customer}"
    )
    frame = client.sql(query)
    assert [str(dtype) for dtype in frame.dtypes] == [
        "Int64",
        "float64",
        "Int64",
        "boolean",
        "datetime64[us, UTC]",
        "object",
    ]
    assert frame["sent_at"][0] == NOW and list(frame["tags"][0]) == ["a"]
    assert client.sql(query + " AND false", as_="polars").schema["items"] == pl.Int64
    assert client.sql("SELECT 1 AS a, 2 AS a", as_="arrow").to_pydict() == {"a": [1], "a_1": [2]}
    assert client.sql("DESCRIBE events_orders", as_="arrow").num_rows > 5


def test_sql_gives_every_row_of_a_large_result_in_its_order(client: Any) -> None:
    query = "SELECT range AS n, range % 7 AS m, 'row ' || range AS s FROM range(300000)"
    table = client.sql(query + " ORDER BY range DESC", as_="arrow")
    assert table.num_rows == 300_000
    assert table.column("n").to_pylist() == list(range(299_999, -1, -1))
    assert table.slice(1, 1).to_pylist() == [{"n": 299_998, "m": 299_998 % 7, "s": "row 299998"}]
    assert client.sql("SELECT sum(range) AS s FROM range(300000)")["s"].tolist() == [44999850000]


def test_sql_types_that_the_platform_has_not_come_as_the_nearest(client: Any) -> None:
    row = client.sql(
        "SELECT 1::UTINYINT AS a, 1.5::DECIMAL(10, 2) AS b, DATE '2026-03-01' AS c, 2::FLOAT AS d, "
        "170141183460469231731687303715884105::HUGEINT AS e, "
        "'00000000-0000-0000-0000-000000000001'::UUID AS f, [1, 2]::TINYINT[2] AS g, "
        "NULL::DOUBLE[2] AS h, {'x': 1} AS i -- the end",
        as_="arrow",
    )
    types = [str(column.type) for column in row.schema]
    assert types[:6] == ["int64", "double", "timestamp[us, tz=UTC]", "double", "double", "string"]
    assert row.column("e")[0].as_py() == pytest.approx(1.70141183460469e35)
    assert row.column("g").to_pylist() == [[1, 2]] and row.column("h").to_pylist() == [None]
    assert row.column("i").to_pylist() == [{"x": 1}]
    assert client.sql("EXPLAIN SELECT 1", as_="arrow").num_rows > 0
    assert client.sql("SELECT 1 AS a;", as_="arrow").to_pydict() == {"a": [1]}


def test_a_result_of_any_size_is_written_to_a_file(client: Any, tmp_path: Path) -> None:
    query = "SELECT range AS n, 'x' AS s FROM range(200000)"
    parquet, csv = tmp_path / "rows.parquet", tmp_path / "rows.csv"
    assert client.export_sql(query, parquet) == 200_000
    assert pq.ParquetFile(parquet).metadata.num_rows == 200_000
    assert client.export_sql(query + " LIMIT 2", str(csv)) == 2
    assert csv.read_text() == "n,s\n0,x\n1,x\n"
    with pytest.raises(martlet.InvalidArgumentError, match="csv or parquet"):
        client.export_sql(query, tmp_path / "rows.xlsx")
    with pytest.raises(martlet.InvalidArgumentError):
        client.export_sql("SELECT nothing", tmp_path / "none.csv")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["rows.csv", "rows.parquet"]


@pytest.mark.parametrize(
    "query",
    [
        "SELECT 1) TO '/tmp/stolen.csv' (FORMAT csv); --",
        "SELECT 1; DROP TABLE events_orders",
        "SELECT 1) AS result(c0)) TO 'x.parquet' --",
        "SELECT * FROM read_csv('/etc/passwd')",
        "COPY events_orders TO '/tmp/stolen.csv'",
        "SELECT ?",
        "EXPLAIN ANALYZE DELETE FROM events_orders",
    ],
)
def test_a_result_is_of_one_query_that_only_reads(client: Any, tmp_path: Path, query: str) -> None:
    with pytest.raises(martlet.MartletError):
        client.export_sql(query, tmp_path / "rows.parquet")
    assert not list(tmp_path.iterdir()) and not Path("/tmp/stolen.csv").exists()


def test_sql_that_would_change_something_is_refused(client: Any) -> None:
    for query in ("DELETE FROM events_orders", "CREATE TABLE t (a INT)", "SELEC 1"):
        with pytest.raises(martlet.InvalidArgumentError):
            client.sql(query)


def test_status_names_the_project(client: Any) -> None:
    assert client.status()["project"] == "client_tests"


def test_verification_compares_served_values(client: Any, customer: int) -> None:
    client.push("orders", order(customer, amount=1.0))
    found = client.verify(live=True, views=["orders"], sample=10)
    assert found.passed and found.mismatches == 0
    assert found.vectors > 0 and found.compared > 0
    assert "orders.amount" in [feature.feature for feature in found.features]
    with pytest.raises(martlet.NotFoundError, match="orders"):
        client.verify(live=True, views=["orderz"])
    with pytest.raises(martlet.InvalidArgumentError, match="length of time"):
        client.verify("churn", window="soon")


def test_a_models_features_are_a_set_with_a_name(client: Any, customer: int) -> None:
    client.push("orders", order(customer, amount=3.0))
    sets = client.list_feature_sets()
    churn = next(found for found in sets if found.name == "churn")
    assert churn.features == ("orders.amount", "orders.count_30d", "orders.mean_30d")
    answer = client.get_online("churn", {"customer_id": customer})
    assert answer.features == churn.features
    assert dict(answer[0])["orders.mean_30d"] == 3.0
    assert answer[0].age("orders.amount") == answer.time - NOW
    spine = pa.table({"customer_id": [customer], "event_timestamp": [NOW + DAY]})
    history = client.get_history(spine, "churn")
    assert history.schema.names[2:] == list(churn.features)
    assert history.column("orders.mean_30d").to_pylist() == [3.0]
    for call in (client.get_online, lambda name, _: client.get_history(spine, name)):
        with pytest.raises(martlet.NotFoundError, match="churn"):
            call("chorn", {"customer_id": customer})


def test_freshness_is_told_by_view(client: Any, customer: int) -> None:
    client.push("visits", {"customer_id": customer, "pages": 1, "at": NOW})
    found = client.freshness(["visits"])
    assert [(each.view, each.source) for each in found] == [("visits", "visits")]
    assert found[0].newest_event >= NOW and found[0].age_seconds >= 0


# MARK: models


@pytest.fixture(scope="module")
def trained(client_platform: RunningPlatform) -> int:
    """A version in production."""
    chance = random.Random(4)
    orders, outcomes = [], []
    for customer in range(500_000, 500_400):
        asked = NOW - timedelta(days=chance.uniform(8, 100))
        loyal = chance.random() < 0.5
        for _ in range(chance.randint(3, 8) if loyal else chance.randint(0, 2)):
            at = asked - timedelta(days=chance.uniform(0, 20))
            orders.append(order(customer, at, amount=chance.uniform(1, 90)))
        known = asked + 7 * DAY
        left = chance.random() < (0.1 if loyal else 0.8)
        label = {"customer_id": customer, "asked_at": asked, "known_at": known, "left": left}
        outcomes.append(label)
    with martlet.Client(client_platform.address) as client:
        client.push("orders", orders)
        assert client.push_labels("churn", pd.DataFrame(outcomes)).accepted == 400
        progress: list[str] = []
        job = client.train("churn", on_progress=lambda job: progress.append(job.state))
        assert job.done and progress
        assert job.version is not None
        promoted = client.promote("churn", job.version, who="tests", why="the first")
        assert promoted.stage == "production"
        return job.version


def test_predictions_come_by_key_with_their_features(client: Any, trained: int) -> None:
    keys = pd.DataFrame({"customer_id": [500_001, 500_002, -1]})
    answer = client.predict("churn", keys, request_id="r-1")
    assert (answer.version, answer.stage, len(answer)) == (trained, "production", 3)
    assert answer.request_id == "r-1"
    assert all(0 <= value <= 1 for value in answer.values)
    feature = answer[2].features["orders.count_30d"]
    assert (feature["value"], feature["status"]) == (0, "not_found")
    assert client.predict("churn", {"customer_id": 500_001}).values == answer.values[:1]
    with pytest.raises(martlet.NotFoundError):
        client.predict("churn", {"customer_id": 1}, version=99)
    with pytest.raises(martlet.InvalidArgumentError):
        client.predict("churn", [])


def test_models_and_versions_are_listed(client: Any, trained: int) -> None:
    assert {model.name for model in client.list_models()} == {"churn", "broken"}
    assert trained in [version.version for version in client.get_model("churn").versions]
    version = client.get_version("churn", trained)
    assert version.metrics["roc_auc"] > 0.5
    assert version.features[0] == "orders.amount" and version.created_at.tzinfo is not None
    with pytest.raises(martlet.NotFoundError, match="churn"):
        client.get_model("chorn")


def test_the_version_in_production_cannot_be_archived(client: Any, trained: int) -> None:
    with pytest.raises(martlet.MartletError, match="production"):
        client.archive("churn", trained)


def test_drift_is_reported_by_feature(client: Any, trained: int) -> None:
    client.predict("churn", [{"customer_id": 500_000 + n} for n in range(100)])
    report = client.drift("churn", window="1h")
    assert report.version == trained and report.window_end > report.window_start


def test_a_training_that_fails_raises_with_its_job(client: Any, trained: int) -> None:
    with pytest.raises(martlet.JobFailedError, match="nothing to learn") as caught:
        client.train("broken", timeout=120)
    job = caught.value.job
    assert job.done and client.get_job(job).state == job.state
    assert job.id in [each.id for each in client.list_jobs(limit=100)]
    with pytest.raises(FailedPreconditionError):
        client.cancel_job(job)


def test_a_job_may_be_waited_for_later(client: Any, trained: int) -> None:
    started = client.train("churn", wait=False, reason="to see", as_of=NOW)
    assert not started.done and started.reason == "to see"
    with pytest.raises(martlet.DeadlineExceededError, match="wait_for_job"):
        client.wait_for_job(started, timeout=0)
    assert client.wait_for_job(started.id).version > trained
    with pytest.raises(martlet.InvalidArgumentError, match="zone"):
        client.train("churn", as_of=datetime(2026, 1, 1))


def test_labels_of_an_unknown_model_are_refused(client: Any) -> None:
    with pytest.raises(martlet.NotFoundError, match="known: broken, churn"):
        client.push_labels("chorn", {"customer_id": 1})


def test_the_command_line_takes_the_same_address(
    client_platform: RunningPlatform, tmp_path: Path
) -> None:
    named = {"MARTLET_ADDRESS": client_platform.address}
    done = subprocess.run(
        ["martlet", "features", "list"],
        cwd=tmp_path,
        env=client_platform.environment | named,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "orders.mean_30d" in done.stdout
    assert not (tmp_path / "martlet-data").exists()
