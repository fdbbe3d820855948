"""The shell blocks of the README and the guide do what they show.

Each page runs in an empty folder of its own beside a platform on free ports. Its blocks marked `sh`
run in order, every one in a fresh bash that stops at the first failure; `sh skip` is not run. The
default addresses in a block stand for those of the page's platform.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from running_platform import CHECKOUT, RunningPlatform, needs_binary

PAGES = [CHECKOUT / "README.md", *sorted((CHECKOUT / "docs" / "guide").glob("*.md"))]
BLOCK = re.compile(r"^```sh([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
BLOCK_SECONDS = 180


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


def run(platform: RunningPlatform, block: Block) -> subprocess.CompletedProcess[str]:
    script = block.script.replace("127.0.0.1:8080", platform.http)
    script = script.replace("127.0.0.1:9090", platform.grpc)
    return subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=platform.folder,
        env=platform.environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=BLOCK_SECONDS,
        check=False,
    )


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
        done = run(running, block)
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
