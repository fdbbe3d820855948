"""The protocol and the scoring contract as curl sends them."""

from __future__ import annotations

import gzip
import json
import struct
import subprocess
from pathlib import Path
from typing import Any

import pytest
from conftest import FEATURES, expected
from running_platform import RunningPlatform, needs_binary

pytestmark = needs_binary

COLUMNS = ["customer_id", "basket"]


def curl(
    platform: RunningPlatform, path: str, *options: str, body: bytes | None = None
) -> tuple[int, bytes]:
    """The status and the body."""
    sent = [] if body is None else ["--data-binary", "@-"]
    command = ["curl", "-sS", "-w", "\n%{http_code}", *sent, *options, f"{platform.address}{path}"]
    done = subprocess.run(command, input=body, capture_output=True, check=True, timeout=60)
    content, _, status = done.stdout.rpartition(b"\n")
    return int(status), content


def score(platform: RunningPlatform, body: Any, *options: str) -> list[float]:
    kind = "Content-Type: application/json"
    status, content = curl(
        platform, "/invocations", "-H", kind, *options, body=json.dumps(body).encode()
    )
    assert status == 200, content
    return list(json.loads(content)["predictions"])


def test_health_needs_no_body_and_no_token(platform: RunningPlatform) -> None:
    assert curl(platform, "/v2/health/live") == (200, b'{"live":true}\n')
    assert curl(platform, "/v2/health/ready") == (200, b'{"ready":true}\n')
    assert curl(platform, "/ping") == (200, b"")


def test_a_request_of_bytes_alone(platform: RunningPlatform) -> None:
    body = struct.pack("<6d", 1, 2, 3, 4, 5.5, 0.25)
    header = "Inference-Header-Content-Length: 0"
    status, content = curl(
        platform, "/v2/models/spend/infer", "-H", header, "-D", "/dev/stderr", body=body
    )
    assert status == 200
    length = content.index(b"]}") + 2
    assert json.loads(content[:length])["outputs"][0]["shape"] == [2]
    assert struct.unpack("<2d", content[length:]) == (expected(1, 2, 3), expected(4, 5.5, 0.25))


def test_a_stage_names_a_version(platform: RunningPlatform) -> None:
    body = json.dumps({"parameters": {"entities": {"customer_id": 1, "basket": 0}}}).encode()
    for version in ["1", "v1", "production"]:
        status, content = curl(platform, f"/v2/models/spend/versions/{version}/infer", body=body)
        assert (status, json.loads(content)["model_version"]) == (200, "1")


def test_unknown_paths_and_models_have_the_protocols_error(platform: RunningPlatform) -> None:
    status, content = curl(platform, "/v2/models/nothing")
    assert status == 404 and "there is no model 'nothing'" in json.loads(content)["error"]
    status, content = curl(platform, "/v2/nothing")
    assert status == 404 and isinstance(json.loads(content)["error"], str)


DAMAGED: list[tuple[bytes, tuple[str, ...]]] = [
    (b"", ()),
    (b"\xff\xfe", ()),
    (b"[" * 200_000, ()),
    (b'{"inputs":[{"name":"x","shape":[1,3],"datatype":"FP64","data":[1,2', ()),
    (b'{"inputs":[]}', ("Inference-Header-Content-Length: 99",)),
    (b'{"inputs":[]}', ("Inference-Header-Content-Length: -1",)),
    (b'{"inputs":[]}', ("Inference-Header-Content-Length: x",)),
    (b"\x00" * 7, ("Inference-Header-Content-Length: 0",)),
    (b"", ("Inference-Header-Content-Length: 0",)),
    (b"not gzip", ("Content-Encoding: gzip",)),
    (gzip.compress(b'{"inputs":[]}')[:-4], ("Content-Encoding: gzip",)),
    (gzip.compress(bytes(80 << 20)), ("Content-Encoding: gzip",)),
    (b"{}", ("Content-Encoding: br",)),
]


@pytest.mark.parametrize(("body", "headers"), DAMAGED)
def test_a_damaged_body_is_a_400_with_a_reason(
    platform: RunningPlatform, body: bytes, headers: tuple[str, ...]
) -> None:
    options = [part for header in headers for part in ("-H", header)]
    status, content = curl(platform, "/v2/models/spend/infer", *options, body=body)
    assert status == 400 and len(json.loads(content)["error"]) > 10
    assert curl(platform, "/v2/health/live")[0] == 200


# MARK: the scoring contract


def test_dataframe_split_is_hydrated(platform: RunningPlatform) -> None:
    frame = {
        "columns": [*COLUMNS, "more"],
        "index": [7, 8],
        "data": [[2, 1.0, "x"], [999, None, "y"]],
    }
    assert score(platform, {"dataframe_split": frame}) == [expected(2, 5.0, 1.0), expected(0, 0, 0)]


