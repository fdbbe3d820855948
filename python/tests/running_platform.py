"""`martlet up` as a process of its own, on free ports, for tests that use it from outside."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]
BUILT = Path(os.environ.get("MARTLET_EXECUTABLE", CHECKOUT / ".build/release/martlet")).parent
READY_SECONDS = 60

needs_binary = pytest.mark.skipif(
    not (BUILT / "martlet").exists(), reason="the binary is not built; run make build"
)


class RunningPlatform:
    """`martlet up` in a folder, on free ports."""

    def __init__(self, folder: Path, settings: Mapping[str, str] | None = None) -> None:
        self.folder = folder
        kept = {name: text for name, text in os.environ.items() if not name.startswith("MARTLET_")}
        self.environment = kept | {
            "CHECKOUT": str(CHECKOUT),
            "MARTLET_MONITORING_INTERVAL": "5s",
            "MARTLET_PYTHON": sys.executable,
            "MARTLET_SERVER_GRPC_PORT": "0",
            "MARTLET_SERVER_HTTP_PORT": "0",
            "PATH": f"{BUILT}:{os.environ['PATH']}",
            **(settings or {}),
        }
        self.log = folder.with_suffix(".log")
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                ["martlet", "up"],
                cwd=folder,
                env=self.environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.http, self.grpc = self._addresses()

    @property
    def address(self) -> str:
        return f"http://{self.http}"

    def _addresses(self) -> tuple[str, str]:
        found = self.folder / "martlet-data" / "martlet.json"
        deadline = time.monotonic() + READY_SECONDS
        while time.monotonic() < deadline and self.process.poll() is None:
            if found.exists():
                running = json.loads(found.read_text())
                return running["http"].removeprefix("http://"), running["grpc"]
            time.sleep(0.02)
        self.stop()
        pytest.fail(f"the platform did not start:\n{self.log.read_text()}")

    def stop(self) -> int:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(timeout=60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise
