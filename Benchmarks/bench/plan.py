"""What a run of the benchmark is: where it works, at what size, and on which binary."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.report import Row
from bench.server import Server


@dataclass
class Plan:
    root: Path
    scratch: Path
    scale: float
    # Names of measures or rows; empty is all.
    only: set[str]
    keeps_files: bool = False

    def scaled(self, count: int) -> int:
        return max(1_000, int(count * self.scale))

    def seconds(self, full: float) -> float:
        """Short runs of load say too little below two seconds."""
        return max(2, full * min(1, self.scale))

    def wants(self, name: str) -> bool:
        return not self.only or name in self.only

    def folder(self, name: str) -> Path:
        path = self.scratch / name
        path.mkdir(parents=True, exist_ok=True)
        return path

    def server(self, folder: Path, project: str) -> Server:
        return Server(self.root / ".build/release/martlet", folder, project)


@dataclass
class Measure:
    """A part of the benchmark; the names are those of its rows."""

    name: str
    rows: list[str]
    take: Callable[[Plan], Iterator[Row]]
    what: str

    def is_wanted(self, only: set[str]) -> bool:
        return not only or self.name in only or not only.isdisjoint(self.rows)