def test_dataframe_records_are_hydrated(platform: RunningPlatform) -> None:
    records = [{"customer_id": 5, "basket": 0.5}, {"basket": 1, "customer_id": 1}]
    assert score(platform, {"dataframe_records": records}) == [
        expected(5, 12.5, 0.5),
        expected(1, 2.5, 1),
    ]


@pytest.mark.parametrize("form", ["instances", "inputs"])
def test_features_by_name_or_in_order_are_scored_as_they_are(
    platform: RunningPlatform, form: str
) -> None:
    row = [1, 2.0, 3]
    answer = [expected(*row)]
    named = dict(zip(FEATURES, row, strict=True))
    assert score(platform, {form: [row]}) == answer
    assert score(platform, {form: [named]}) == answer
    assert score(platform, {form: {name: [value] for name, value in named.items()}}) == answer


def test_csv_with_and_without_names(platform: RunningPlatform) -> None:
    kind = "Content-Type: text/csv; charset=utf-8"
    for body in [
        b"basket,customer_id\n1.0,2\n",
        b'"basket","customer_id"\r\n1.0,"2"\r\n',
        b"2,5.0,1.0\n",
    ]:
        status, content = curl(platform, "/invocations", "-H", kind, body=body)
        assert (status, json.loads(content)) == (200, {"predictions": [expected(2, 5.0, 1.0)]})
    status, content = curl(
        platform, "/invocations", "-H", kind, "-H", "Accept: text/csv", body=b"2,5.0,1.0\n"
    )
    assert (status, float(content)) == (200, expected(2, 5.0, 1.0))


def test_the_model_is_named_by_a_header(platform: RunningPlatform) -> None:
    body = {"instances": [[1, 2, 3]]}
    assert score(platform, body, "-H", "X-Martlet-Model: spend", "-H", "X-Martlet-Model-Version: 2")
    status, content = curl(
        platform, "/invocations", "-H", "X-Martlet-Model: spent", body=json.dumps(body).encode()
    )
    error = json.loads(content)
    assert (status, error["error_code"]) == (404, "NOT_FOUND") and "spend" in error["message"]


MISTAKEN: list[tuple[str, bytes, str]] = [
    ("application/json", b"{}", "send exactly one"),
    ("application/json", b'{"instances": [], "inputs": []}', "send exactly one"),
    ("application/json", b'{"instance": [[1]]}', "did you mean 'instances'"),
    ("application/json", b'{"instances": [[1, 2]]}', "the model reads 3"),
    ("application/json", b'{"instances": [[1, 2, 3], [1]]}', "has 1 values"),
    ("application/json", b'{"instances": [[1, "x", 3]]}', "all numbers"),
    (
        "application/json",
        b'{"dataframe_split": {"columns": ["a"], "data": [[1, 2]]}}',
        "for 1 columns",
    ),
    ("application/json", b'{"dataframe_records": 7}', "list of objects"),
    ("application/json", b'{"dataframe_records": [7]}', "is no object"),
    ("text/csv", b"", "the CSV is empty"),
    ("text/csv", b"1,2,3\n1\n", "has 1 values"),
    ("text/csv", b'"1', "within a quoted value"),
    ("application/xml", b"<a/>", "takes the content types"),
]


@pytest.mark.parametrize(("kind", "body", "reason"), MISTAKEN)
def test_a_mistaken_invocation_is_a_400_with_a_reason(
    platform: RunningPlatform, kind: str, body: bytes, reason: str
) -> None:
    status, content = curl(platform, "/invocations", "-H", f"Content-Type: {kind}", body=body)
    assert status == 400 and reason in json.loads(content)["message"], content


def test_a_prediction_from_tensors_is_logged_without_keys(
    platform: RunningPlatform, tmp_path: Path
) -> None:
    body = {"id": "logged", "inputs": [
        {"name": "m", "shape": [1, 3], "datatype": "FP64", "data": [1, 2, 3]}
    ]}  # fmt: skip
    assert curl(platform, "/v2/models/spend/infer", body=json.dumps(body).encode())[0] == 200
    verified = curl(platform, "/api/v1/features/verify", body=b"{}")
    assert verified[0] == 200, verified
    sql = "SELECT entity_keys, model_result FROM model_logs WHERE request_id = 'logged'"
    status, content = curl(platform, "/api/v1/sql", body=json.dumps({"sql": sql}).encode())
    assert (status, json.loads(content)["rows"]) == (200, [["null", expected(1, 2, 3)]])
