"""The ring once round: events, features, a model, predictions, drift, a retrain, a new version.

Everything goes through the `martlet` command and the REST API, as a user would. The platform's clock is simulated, so that three
months pass in a minute; nothing else is.
"""

from __future__ import annotations

import http.client
import json
import os
import random
import shutil
import signal
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
MARTLET = ROOT / ".build" / "release" / "martlet"
DATA = ROOT / ".build" / "demo"
START = "2026-01-01T00:00:00Z"
SHOP = ["--seed", "7", "--customers", "3000", "--start", START, "--days", "200", "--move-clock"]
EVENTS = 200_000
PREDICTIONS = 5_000
SHIFTED_DAYS = 20

ENVIRONMENT = os.environ | {
    "MARTLET_PROJECT": str(ROOT / "examples" / "shop"),
    "MARTLET_DATA_DIRECTORY": str(DATA),
    "MARTLET_CLOCK_MODE": "simulated",
    "MARTLET_CLOCK_START": START,
    "MARTLET_MONITORING_INTERVAL": "1s",
    "MARTLET_SERVER_HTTP_PORT": os.environ.get("MARTLET_SERVER_HTTP_PORT", "0"),
    "MARTLET_SERVER_GRPC_PORT": os.environ.get("MARTLET_SERVER_GRPC_PORT", "0"),
    "MARTLET_WORKERS_PYTHON": str(ROOT / ".venv" / "bin" / "python"),
}


class Failed(Exception):
    """A step that did not do what the demo promises."""


def say(step: str, text: str) -> None:
    print(f"{step:<10} {text}", flush=True)


