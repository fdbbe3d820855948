"""The frames that both test suites agree on, byte by byte.

`python tests/golden_frames.py` writes `golden/`: for each frame a file as it goes over the socket
(4-byte little-endian length, then the message), and `manifest.json` with the same frame in
protobuf's JSON mapping, so that another language can build it and compare bytes.
"""

from __future__ import annotations

import json
import struct
from pathlib import Path

import numpy as np
from google.protobuf import json_format

from martlet_worker import columns as wire
from martlet_worker import worker_pb2 as pb

DIRECTORY = Path(__file__).parent / "golden"
SHA256 = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"


def every_type() -> pb.Columns:
    """Three rows of each type and of arrays, with nulls, an empty string and text beyond ASCII."""
    last_null = np.array([True, True, False])
    return pb.Columns(
        rows=3,
        columns=[
            wire.packed_column("returning", wire.BOOL, np.array([True, False, True])),
            wire.packed_column("orders", wire.INT64, np.array([-1, 2**53 + 1, 0]), last_null),
            wire.packed_column("spent", wire.DOUBLE, np.array([0.1, -2.5e300, 3.0])),
            wire.packed_column(
                "city", wire.STRING, np.array(["Zürich", "", "東京 🗼"], dtype=object)
            ),
            wire.packed_column(
                "note", wire.STRING, np.array(["a", "bc", None], dtype=object), last_null
            ),
            wire.packed_column(
                "seen_at",
                wire.TIMESTAMP,
                np.array(
                    ["2026-01-02T03:04:05.678901", "1969-12-31T23:59:59.999999", "NaT"], "M8[us]"
                ),
                last_null,
            ),
            wire.column_of("embedding", np.array([[0.5, -1.0], [2.0, 1e-300], [np.nan, np.nan]])),
            wire.column_of("tags", [["a", "Zürich"], [], None]),
        ],
    )


def scores(*values: float) -> pb.Columns:
    return wire.predictions(np.array(values))


def tasks() -> dict[str, pb.Frame]:
    load = pb.LoadModel(
        model="churn", version=3, artifact_path="/data/blobs/9f86.martlet", sha256=SHA256,
        format="pickle", features=["orders", "spent"],
    )  # fmt: skip
    train = pb.Train(
        run_path="train.py", function="train.py:train", working_directory="/project",
        dataset_path="/data/sets/1.columns", features=["orders", "spent"], label="churned",
        options_json='{"random_seed": 7}', output_directory="/data/artifacts/1",
        evaluation_from=9_000,
    )  # fmt: skip
    transform = pb.Transform(
        code_path="/project/clean.py", function="clean.py:transform", rows=every_type()
    )
    return {
        "task_load_model": pb.Frame(task=pb.Task(id="t-1", timeout_ms=30_000, load_model=load)),
        "task_predict": pb.Frame(
            task=pb.Task(
                id="t-2",
                timeout_ms=250,
                predict=pb.Predict(model="churn", version=3, rows=every_type()),
            )
        ),
        "task_train": pb.Frame(task=pb.Task(id="t-3", train=train)),
        "task_transform": pb.Frame(task=pb.Task(id="t-4", transform=transform)),
        "task_unload": pb.Frame(task=pb.Task(id="t-5", unload=pb.Unload(model="churn", version=3))),
    }


def results() -> dict[str, pb.Frame]:
    trained = pb.Trained(
        artifact_path="/data/artifacts/1/model.martlet",
        format="pickle",
        sha256=SHA256,
        evaluation_predictions=scores(0.25, 0.75),
        training_predictions=scores(0.5),
        metrics={"accuracy": 0.875, "trees": 100.0},
        libraries={"numpy": "2.4.6", "scikit-learn": "1.9.1"},
    )
    transformed = pb.Transformed(
        rows=every_type(),
        row_errors=[pb.RowError(row=2, message="ValueError: no such city")],
    )
    return {
        "result_loaded": pb.Frame(
            result=pb.Result(task_id="t-1", loaded=pb.Loaded(), compute_us=1_500)
        ),
        "result_predicted": pb.Frame(
            result=pb.Result(
                task_id="t-2",
                predicted=pb.Predicted(predictions=scores(0.125, 0.5, 1.0)),
                compute_us=90,
            )
        ),
        "result_trained": pb.Frame(result=pb.Result(task_id="t-3", trained=trained)),
        "result_transformed": pb.Frame(result=pb.Result(task_id="t-4", transformed=transformed)),
        "result_unloaded": pb.Frame(result=pb.Result(task_id="t-5", unloaded=pb.Unloaded())),
    }


def frames() -> dict[str, pb.Frame]:
    hello = pb.Hello(
        protocol_version=1, worker_id="worker-1", incarnation=2**63 + 5, token="secret", pid=4242,
        python_version="3.11.2", libraries={"lightgbm": "4.7.0", "numpy": "2.4.6"},
        kinds=[1, 2, 3, 4, 5], memory_bytes=64 * 2**20,
    )  # fmt: skip
    fault = pb.Fault(
        task_id="t-3",
        kind=pb.Fault.USER_ERROR,
        message="train.py:12 (train) raised ValueError: no rows",
        traceback_last_line="ValueError: no rows",
        traceback="Traceback (most recent call last):\n  …\nValueError: no rows\n",
    )
    heartbeat = pb.Heartbeat(incarnation=7, rss_bytes=100_000_000, busy_task_id="t-3", sequence=12)
    log = pb.Log(level=pb.Log.INFO, logger="stdout", message="première époque: ok", task_id="t-3")
    return {
        "hello": pb.Frame(hello=hello),
        "welcome": pb.Frame(
            welcome=pb.Welcome(heartbeat_interval_ms=1_000, max_frame_bytes=64 * 2**20)
        ),
        **tasks(),
        **results(),
        "fault": pb.Frame(fault=fault),
        "heartbeat": pb.Frame(heartbeat=heartbeat),
        "log": pb.Frame(log=log),
        "drain": pb.Frame(drain=pb.Drain()),
    }


def on_the_socket(frame: pb.Frame) -> bytes:
    payload = frame.SerializeToString(deterministic=True)
    return struct.pack("<I", len(payload)) + payload


def manifest() -> str:
    entries = [
        {
            "name": name,
            "file": f"{name}.bin",
            "kind": frame.WhichOneof("kind"),
            "bytes": len(on_the_socket(frame)),
            "frame": json_format.MessageToDict(frame),
        }
        for name, frame in frames().items()
    ]
    about = {
        "about": "Each file is one frame as on the Unix socket: 4-byte little-endian length, then "
        "the Frame serialized with fields in order of number and map entries in order of key. "
        "'frame' is the same in protobuf's JSON mapping.",
        "frames": entries,
    }
    return json.dumps(about, indent=2, ensure_ascii=False, sort_keys=True) + "\n"


def write() -> None:
    DIRECTORY.mkdir(exist_ok=True)
    for name, frame in frames().items():
        (DIRECTORY / f"{name}.bin").write_bytes(on_the_socket(frame))
    (DIRECTORY / "manifest.json").write_text(manifest(), encoding="utf-8")


if __name__ == "__main__":
    write()
