"""The model registry through MLflow's own client, which knows nothing of Martlet.

The oracle is MLflow's own registry on files: what both are told alike, both must answer alike.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from client_side import DAY, NOW, order, write_project
from running_platform import RunningPlatform, needs_binary

import martlet

pytestmark = needs_binary


@pytest.fixture(scope="session", autouse=True)
def _quick(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A failing call is not tried again for minutes, and the registry on files is allowed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
        patch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
        patch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
        patch.chdir(tmp_path_factory.mktemp("mlflow"))
        yield


@pytest.fixture(scope="module")
def empty_platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningPlatform]:
    """A platform without definitions: a registry and nothing else."""
    folder = tmp_path_factory.mktemp("registry") / "project"
    folder.mkdir()
    running = RunningPlatform(folder)
    try:
        yield running
    finally:
        status = running.stop()
    assert status == 0, running.log.read_text()


def mlflow_client(uri: str) -> Any:
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=uri, registry_uri=uri)


@pytest.fixture
def registry(empty_platform: RunningPlatform) -> Any:
    """The client of a registry that holds nothing."""
    client = mlflow_client(empty_platform.address)
    for model in client.search_registered_models():
        client.delete_registered_model(model.name)
    return client


@pytest.fixture
def oracle(tmp_path: Path) -> Any:
    return mlflow_client(f"file://{tmp_path}")


def plain_tags(tags: dict[str, str]) -> dict[str, str]:
    return {key: value for key, value in tags.items() if not key.startswith("martlet.")}


def plain_version(version: Any) -> dict[str, Any]:
    return {
        "name": version.name,
        "version": int(version.version),
        "stage": version.current_stage,
        "description": version.description or "",
        "source": version.source,
        "run_id": version.run_id or "",
        "status": version.status,
        "tags": plain_tags(version.tags),
        "aliases": sorted(alias for alias in version.aliases if alias != "champion"),
    }


def plain(answer: Any) -> Any:
    """What both registries must agree on."""
    if answer is None or isinstance(answer, str):
        return answer
    if isinstance(answer, list):
        return [plain(item) for item in answer]
    if hasattr(answer, "current_stage"):
        return plain_version(answer)
    aliases = {key: int(value) for key, value in answer.aliases.items() if key != "champion"}
    newest = [(v.current_stage, int(v.version)) for v in answer.latest_versions or []]
    return {
        "name": answer.name,
        "description": answer.description or "",
        "tags": plain_tags(answer.tags),
        "aliases": aliases,
        "latest": sorted(newest),
    }


def outcome(client: Any, call: Callable[[Any], Any]) -> Any:
    from mlflow.exceptions import MlflowException

    try:
        return plain(call(client))
    except MlflowException as error:
        return ("failed", error.error_code)


def agree(ours: Any, theirs: Any) -> bool:
    """Where a failure of the registry on files has no code of its own, any failure will do."""
    if theirs == ("failed", "INTERNAL_ERROR"):
        return isinstance(ours, tuple)
    return bool(ours == theirs)


@pytest.fixture
def name() -> str:
    return f"model-{random.getrandbits(48):x}"


def test_a_model_is_registered_described_renamed_and_deleted(registry: Any, name: str) -> None:
    from mlflow.exceptions import MlflowException

    created = registry.create_registered_model(name, tags={"team": "growth"}, description="first")
    assert (created.name, created.description) == (name, "first")
    assert created.tags["team"] == "growth" and created.tags["martlet.defined"] == "false"
    assert created.creation_timestamp == created.last_updated_timestamp > 1_700_000_000_000
    described = registry.update_registered_model(name, "second")
    assert described.description == "second"
    assert described.last_updated_timestamp >= created.creation_timestamp
    registry.create_model_version(name, "s3://bucket/model", run_id="abc")
    registry.rename_registered_model(name, f"{name}-new")
    renamed = registry.get_registered_model(f"{name}-new")
    assert [v.name for v in renamed.latest_versions] == [f"{name}-new"]
    with pytest.raises(MlflowException, match="not found") as failure:
        registry.get_registered_model(name)
    assert failure.value.error_code == "RESOURCE_DOES_NOT_EXIST"
    registry.delete_registered_model(f"{name}-new")
    assert registry.search_registered_models(f"name LIKE '{name}%'") == []


def test_a_version_from_elsewhere_says_that_it_is_not_served(registry: Any, name: str) -> None:
    registry.create_registered_model(name)
    version = registry.create_model_version(
        name, "s3://bucket/model", run_id="abc", tags={"quality": "good"}, description="one"
    )
    assert (int(version.version), version.current_stage, version.status) == (1, "None", "READY")
    assert "in the registry only" in version.status_message
    assert "martlet.yaml" in version.status_message
    assert version.tags["quality"] == "good" and version.tags["martlet.stage"] == "registered"
    assert registry.get_model_version_download_uri(name, "1") == "s3://bucket/model"
    copy = registry.create_model_version(name, f"models:/{name}/1")
    assert registry.get_model_version_download_uri(name, copy.version) == "s3://bucket/model"


def test_the_alias_of_deployment_is_the_production_stage(registry: Any, name: str) -> None:
    registry.create_registered_model(name)
    for _ in range(2):
        registry.create_model_version(name, "s3://bucket/model")
    registry.set_registered_model_alias(name, "champion", "1")
    assert registry.get_model_version(name, "1").current_stage == "Production"
    registry.transition_model_version_stage(name, "2", "production")
    assert registry.get_registered_model(name).aliases == {"champion": "2"}
    assert registry.get_model_version(name, "1").current_stage == "Archived"
    assert int(registry.get_model_version_by_alias(name, "champion").version) == 2
    registry.delete_registered_model_alias(name, "champion")
    assert registry.get_registered_model(name).aliases == {}


FAULTS: list[Callable[[Any], Any]] = [
    lambda c: c.create_registered_model(""),
    lambda c: c.create_registered_model("a/b"),
    lambda c: c.create_registered_model("a:b"),
    lambda c: c.create_registered_model("there"),
    lambda c: c.create_registered_model("tagged", tags={"a,b": "x"}),
    lambda c: c.get_registered_model("nowhere"),
    lambda c: c.update_registered_model("nowhere", "x"),
    lambda c: c.rename_registered_model("nowhere", "somewhere"),
    lambda c: c.rename_registered_model("there", "other"),
    lambda c: c.rename_registered_model("there", ""),
    lambda c: c.rename_registered_model("there", "a/b"),
    lambda c: c.delete_registered_model("nowhere"),
    lambda c: c.get_latest_versions("nowhere"),
    lambda c: c.get_latest_versions("there", stages=["Live"]),
    lambda c: c.create_model_version("nowhere", "s3://x"),
    lambda c: c.get_model_version("there", "9"),
    lambda c: c.get_model_version("there", "one"),
    lambda c: c.get_model_version("nowhere", "1"),
    lambda c: c.update_model_version("there", "9", "x"),
    lambda c: c.delete_model_version("there", "9"),
    lambda c: c.transition_model_version_stage("there", "9", "Staging"),
    lambda c: c.transition_model_version_stage("there", "1", "Live"),
    lambda c: c.set_registered_model_tag("nowhere", "a", "b"),
    lambda c: c.set_registered_model_tag("there", "a,b", "c"),
    lambda c: c.set_model_version_tag("there", "9", "a", "b"),
    lambda c: c.set_model_version_tag("there", "1", "a" * 251, "b"),
    lambda c: c.delete_registered_model_tag("nowhere", "a"),
    lambda c: c.delete_registered_model_tag("there", "a"),
    lambda c: c.delete_model_version_tag("there", "9", "a"),
    lambda c: c.delete_model_version_tag("there", "1", "a"),
    lambda c: c.set_registered_model_alias("there", "latest", "1"),
    lambda c: c.set_registered_model_alias("there", "v3", "1"),
    lambda c: c.set_registered_model_alias("there", "a b", "1"),
    lambda c: c.set_registered_model_alias("there", "best", "9"),
    lambda c: c.set_registered_model_alias("nowhere", "best", "1"),
    lambda c: c.delete_registered_model_alias("there", "none"),
    lambda c: c.get_model_version_by_alias("there", "none"),
    lambda c: c.get_model_version_by_alias("nowhere", "none"),
    lambda c: c.get_model_version_download_uri("there", "9"),
    lambda c: c.search_registered_models("name > 'a'"),
    lambda c: c.search_registered_models("size = 'a'"),
    lambda c: c.search_registered_models("name = a"),
    lambda c: c.search_registered_models(order_by=["size"]),
    lambda c: c.search_registered_models(order_by=["name up"]),
    lambda c: c.search_registered_models(max_results=5_000),
    lambda c: c.search_registered_models(page_token="%%%"),
    lambda c: c.search_model_versions("version_number LIKE '1'"),
    lambda c: c.search_model_versions("name = 'a' OR name = 'b'"),
]


def test_mistakes_fail_with_the_codes_of_mlflow(registry: Any, oracle: Any) -> None:
    for client in (registry, oracle):
        for model in ("there", "other"):
            client.create_registered_model(model)
        client.create_model_version("there", "s3://bucket/model")
    different = []
    for number, call in enumerate(FAULTS):
        ours, theirs = outcome(registry, call), outcome(oracle, call)
        if not agree(ours, theirs):
            different.append((number, ours, theirs))
    assert different == []


FILTERS = [
    "",
    "name = 'beta'",
    "name LIKE '%a'",
    "name ILIKE 'A%'",
    "name != 'beta'",
    "name IN ('alpha', 'gamma')",
    "tags.team = 'growth'",
    "tags.team != 'growth'",
    "tags.`how good` ILIKE 'VERY%'",
    "name LIKE '%a' AND tags.team = 'risk'",
]

ORDERS = [[], ["name ASC"], ["name DESC"], ["last_updated_timestamp DESC", "name"]]


@pytest.fixture
def searched(registry: Any, oracle: Any) -> tuple[Any, Any]:
    rows = [("alpha", "growth"), ("beta", "risk"), ("gamma", "growth"), ("Delta", None)]
    for client in (registry, oracle):
        for model, team in rows:
            tags = {"team": team, "how good": "very good"} if team else {}
            client.create_registered_model(model, tags=tags)
            for number in range(3):
                client.create_model_version(
                    model, f"s3://bucket/{model}/{number}", run_id=f"{number}" * 32, tags=tags
                )
    return registry, oracle


def pages(search: Callable[..., Any], **query: Any) -> list[Any]:
    found, token = [], None
    while True:
        page = search(page_token=token, **query)
        found.append(plain(list(page)))
        token = page.token
        if not token:
            return found


def test_searches_answer_as_mlflow_does(searched: tuple[Any, Any]) -> None:
    ours, theirs = searched
    for wanted in FILTERS:
        for ordered in ORDERS:
            query = {"filter_string": wanted, "order_by": ordered, "max_results": 2}
            models = [pages(c.search_registered_models, **query) for c in (ours, theirs)]
            assert models[0] == models[1], query
    of_versions = [
        "run_id = '11111111111111111111111111111111'",
        "version_number >= 2",
        "source_path LIKE 's3://bucket/g%'",
        "name = 'beta' AND version_number != 2",
    ]
    for wanted in FILTERS + of_versions:
        for ordered in (["name ASC", "version_number DESC"], ["version_number ASC"]):
            query = {"filter_string": wanted, "order_by": ordered, "max_results": 4}
            versions = [pages(c.search_model_versions, **query) for c in (ours, theirs)]
            assert versions[0] == versions[1], query


def some_call(choose: random.Random) -> tuple[str, Callable[[Any], Any]]:
    """One call of the client, with what it is."""
    model = choose.choice(["a", "b", "c"])
    version = str(choose.randint(1, 5))
    alias = choose.choice(["best", "old", "next"])
    word = choose.choice(["x", "y", ""])
    stage = choose.choice(["None", "Staging", "Production", "Archived"])
    calls: dict[str, Callable[[Any], Any]] = {
        f"create {model}": lambda c: c.create_registered_model(model, {"t": word}, word),
        f"version of {model}": lambda c: c.create_model_version(
            model, f"s3://{word}", "r" * 32, {"t": word}, description=word
        ),
        f"version of {model} again": lambda c: c.create_model_version(model, "s3://more"),
        f"describe {model}": lambda c: c.update_registered_model(model, word),
        f"describe {model} {version}": lambda c: c.update_model_version(model, version, word),
        f"tag {model}": lambda c: c.set_registered_model_tag(model, "t", word),
        f"untag {model}": lambda c: c.delete_registered_model_tag(model, "t"),
        f"tag {model} {version}": lambda c: c.set_model_version_tag(model, version, "t", word),
        f"untag {model} {version}": lambda c: c.delete_model_version_tag(model, version, "t"),
        f"{model} {alias} {version}": lambda c: c.set_registered_model_alias(model, alias, version),
        f"{model} no {alias}": lambda c: c.delete_registered_model_alias(model, alias),
        f"{model} {version} to {stage}": lambda c: c.transition_model_version_stage(
            model, version, stage, stage == "Production"
        ),
        f"delete {model} {version}": lambda c: c.delete_model_version(model, version),
        f"get {model}": lambda c: c.get_registered_model(model),
        f"get {model} {version}": lambda c: c.get_model_version(model, version),
        f"latest of {model}": lambda c: sorted(
            c.get_latest_versions(model, [stage]), key=lambda v: int(v.version)
        ),
        f"{model} by {alias}": lambda c: c.get_model_version_by_alias(model, alias),
        f"uri of {model} {version}": lambda c: c.get_model_version_download_uri(model, version),
        f"delete {model}": lambda c: c.delete_registered_model(model),
    }
    said = choose.choice(list(calls))
    if said == f"delete {model}" and choose.random() < 0.7:
        said = f"get {model}"
    return said, calls[said]


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_any_sequence_of_calls_leaves_what_mlflow_would_have(
    registry: Any, oracle: Any, seed: int
) -> None:
    choose = random.Random(seed)
    told = []
    for _ in range(150):
        said, call = some_call(choose)
        told.append(said)
        ours, theirs = outcome(registry, call), outcome(oracle, call)
        assert agree(ours, theirs), f"seed {seed}: {told}: {ours}, not {theirs}"
    for model in ("a", "b", "c"):
        found = [
            plain(list(c.search_model_versions(f"name = '{model}'", order_by=["version_number"])))
            for c in (registry, oracle)
        ]
        assert found[0] == found[1], f"seed {seed}: {told}"


@pytest.fixture(scope="module")
def serving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningPlatform]:
    """A platform with a model `churn` of two versions, of which none is promoted."""
    folder = tmp_path_factory.mktemp("serving") / "project"
    folder.mkdir()
    write_project(folder)
    running = RunningPlatform(folder)
    try:
        with martlet.Client(running.address) as client:
            client.apply(folder, author="tests")
            client.push(
                "orders",
                [order(n % 60, NOW - DAY * (1 + n % 90), amount=float(n % 7)) for n in range(600)],
            )
            client.push(
                "outcomes",
                [
                    {
                        "customer_id": n % 60,
                        "asked_at": NOW - DAY * (20 + n % 60),
                        "known_at": NOW - DAY * (8 + n % 60),
                        "left": n % 3 == 0,
                    }
                    for n in range(240)
                ],
            )
            for _ in range(2):
                client.train("churn")
        yield running
    finally:
        status = running.stop()
    assert status == 0, running.log.read_text()


def test_setting_the_alias_champion_deploys(serving: RunningPlatform) -> None:
    from mlflow.exceptions import MlflowException

    mlflow = mlflow_client(serving.address)
    model = mlflow.get_registered_model("churn")
    assert model.tags["martlet.defined"] == "true" and model.aliases == {}
    version = mlflow.get_model_version("churn", "2")
    assert version.current_stage == "None" and not version.status_message
    assert version.tags["martlet.format"] == "pickle"
    assert len(version.tags["martlet.artifact"]) == 64
    with martlet.Client(serving.address) as client:
        for number in (1, 2, 1):
            mlflow.set_registered_model_alias("churn", "champion", str(number))
            assert int(mlflow.get_model_version_by_alias("churn", "champion").version) == number
            assert client.get_version("churn", number).stage == "production"
            while client.get_model("churn").serving != number:
                assert client.get_model("churn").load_error is None
            assert client.predict("churn", [{"customer_id": 7}]).version == number
    assert mlflow.get_model_version("churn", "2").current_stage == "Archived"
    with pytest.raises(MlflowException, match="set it on another version") as failure:
        mlflow.delete_registered_model_alias("churn", "champion")
    assert failure.value.error_code == "RESOURCE_CONFLICT"
    for call in (
        lambda: mlflow.delete_model_version("churn", "1"),
        lambda: mlflow.delete_registered_model("churn"),
        lambda: mlflow.rename_registered_model("churn", "leaving"),
        lambda: mlflow.transition_model_version_stage("churn", "1", "Archived"),
    ):
        with pytest.raises(MlflowException) as failure:
            call()
        assert failure.value.error_code == "RESOURCE_CONFLICT"


def test_a_version_from_elsewhere_cannot_take_the_place_of_a_served_one(
    serving: RunningPlatform,
) -> None:
    from mlflow.exceptions import MlflowException

    mlflow = mlflow_client(serving.address)
    elsewhere = mlflow.create_model_version("churn", "s3://bucket/model")
    with pytest.raises(MlflowException, match="its artifact is not in Martlet") as failure:
        mlflow.set_registered_model_alias("churn", "champion", elsewhere.version)
    assert failure.value.error_code == "RESOURCE_CONFLICT"
    mlflow.delete_model_version("churn", elsewhere.version)


def test_what_serves_is_downloaded_by_its_alias(
    serving: RunningPlatform, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hashlib import sha256

    import mlflow

    client = mlflow_client(serving.address)
    client.set_registered_model_alias("churn", "champion", "1")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", serving.address)
    found = mlflow.artifacts.download_artifacts("models:/churn@champion", dst_path=str(tmp_path))
    version = client.get_model_version("churn", "1")
    assert client.get_model_version_download_uri("churn", "1") == version.source
    model = (Path(found) / "model.pkl").read_bytes()
    assert sha256(model).hexdigest() == version.tags["martlet.artifact"]


def test_the_tracking_api_is_said_not_to_be_there(registry: Any) -> None:
    from mlflow.exceptions import MlflowException

    with pytest.raises(MlflowException, match="not its tracking") as failure:
        registry.get_run("a" * 32)
    assert failure.value.error_code == "ENDPOINT_NOT_FOUND"


def test_the_token_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from mlflow.exceptions import MlflowException

    folder = tmp_path / "project"
    folder.mkdir()
    running = RunningPlatform(folder, {"MARTLET_SERVER_TOKEN": "open-sesame"})
    try:
        client = mlflow_client(running.address)
        with pytest.raises(MlflowException, match="Bearer"):
            client.create_registered_model("mine")
        monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "open-sesame")
        assert client.create_registered_model("mine").name == "mine"
    finally:
        assert running.stop() == 0
