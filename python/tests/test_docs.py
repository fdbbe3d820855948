"""The shell blocks of the README and the guide do what they show.

Each page runs in an empty folder of its own beside a platform on free ports. Its blocks marked `sh`
run in order, every one in a fresh bash that stops at the first failure; `sh skip` is not run. The
default addresses in a block stand for those of the page's platform.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]
BUILT = CHECKOUT / ".build" / "release"
PAGES = [CHECKOUT / "README.md", *sorted((CHECKOUT / "docs" / "guide").glob("*.md"))]
BLOCK = re.compile(r"^```sh([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
READY_SECONDS = 60
BLOCK_SECONDS = 180

needs_binary = pytest.mark.skipif(
    not (BUILT / "martlet").exists(), reason="the binary is not built; run make build"
)


@dataclass(frozen=True)
class Block:
    """One shell block and the line of the page that it begins at."""

    line: int
    script: str


def blocks(page: Path) -> list[Block]:
    """The blocks of a page that are to be run."""
    text = page.read_text(encoding="utf-8")
    found = []
    for match in BLOCK.finditer(text):
        mark = match.group(1).strip()
        assert mark in ("", "skip"), f"{page.name}: unknown mark '{mark}' of a shell block"
        if not mark:
            found.append(Block(text.count("\n", 0, match.start()) + 2, match.group(2)))
    return found


class RunningPlatform:
    """`martlet up` in a folder, on free ports."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        kept = {name: text for name, text in os.environ.items() if not name.startswith("MARTLET_")}
        self.environment = kept | {
            "CHECKOUT": str(CHECKOUT),
            "MARTLET_MONITORING_INTERVAL": "5s",
            "MARTLET_PYTHON": sys.executable,
            "MARTLET_SERVER_GRPC_PORT": "0",
            "MARTLET_SERVER_HTTP_PORT": "0",
            "PATH": f"{BUILT}:{os.environ['PATH']}",
        }
        self.log = folder.with_suffix(".log")
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                ["martlet", "up"],
                cwd=folder,
                env=self.environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.http, self.grpc = self._addresses()

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

    def run(self, block: Block) -> subprocess.CompletedProcess[str]:
        script = block.script.replace("127.0.0.1:8080", self.http)
        script = script.replace("127.0.0.1:9090", self.grpc)
        return subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=BLOCK_SECONDS,
            check=False,
        )

    def stop(self) -> int:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(timeout=60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise


@pytest.fixture
def running(tmp_path: Path) -> Iterator[RunningPlatform]:
    """A platform in an empty folder, which must end cleanly."""
    folder = tmp_path / "project"
    folder.mkdir()
    platform = RunningPlatform(folder)
    try:
        yield platform
    finally:
        status = platform.stop()
    assert status == 0, f"the platform ended with {status}:\n{platform.log.read_text()}"


@needs_binary
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_shell_blocks_of_a_page_run_as_they_stand(page: Path, running: RunningPlatform) -> None:
    found = blocks(page)
    assert found, f"{page} has no shell block to run"
    name = page.relative_to(CHECKOUT)
    for block in found:
        done = running.run(block)
        print(f"--- {name}:{block.line}\n{block.script}--- printed\n{done.stdout}")
        assert done.returncode == 0, (
            f"{name}:{block.line} ended with {done.returncode}\n{done.stdout}\n"
            f"--- the platform's log\n{running.log.read_text()[-4000:]}"
        )


def test_links_between_the_documents_lead_somewhere() -> None:
    pages = [*CHECKOUT.glob("*.md"), *(CHECKOUT / "docs").rglob("*.md")]
    broken = []
    for page in pages:
        for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text(encoding="utf-8")):
            if "://" in target or target.startswith("mailto:"):
                continue
            if not (page.parent / target).exists():
                broken.append(f"{page.relative_to(CHECKOUT)} → {target}")
    assert not broken, "\n".join(broken)
