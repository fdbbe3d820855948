"""Runs told to OpenLineage, checked with the classes of its own Python client.

A platform ingests files and trains while an HTTP server of the test collects what is posted. Every
event, from the file and from the wire, has to make the client's objects: their required fields, the
formats of times and ids, and the schemas of all facets that are the specification's.
"""

from __future__ import annotations

import json
import random
import subprocess
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from openlineage.client import event_v2
from openlineage.client.facet_v2 import (
    column_lineage_dataset,
    dataset_version_dataset,
    error_message_run,
    job_type_job,
    output_statistics_output_dataset,
    processing_engine_run,
    schema_dataset,
)
from test_docs import RunningPlatform, needs_binary

FACETS: dict[str, Any] = {
    "processing_engine": processing_engine_run.ProcessingEngineRunFacet,
    "errorMessage": error_message_run.ErrorMessageRunFacet,
    "jobType": job_type_job.JobTypeJobFacet,
    "schema": schema_dataset.SchemaDatasetFacet,
    "version": dataset_version_dataset.DatasetVersionDatasetFacet,
    "columnLineage": column_lineage_dataset.ColumnLineageDatasetFacet,
    "outputStatistics": output_statistics_output_dataset.OutputStatisticsOutputDatasetFacet,
}
NESTED: dict[str, Any] = {
    "schema": lambda facet: [schema_dataset.SchemaDatasetFacetFields(**f) for f in facet["fields"]],
    "columnLineage": lambda facet: {
        name: column_lineage_dataset.Fields(
            inputFields=[column_lineage_dataset.InputField(**i) for i in field["inputFields"]]
        )
        for name, field in facet["fields"].items()
    },
}
SLOW = "import time\n\n\ndef train(dataset, context):\n    time.sleep(600)\n"
WAIT_SECONDS = 90


