"""NVIDIA's `tritonclient` from PyPI, over HTTP and gRPC, sync and asyncio, against a platform."""

from __future__ import annotations

import asyncio
import json
import queue
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc
import tritonclient.grpc.aio
import tritonclient.http
import tritonclient.http.aio
from conftest import FEATURES, expected
from running_platform import RunningPlatform, needs_binary
from tritonclient.utils import InferenceServerException

pytestmark = needs_binary

ROWS = np.array([[1.0, 2.0, 3.0], [4.0, 5.5, 0.25]])
ANSWERS = [expected(*row) for row in ROWS]
KINDS = {"http": tritonclient.http, "grpc": tritonclient.grpc}


@pytest.fixture(params=["http", "grpc"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def library(kind: str) -> Any:
    return KINDS[kind]


@pytest.fixture
def client(kind: str, library: Any, platform: RunningPlatform) -> Iterator[Any]:
    address = platform.http if kind == "http" else platform.grpc
    with library.InferenceServerClient(address) as client:
        yield client


def tensor(library: Any, name: str, array: Any, datatype: str, **options: Any) -> Any:
    tensor = library.InferInput(name, list(array.shape), datatype)
    tensor.set_data_from_numpy(array, **options)
    return tensor


def by_feature(library: Any, rows: Any = ROWS) -> list[Any]:
    """A tensor for each feature, each in a datatype of its own."""
    types = [("INT32", np.int32), ("FP32", np.float32), ("FP64", np.float64)]
    return [
        tensor(library, name, rows[:, index].astype(dtype), datatype)
        for index, (name, (datatype, dtype)) in enumerate(zip(FEATURES, types, strict=True))
    ]


# MARK: the server and its models


def test_server_and_model_are_live_and_ready(client: Any) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("spend")
    assert client.is_model_ready("spend", "1")
    assert not client.is_model_ready("spend", "2")


def test_the_server_tells_its_extensions(kind: str, client: Any) -> None:
    metadata = client.get_server_metadata()
    told = (
        metadata if kind == "http" else {"name": metadata.name, "extensions": metadata.extensions}
    )
    assert told["name"] == "martlet"
    assert {"binary_tensor_data", "model_repository", "statistics"} <= set(told["extensions"])


def test_the_metadata_names_the_features_in_order(kind: str, client: Any) -> None:
    options = {} if kind == "http" else {"as_json": True}
    metadata = client.get_model_metadata("spend", **options)
    shape = [-1] if kind == "http" else ["-1"]
    assert metadata["versions"] == ["2", "1"]
    assert [each["name"] for each in metadata["inputs"]] == FEATURES
    assert [each["datatype"] for each in metadata["inputs"]] == ["INT64", "FP64", "FP64"]
    assert metadata["outputs"] == [{"name": "prediction", "datatype": "FP64", "shape": shape}]


def test_the_configuration_has_the_same_tensors(kind: str, client: Any) -> None:
    if kind == "http":
        config = client.get_model_config("spend", "1")
        assert [each["data_type"] for each in config["input"]] == [
            "TYPE_INT64",
            "TYPE_FP64",
            "TYPE_FP64",
        ]
    else:
        config = client.get_model_config("spend", "1", as_json=True)["config"]
    assert [each["name"] for each in config["input"]] == FEATURES
    assert config["output"][0]["data_type"] == "TYPE_FP64"


def test_statistics_count_rows_and_calls(kind: str, client: Any, library: Any) -> None:
    def counts() -> tuple[int, int, int]:
        if kind == "http":
            one = client.get_inference_statistics("spend", "1")["model_stats"][0]
            stats = one["inference_stats"]
            return one["inference_count"], one["execution_count"], stats["success"]["ns"]
        one = client.get_inference_statistics("spend", "1").model_stats[0]
        return one.inference_count, one.execution_count, one.inference_stats.success.ns

    rows, calls, spent = counts()
    client.infer("spend", by_feature(library))
    after = counts()
    assert after[:2] == (rows + 2, calls + 1) and after[2] > spent


def test_the_repository_lists_versions(kind: str, client: Any) -> None:
    index = client.get_model_repository_index()
    found = (
        index
        if kind == "http"
        else [
            {"name": each.name, "version": each.version, "state": each.state}
            for each in index.models
        ]
    )
    states = {each["version"]: each["state"] for each in found}
    assert states["1"] == "READY" and set(states) == {"1", "2"}


def test_a_model_is_unloaded_and_loaded_again(client: Any, library: Any) -> None:
    client.unload_model("spend")
    try:
        assert not client.is_model_ready("spend")
        with pytest.raises(InferenceServerException, match="was unloaded"):
            client.infer("spend", by_feature(library))
    finally:
        client.load_model("spend")
    assert client.is_model_ready("spend")
    assert client.infer("spend", by_feature(library)).as_numpy("prediction").tolist() == ANSWERS


# MARK: inference


@pytest.mark.parametrize("binary", [True, False])
def test_a_tensor_for_each_feature(kind: str, client: Any, library: Any, binary: bool) -> None:
    inputs = by_feature(library)
    outputs = [library.InferRequestedOutput("prediction")]
    if kind == "http":
        options = {"binary_data": binary}
        inputs = [
            tensor(library, each.name(), ROWS[:, [index]], "FP64", **options)
            for index, each in enumerate(inputs)
        ]
        outputs = [library.InferRequestedOutput("prediction", binary_data=binary)]
    result = client.infer("spend", inputs, outputs=outputs, request_id="mine")
    assert result.as_numpy("prediction").tolist() == ANSWERS
    response = result.get_response()
    told = (
        response if kind == "http" else {"id": response.id, "model_version": response.model_version}
    )
    assert (told["id"], told["model_version"]) == ("mine", "1")


def test_one_matrix_in_the_order_of_the_features(client: Any, library: Any) -> None:
    for name, datatype, dtype in [("input-0", "FP64", np.float64), ("X", "FP16", np.float16)]:
        result = client.infer("spend", [tensor(library, name, ROWS.astype(dtype), datatype)])
        assert result.as_numpy("prediction").tolist() == ANSWERS


def test_a_version_is_asked_by_its_number(kind: str, client: Any, library: Any) -> None:
    result = client.infer("spend", by_feature(library), model_version="2")
    response = result.get_response()
    assert (response["model_version"] if kind == "http" else response.model_version) == "2"
    assert result.as_numpy("prediction").tolist() == ANSWERS


def test_keys_and_inputs_as_tensors_are_hydrated(client: Any, library: Any) -> None:
    keys = tensor(library, "customer_id", np.array([2, 5, 999]), "INT64")
    basket = tensor(library, "basket", np.array([1.0, 0.0, 2.0]), "FP64")
    outputs = [library.InferRequestedOutput(name) for name in ["prediction", "visits.count_30d"]]
    result = client.infer("spend", [keys, basket], outputs=outputs)
    assert result.as_numpy("visits.count_30d").tolist() == [2, 5, 0]
    assert result.as_numpy("prediction").tolist() == [
        expected(2, 5.0, 1.0),
        expected(5, 12.5, 0.0),
        expected(0, 0, 2.0),
    ]


def test_entities_in_the_parameters_need_no_tensors(kind: str, client: Any) -> None:
    entities: Any = [{"customer_id": 3, "basket": 1.5}]
    parameters = {"entities": entities if kind == "http" else json.dumps(entities)}
    result = client.infer("spend", [], parameters=parameters)
    assert result.as_numpy("prediction").tolist() == [expected(3, 7.5, 1.5)]


def test_a_nan_follows_the_policy_for_missing_values(client: Any, library: Any) -> None:
    rows = np.array([[1.0, np.nan, 3.0]])
    result = client.infer("spend", [tensor(library, "x", rows, "FP64")])
    assert result.as_numpy("prediction").tolist() == [expected(1, 0, 3)]


@pytest.mark.parametrize("algorithm", ["gzip", "deflate"])
def test_requests_and_answers_may_be_compressed(
    kind: str, client: Any, library: Any, algorithm: str
) -> None:
    rows = np.tile(ROWS, (500, 1))
    options = {
        "request_compression_algorithm": algorithm,
        "response_compression_algorithm": algorithm,
    }
    if kind == "grpc":
        options = {"compression_algorithm": algorithm}
    result = client.infer("spend", [tensor(library, "x", rows, "FP64")], **options)
    assert result.as_numpy("prediction").tolist() == ANSWERS * 500


def test_a_timeout_in_microseconds_ends_the_call(client: Any, library: Any) -> None:
    with pytest.raises(InferenceServerException, match="not ready within"):
        client.infer("spend", by_feature(library), timeout=1)


WRONG: list[tuple[Callable[[Any], list[Any]], str]] = [
    (lambda library: by_feature(library)[:2], "brings all of them"),
    (lambda library: [tensor(library, "x", np.zeros((1, 7)), "FP64")], "the model reads 3"),
    (lambda library: [tensor(library, "basket", np.zeros((0,)), "FP64")], "takes 1 to 10000 rows"),
    (lambda library: [tensor(library, "x", np.zeros((10_001, 3)), "FP64")], "got 10001"),
    (
        lambda library: [
            *by_feature(library)[:2],
            tensor(library, "basket", np.zeros((3,)), "FP64"),
        ],
        "has 3 rows",
    ),
    (
        lambda library: [
            *by_feature(library)[:2],
            tensor(library, "basket", np.array(["a", "b"], dtype=object), "BYTES"),
        ],
        "is no double",
    ),
    (lambda library: [tensor(library, "x", np.array([[1.5, 1, 1]]), "FP64")], "is no int64"),
]


@pytest.mark.parametrize(("inputs", "reason"), WRONG)
def test_what_does_not_fit_is_refused_with_its_reason(
    client: Any, library: Any, inputs: Callable[[Any], list[Any]], reason: str
) -> None:
    with pytest.raises(InferenceServerException, match=reason):
        client.infer("spend", inputs(library))


def test_an_unknown_model_version_or_output_is_told(client: Any, library: Any) -> None:
    with pytest.raises(InferenceServerException, match="did you mean 'spend'"):
        client.infer("spent", by_feature(library))
    with pytest.raises(InferenceServerException, match="no version '9'"):
        client.infer("spend", by_feature(library), model_version="9")
    with pytest.raises(InferenceServerException, match="did you mean 'prediction'"):
        wanted = [library.InferRequestedOutput("predictions")]
        client.infer("spend", by_feature(library), outputs=wanted)


# MARK: other ways of the clients


def test_http_calls_wait_for_each_other_in_the_background(platform: RunningPlatform) -> None:
    library = tritonclient.http
    with library.InferenceServerClient(platform.http, concurrency=4) as client:
        running = [client.async_infer("spend", by_feature(library)) for _ in range(8)]
        answers = [each.get_result().as_numpy("prediction").tolist() for each in running]
    assert answers == [ANSWERS] * 8


def test_a_grpc_stream_answers_each_request_and_survives_an_error(
    platform: RunningPlatform,
) -> None:
    library = tritonclient.grpc
    told: queue.Queue[tuple[Any, Any]] = queue.Queue()
    with library.InferenceServerClient(platform.grpc) as client:
        client.start_stream(callback=lambda result, error: told.put((result, error)))
        client.async_stream_infer("spend", by_feature(library), request_id="first")
        client.async_stream_infer("spent", by_feature(library), request_id="second")
        client.async_stream_infer("spend", by_feature(library), request_id="third")
        answers = [told.get(timeout=30) for _ in range(3)]
        client.stop_stream()
    assert answers[0][0].as_numpy("prediction").tolist() == ANSWERS
    assert "did you mean 'spend'" in str(answers[1][1])
    assert answers[2][0].get_response().id == "third"


def test_the_asyncio_client_over_http(platform: RunningPlatform) -> None:
    async def run() -> Any:
        library = tritonclient.http.aio
        async with library.InferenceServerClient(platform.http) as client:
            assert await client.is_server_ready() and await client.is_model_ready("spend")
            result = await client.infer("spend", by_feature(library))
            return result.as_numpy("prediction").tolist()

    assert asyncio.run(run()) == ANSWERS


def test_the_asyncio_client_over_grpc(platform: RunningPlatform) -> None:
    async def run() -> Any:
        library = tritonclient.grpc.aio
        async with library.InferenceServerClient(platform.grpc) as client:
            assert await client.is_server_ready() and await client.is_model_ready("spend")
            result = await client.infer("spend", by_feature(library))
            return result.as_numpy("prediction").tolist()

    assert asyncio.run(run()) == ANSWERS
