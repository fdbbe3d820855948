"""The shell and Python blocks of the README and the guide do what they show.

Each page runs in an empty folder of its own beside a platform on free ports. Its blocks run in
order: one marked `sh` in a fresh bash that stops at the first failure, those marked `python` in one
interpreter, as if typed one after the other. `sh skip` and `python skip` are not run. The default
addresses in a block stand for those of the page's platform.
"""

from __future__ import annotations

import json
import re
import select
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from running_platform import CHECKOUT, RunningPlatform, needs_binary

PAGES = [CHECKOUT / "README.md", *sorted((CHECKOUT / "docs" / "guide").glob("*.md"))]
BLOCK = re.compile(r"^```(sh|python)( [^\n]*)?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
BLOCK_SECONDS = 180


@dataclass(frozen=True)
class Block:
    """One block, its language, and the line of the page that it begins at."""

    language: str
    line: int
    script: str


def blocks(page: Path) -> list[Block]:
    """The blocks of a page that are to be run."""
    text = page.read_text(encoding="utf-8")
    found = []
    for match in BLOCK.finditer(text):
        mark = (match.group(2) or "").strip()
        assert mark in ("", "skip"), f"{page.name}: unknown mark '{mark}' of a block"
        if not mark:
            line = text.count("\n", 0, match.start()) + 2
            found.append(Block(match.group(1), line, match.group(3)))
    return found


def placed(script: str, platform: RunningPlatform) -> str:
    """The script with the page's platform in place of the default addresses."""
    script = script.replace("127.0.0.1:8080", platform.http)
    return script.replace("127.0.0.1:9090", platform.grpc)


class PythonSession:
    """One interpreter that the Python blocks of a page are given one after the other."""

    DRIVER = """if True:
        import contextlib, io, json, sys, traceback
        names = {"__name__": "__main__"}
        for line in sys.stdin:
            told, status = io.StringIO(), 0
            with contextlib.redirect_stdout(told), contextlib.redirect_stderr(told):
                try:
                    exec(compile(json.loads(line), "<block>", "exec"), names)
                except BaseException:
                    traceback.print_exc()
                    status = 1
            print(json.dumps([status, told.getvalue()]), flush=True)
    """

    def __init__(self, platform: RunningPlatform) -> None:
        path = {"PYTHONPATH": str(CHECKOUT / "python")}
        self._platform = platform
        self._process = subprocess.Popen(
            [sys.executable, "-c", self.DRIVER],
            cwd=platform.folder,
            env=platform.environment | path,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(self, block: Block) -> tuple[int, str]:
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write(json.dumps(placed(block.script, self._platform)) + "\n")
        self._process.stdin.flush()
        ready, _, _ = select.select([self._process.stdout], [], [], BLOCK_SECONDS)
        if not ready:
            return 1, f"no end within {BLOCK_SECONDS} s"
        status, told = json.loads(self._process.stdout.readline() or '[1, "the interpreter ended"]')
        return int(status), str(told)

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()


def run_shell(platform: RunningPlatform, block: Block) -> tuple[int, str]:
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", placed(block.script, platform)],
        cwd=platform.folder,
        env=platform.environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=BLOCK_SECONDS,
        check=False,
    )
    return done.returncode, done.stdout


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
def test_the_blocks_of_a_page_run_as_they_stand(page: Path, running: RunningPlatform) -> None:
    found = blocks(page)
    assert found, f"{page} has no block to run"
    name = page.relative_to(CHECKOUT)
    session = PythonSession(running)
    try:
        for block in found:
            if block.language == "python":
                status, told = session.run(block)
            else:
                status, told = run_shell(running, block)
            print(f"--- {name}:{block.line}\n{block.script}--- printed\n{told}")
            assert status == 0, (
                f"{name}:{block.line} ended with {status}\n{told}\n"
                f"--- the platform's log\n{running.log.read_text()[-4000:]}"
            )
    finally:
        session.close()


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