def facets(found: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """The facets as the client's objects; ours only have to say where they are described."""
    made = {}
    for key, facet in found.items():
        members = {name: value for name, value in facet.items() if not name.startswith("_")}
        assert facet["_producer"].startswith("urn:martlet:")
        if key not in FACETS:
            assert key.startswith("martlet_")
            assert facet["_schemaURL"].startswith("urn:martlet:openlineage:")
            continue
        if key in NESTED:
            members["fields"] = NESTED[key](facet)
        made[key] = FACETS[key](**members, producer=facet["_producer"])
        assert facet["_schemaURL"] == FACETS[key]._get_schema()
    return made


def dataset(found: dict[str, Any], kind: Any, own: str) -> Any:
    known = {"namespace", "name", "facets", own}
    assert set(found) <= known
    return kind(
        namespace=found["namespace"],
        name=found["name"],
        facets=facets(found["facets"]),
        **({own: facets(found[own])} if own in found else {}),
    )


def run_event(found: dict[str, Any]) -> event_v2.RunEvent:
    """The event as the client's object, which checks it."""
    event = event_v2.RunEvent(
        eventType=event_v2.RunState[found["eventType"]],
        eventTime=found["eventTime"],
        run=event_v2.Run(runId=found["run"]["runId"], facets=facets(found["run"]["facets"])),
        job=event_v2.Job(
            namespace=found["job"]["namespace"],
            name=found["job"]["name"],
            facets=facets(found["job"]["facets"]),
        ),
        inputs=[dataset(one, event_v2.InputDataset, "inputFacets") for one in found["inputs"]],
        outputs=[dataset(one, event_v2.OutputDataset, "outputFacets") for one in found["outputs"]],
        producer=found["producer"],
    )
    assert found["schemaURL"] == event.schemaURL
    return event


class Collector(ThreadingHTTPServer):
    """Takes posts; the first one is refused for now, to see it come again."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), CollectorRequest)
        self.lock = threading.Lock()
        self.tries = 0
        self.taken: list[dict[str, Any]] = []
        self.seen: set[tuple[str, str | None, str | None]] = set()


class CollectorRequest(BaseHTTPRequestHandler):
    server: Collector

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        with self.server.lock:
            self.server.tries += 1
            refused = self.server.tries == 1
            self.server.seen.add(
                (self.path, self.headers["authorization"], self.headers["content-type"])
            )
            if not refused:
                self.server.taken.append(json.loads(body))
        self.send_response(503 if refused else 201)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def collector() -> Iterator[Collector]:
    server = Collector()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def shop(tmp_path: Path, collector: Collector) -> Iterator[RunningPlatform]:
    """A platform with a fresh project that posts to the collector."""
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "token").write_text("a-secret\n")
    (folder / "martlet.config.yaml").write_text(
        "jobs: {lease: 3s}\n"
        "lineage:\n"
        f"  openlineage_url: http://127.0.0.1:{collector.server_port}\n"
        "  openlineage_token_file: token\n"
    )
    platform = RunningPlatform(folder)
    try:
        yield platform
    finally:
        platform.stop()


def martlet(platform: RunningPlatform, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["martlet", *arguments],
        cwd=platform.folder,
        env=platform.environment,
        capture_output=True,
        text=True,
        timeout=WAIT_SECONDS,
        check=False,
    )


def write_data(folder: Path) -> None:
    random.seed(4)
    now = datetime.now(UTC)
    orders, outcomes = [], []
    for customer in range(300):
        asked = now - timedelta(days=random.uniform(8, 100))
        for _ in range(random.randint(1, 6)):
            at = asked - timedelta(days=random.uniform(0, 40))
            orders.append(
                {
                    "order_id": len(orders),
                    "customer_id": customer,
                    "amount": random.uniform(1, 99),
                    "ordered_at": at.isoformat(),
                }
            )
        outcomes.append(
            {
                "customer_id": customer,
                "asked_at": asked.isoformat(),
                "left": random.random() < 0.5,
                "known_at": (asked + timedelta(days=7)).isoformat(),
            }
        )
    for name, records in [("orders", orders), ("outcomes", outcomes)]:
        lines = "".join(json.dumps(record) + "\n" for record in records)
        (folder / f"{name}.jsonl").write_text(lines)
    (folder / "bad.jsonl").write_text('{"order_id": 1, "customer_id": null}\n')


def file_events(platform: RunningPlatform) -> list[dict[str, Any]]:
    path = platform.folder / "martlet-data" / "openlineage" / "events.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def wait_for(what: str, is_true: Any) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while not is_true():
        assert time.monotonic() < deadline, f"{WAIT_SECONDS} s passed before {what}"
        time.sleep(0.05)


def story(events: list[dict[str, Any]]) -> list[str]:
    """Job and type of each event; the events of a run have to share its id."""
    told, open_runs = [], {}
    for event in events:
        job, kind, run = event["job"]["name"], event["eventType"], event["run"]["runId"]
        if kind == "START":
            assert run not in open_runs
            open_runs[run] = job
        else:
            assert open_runs.pop(run) == job
        told.append(f"{job} {kind}")
    assert not open_runs, "a run without an end"
    return told


@needs_binary
def test_runs_are_told_to_a_file_and_an_address_in_the_client_s_own_terms(
    shop: RunningPlatform, collector: Collector
) -> None:
    assert martlet(shop, "init").returncode == 0
    assert martlet(shop, "apply").returncode == 0
    write_data(shop.folder)
    assert martlet(shop, "train", "churn").returncode == 1
    for source in ("orders", "outcomes"):
        assert martlet(shop, "ingest", source, f"{source}.jsonl").returncode == 0
    assert martlet(shop, "ingest", "orders", "bad.jsonl", "--strict").returncode == 1
    trained = martlet(shop, "train", "churn")
    assert trained.returncode == 0, trained.stderr
    expected = [
        "train.churn START",
        "train.churn FAIL",
        "ingest.orders START",
        "ingest.orders COMPLETE",
        "ingest.outcomes START",
        "ingest.outcomes COMPLETE",
        "ingest.orders START",
        "ingest.orders FAIL",
        "train.churn START",
        "train.churn COMPLETE",
    ]
    wait_for("all was posted", lambda: len(collector.taken) >= len(expected))
    written = file_events(shop)
    assert story(written) == expected
    assert collector.taken == written, "the refused one came again, and in its place"
    assert collector.seen == {("/api/v1/lineage", "Bearer a-secret", "application/json")}
    for event in written:
        run_event(event)
    completed = written[-1]
    ranges = completed["inputs"][0]["inputFacets"]["martlet_events"]["ranges"]
    assert ranges[0]["count"] > 0
    assert completed["outputs"][1]["facets"]["version"]["datasetVersion"] == "1"
    fields = completed["outputs"][0]["facets"]["columnLineage"]["fields"]
    assert {one["field"] for one in fields["customer_orders.mean_30d"]["inputFields"]} >= {"amount"}
    assert written[3]["outputs"][0]["outputFacets"]["outputStatistics"]["rowCount"] > 300


@needs_binary
def test_a_cancelled_training_is_aborted(shop: RunningPlatform, collector: Collector) -> None:
    assert martlet(shop, "init").returncode == 0
    (shop.folder / "train.py").write_text(SLOW)
    assert martlet(shop, "apply").returncode == 0
    write_data(shop.folder)
    for source in ("orders", "outcomes"):
        assert martlet(shop, "ingest", source, f"{source}.jsonl").returncode == 0
    training = subprocess.Popen(
        ["martlet", "train", "churn"],
        cwd=shop.folder,
        env=shop.environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    wait_for("the training began", lambda: "train.churn" in str(file_events(shop)))
    jobs = json.loads(martlet(shop, "jobs", "list", "--json").stdout)["jobs"]
    assert martlet(shop, "jobs", "cancel", jobs[0]["id"]).returncode == 0
    assert training.wait(timeout=WAIT_SECONDS) == 1
    wait_for("the end was told", lambda: len(file_events(shop)) == 6)
    events = file_events(shop)
    assert story(events)[-2:] == ["train.churn START", "train.churn ABORT"]
    run_event(events[-1])