def martlet(*arguments: str) -> dict:
    done = subprocess.run(
        [MARTLET, *arguments, "--json"],
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise Failed(f"martlet {' '.join(arguments)}: {done.stderr.strip()}")
    return json.loads(done.stdout)


class Platform:
    """The platform as a process of its own, found by the file it writes when it is ready."""

    def __init__(self) -> None:
        shutil.rmtree(DATA, ignore_errors=True)
        DATA.mkdir(parents=True)
        self.log = open(DATA / "martlet.log", "w", encoding="utf-8")  # noqa: SIM115
        began = time.perf_counter()
        self.process = subprocess.Popen(
            [MARTLET, "up"], env=ENVIRONMENT, stdout=self.log, stderr=self.log
        )
        self.address = self.wait_until_ready()
        say("up", f"ready in {time.perf_counter() - began:.2f} s at http://{self.address}")

    def wait_until_ready(self) -> str:
        found = DATA / "martlet.json"
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise Failed(f"the platform ended at once; see {self.log.name}")
            if found.exists():
                return json.loads(found.read_text())["http"].removeprefix("http://")
            time.sleep(0.01)
        raise Failed(f"the platform was not ready within a minute; see {self.log.name}")

    def get(self, path: str) -> dict:
        connection = http.client.HTTPConnection(self.address, timeout=60)
        connection.request("GET", path)
        return json.loads(connection.getresponse().read())

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(timeout=60)
        if status != 0:
            raise Failed(f"the platform ended with status {status}; see {self.log.name}")


def predict(platform: Platform, seed: int, threads: int = 4) -> None:
    """Asks for PREDICTIONS predictions by customer id and prints how long they took."""
    numbers = random.Random(seed)
    customers = [numbers.randrange(3000) for _ in range(PREDICTIONS)]
    times: list[float] = []
    versions: set[int] = set()
    failures: list[str] = []

    def ask(mine: list[int]) -> None:
        connection = http.client.HTTPConnection(platform.address, timeout=60)
        for customer in mine:
            began = time.perf_counter()
            body = json.dumps({"rows": [{"customer_id": customer}]})
            connection.request("POST", "/api/v1/models/churn/predict", body)
            answer = json.loads(connection.getresponse().read())
            if "error" in answer:
                failures.append(answer["error"]["message"])
                continue
            times.append(time.perf_counter() - began)
            versions.add(answer["version"])

    began = time.perf_counter()
    lanes = [threading.Thread(target=ask, args=(customers[i::threads],)) for i in range(threads)]
    for lane in lanes:
        lane.start()
    for lane in lanes:
        lane.join()
    seconds = time.perf_counter() - began
    if failures or len(times) != PREDICTIONS:
        raise Failed(f"{len(failures)} of {PREDICTIONS} predictions failed: {failures[:1]}")
    quantiles = statistics.quantiles(times, n=100)
    say(
        "predict",
        f"{PREDICTIONS:,} predictions by customer id from {threads} connections in {seconds:.1f} s: "
        f"p50 {quantiles[49] * 1e3:.2f} ms, p99 {quantiles[98] * 1e3:.2f} ms, "
        f"version {', '.join(map(str, sorted(versions)))}",
    )


def drift() -> float:
    report = martlet("drift", "churn")
    worst = max(report["features"], key=lambda feature: feature["psi"])
    say(
        "drift",
        f"score {report['score']:.3f} over {report['rows']:,} predictions, "
        f"most in {worst['feature']} (PSI {worst['psi']:.3f})",
    )
    return report["score"]


def wait_for_flush(platform: Platform) -> None:
    """The log is written behind the predictions; the status says how many wait."""
    deadline = time.monotonic() + 30
    while platform.get("/api/v1/status")["prediction_log_waiting"] > 0:
        if time.monotonic() > deadline:
            raise Failed("the prediction log was not written within 30 s")
        time.sleep(0.05)


def wait_for_version(platform: Platform, version: int) -> dict:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        model = platform.get("/api/v1/models/churn")
        for candidate in model["versions"]:
            if candidate["version"] == version and candidate["stage"] == "production":
                if model["serving"] == version:
                    return candidate
        for job in platform.get("/api/v1/jobs?limit=5")["jobs"]:
            if job["state"] == "FAILED":
                raise Failed(f"job {job['id']} failed: {job['error']}")
        time.sleep(0.1)
    raise Failed(f"version {version} did not take over within a minute")


def story(platform: Platform) -> None:
    martlet("apply")
    features = martlet("features", "list")["features"]
    say("apply", f"{len(features)} features and 1 model are in force")

    fed = martlet("simulate", *SHOP, "--events", str(EVENTS))
    say(
        "ingest",
        f"{fed['events']:,} events and {fed['outcomes']:,} outcomes of {fed['days']} days, {fed['files']} of them "
        f"files beside the stream: {fed['events'] / fed['seconds']:,.0f} events/s",
    )
    bad = martlet("quarantine", "list", "--limit", "1000")["records"]
    say("quarantine", f"{len(bad)} broken records kept aside, for example: {bad[0]['reason']}")

    began = time.perf_counter()
    martlet("train", "churn")
    version = martlet("models", "promote", "churn", "1")
    say(
        "train",
        f"churn version 1: AUC {version['metrics']['roc_auc']:.3f} on the last slice of time, "
        f"{version['training_rows']:,} rows, {time.perf_counter() - began:.1f} s; promoted",
    )
    wait_for_version(platform, 1)

    predict(platform, seed=1)
    wait_for_flush(platform)
    calm = drift()

    day = fed["next_day"]
    shifted = martlet(
        "simulate", *SHOP, "--skip-days", str(day), "--drift-day", str(day), "--drift", "1",
        "--days", str(day + SHIFTED_DAYS),
    )  # fmt: skip
    say(
        "shift",
        f"customers behave differently: {shifted['events']:,} more events in {shifted['days']} days",
    )
    began = time.perf_counter()
    predict(platform, seed=2)
    wait_for_flush(platform)
    shaken = drift()
    if not calm < 0.25 < shaken:
        raise Failed(
            f"drift of {calm:.3f} before and {shaken:.3f} after the shift, expected below and above 0.25"
        )

    second = wait_for_version(platform, 2)
    reason = platform.get(f"/api/v1/jobs/{second['job_id']}")["reason"]
    say("retrain", f"by itself ({reason})")
    say(
        "reload",
        f"version 2 took over {time.perf_counter() - began:.1f} s after the first shifted prediction: "
        f"AUC {second['metrics']['roc_auc']:.3f}",
    )
    predict(platform, seed=3)


def main() -> int:
    if not MARTLET.exists():
        print("build it first: make build", file=sys.stderr)
        return 1
    began = time.perf_counter()
    platform = Platform()
    try:
        story(platform)
        say("done", f"{time.perf_counter() - began:.0f} s in all")
        if os.environ.get("DEMO") != "once":
            say(
                "serving",
                f"http://{platform.address} until Ctrl-C; try: curl http://{platform.address}/metrics",
            )
            signal.pause()
    except KeyboardInterrupt:
        print()
    except Failed as failure:
        print(f"demo: {failure}", file=sys.stderr)
        return 1
    finally:
        if platform.process.poll() is None:
            platform.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
