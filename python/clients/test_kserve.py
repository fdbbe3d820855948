"""KServe's own inference clients from PyPI, REST and gRPC, unchanged against a platform."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import grpc
import numpy as np
import pytest
from conftest import FEATURES, expected
from kserve import InferenceGRPCClient, InferenceRESTClient, InferInput, InferRequest
from kserve.inference_client import RESTConfig
from kserve.protocol.grpc import grpc_predict_v2_pb2 as wire
from kserve.protocol.grpc import grpc_predict_v2_pb2_grpc as services
from running_platform import RunningPlatform, needs_binary

pytestmark = needs_binary

ROWS = np.array([[1.0, 2.0, 3.0], [4.0, 5.5, 0.25]])
ANSWERS = [expected(*row) for row in ROWS]


def request(binary: bool) -> InferRequest:
    inputs = []
    for index, name in enumerate(FEATURES):
        tensor = InferInput(name, [2], "FP64")
        tensor.set_data_from_numpy(ROWS[:, index], binary_data=binary)
        inputs.append(tensor)
    return InferRequest("spend", inputs, request_id="mine")


def run(work: Coroutine[Any, Any, None]) -> None:
    asyncio.run(work)


def test_rest_health_is_what_the_client_reads(platform: RunningPlatform) -> None:
    async def work() -> None:
        client = InferenceRESTClient(RESTConfig(protocol="v2"))
        assert await client.is_server_live(platform.address) is True
        assert await client.is_server_ready(platform.address) is True
        assert await client.is_model_ready(platform.address, "spend") is True

    run(work())


@pytest.mark.parametrize("binary", [True, False])
def test_rest_inference(platform: RunningPlatform, binary: bool) -> None:
    async def work() -> None:
        client = InferenceRESTClient(RESTConfig(protocol="v2"))
        answer = await client.infer(platform.address, request(binary), model_name="spend")
        assert (answer.id, answer.model_name) == ("mine", "spend")
        assert answer.outputs[0].as_numpy().tolist() == ANSWERS

    run(work())


def test_rest_entities(platform: RunningPlatform) -> None:
    async def work() -> None:
        client = InferenceRESTClient(RESTConfig(protocol="v2"))
        body = {"inputs": [], "parameters": {"entities": {"customer_id": 3, "basket": 1.5}}}
        answer = await client.infer(platform.address, body, model_name="spend")
        assert answer.outputs[0].data == [expected(3, 7.5, 1.5)]

    run(work())


@pytest.mark.parametrize("binary", [True, False])
def test_grpc_inference(platform: RunningPlatform, binary: bool) -> None:
    async def work() -> None:
        async with InferenceGRPCClient(platform.grpc) as client:
            assert await client.is_server_live() and await client.is_server_ready()
            assert await client.is_model_ready("spend")
            answer = await client.infer(request(binary))
            assert answer.outputs[0].as_numpy().tolist() == ANSWERS

    run(work())


def test_a_model_is_loaded_and_unloaded_by_kserves_field_numbers(platform: RunningPlatform) -> None:
    with grpc.insecure_channel(platform.grpc) as channel:
        stub = services.GRPCInferenceServiceStub(channel)
        gone = stub.RepositoryModelUnload(wire.RepositoryModelUnloadRequest(model_name="spend"))
        assert (gone.model_name, gone.isUnloaded) == ("spend", True)
        assert not stub.ModelReady(wire.ModelReadyRequest(name="spend")).ready
        back = stub.RepositoryModelLoad(wire.RepositoryModelLoadRequest(model_name="spend"))
        assert (back.model_name, back.isLoaded) == ("spend", True)
        assert stub.ModelReady(wire.ModelReadyRequest(name="spend")).ready
