"""What was measured: rows, the table that a person reads, and the JSON that a program reads."""

import json
import os
import platform as machine_facts
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path


def say(text: str) -> None:
    """Prints a line of progress; the table alone goes to standard output."""
    print(f"bench: {text}", file=sys.stderr, flush=True)


@dataclass
class Row:
    """One measured quantity, beside what the machine can do and what was asked for."""

    name: str
    what: str
    ours: float
    unit: str
    raw: float | None = None
    raw_what: str = ""
    target: float | None = None
    # Of throughput more is better; of times and memory, less.
    more_is_better: bool = True
    wrong: str = ""
    note: str = ""
    details: dict[str, object] = field(default_factory=dict)

    @property
    def ratio(self) -> float | None:
        """Our speed as a share of the raw speed: 1 is as fast, 2 twice as fast."""
        if not self.raw or not self.ours:
            return None
        return self.ours / self.raw if self.more_is_better else self.raw / self.ours

    @property
    def met(self) -> bool | None:
        if self.wrong:
            return False
        if self.target is None:
            return None
        return self.ours >= self.target if self.more_is_better else self.ours <= self.target

    @property
    def verdict(self) -> str:
        if self.wrong:
            return "WRONG"
        return {None: "", True: "yes", False: "NO"}[self.met]

    def cells(self) -> list[str]:
        sign = "≥" if self.more_is_better else "≤"
        target = "" if self.target is None else f"{sign} {number(self.target)}"
        raw = "" if self.raw is None else f"{number(self.raw)} ({self.raw_what})"
        ratio = "" if self.ratio is None else f"{self.ratio:.2f}"
        ours = f"{number(self.ours)} {self.unit}"
        return [self.name, self.what, ours, raw, ratio, target, self.verdict]

    def as_json(self) -> dict[str, object]:
        return asdict(self) | {"ratio": self.ratio, "met": self.met}


def number(value: float) -> str:
    """Four meaningful digits, thousands grouped."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.4g}"


def table(rows: list[Row]) -> Iterator[str]:
    head = ["", "what", "ours", "raw limit or peer", "ratio", "target", "met"]
    lines = [head] + [row.cells() for row in rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    for line in lines:
        cells = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        yield "  ".join(cells).rstrip()
    for row in rows:
        if row.wrong:
            yield f"  {row.name} is WRONG: {row.wrong}"
        if row.note:
            yield f"  {row.name}: {row.note}"


def processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return machine_facts.machine()


def machine(root: Path) -> dict[str, object]:
    commit = subprocess.run(
        ["git", "-C", str(root), "describe", "--always", "--dirty"],
        capture_output=True,
        text=True,
        check=False,
    )
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "cores": os.cpu_count(),
        "processor": processor(),
        "memory_bytes": memory,
        "system": machine_facts.platform(),
        "load_average_before": os.getloadavg(),
        "commit": commit.stdout.strip(),
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def write(path: Path, facts: dict[str, object], rows: list[Row], errors: dict[str, str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    document = facts | {"rows": [row.as_json() for row in rows], "errors": errors}
    path.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n")
