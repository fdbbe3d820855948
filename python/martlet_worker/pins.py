"""Pinned requirements of a project's code: what must be installed, in exactly these versions."""

from __future__ import annotations

import importlib.metadata
import re
import sys

from martlet_worker.faults import TaskFault
from martlet_worker.worker_pb2 import Fault

_PIN = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)(\[[A-Za-z0-9,._ -]*\])?\s*===?\s*([^\s;,*]+)")


def check(requirements: str) -> None:
    """Refuses where an installed version is not the pinned one; the message names each."""
    wrong = differences(pins(requirements))
    if wrong:
        raise TaskFault(
            Fault.LIBRARY_MISSING,
            f"{sys.executable} does not have what the transform is pinned to: {'; '.join(wrong)}; "
            "install the requirements into that environment, or choose another one "
            "(workers.python)",
        )


def pins(requirements: str) -> dict[str, str]:
    """Distribution → version, of the text of a requirements file."""
    found: dict[str, str] = {}
    for number, line in _lines(requirements):
        pin = _PIN.fullmatch(line)
        if pin is None:
            raise TaskFault(
                Fault.LIBRARY_MISSING,
                f"line {number} of the requirements is {line!r}; pin every distribution as "
                "name==version, without markers or options other than --hash",
            )
        found[pin.group(1)] = pin.group(3)
    return found


def differences(pinned: dict[str, str]) -> list[str]:
    wrong = []
    for name, wanted in pinned.items():
        try:
            here = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            wrong.append(f"{name} {wanted} is wanted and not installed")
            continue
        if not same_version(wanted, here):
            wrong.append(f"{name} {wanted} is wanted and {here} installed")
    return wrong


def same_version(wanted: str, here: str) -> bool:
    """Equal but for zeros at the end and, where none is pinned, a local label (PEP 440)."""
    if "+" not in wanted:
        here = here.partition("+")[0]
    return _plain(wanted) == _plain(here)


def _plain(version: str) -> str:
    return re.sub(r"(\.0)+(?=$|[^0-9.])", "", version.lower())


def _lines(text: str) -> list[tuple[int, str]]:
    out = []
    whole, start = "", 0
    for number, line in enumerate(text.splitlines(), 1):
        whole, start = whole + line.rstrip("\\"), start or number
        if line.endswith("\\"):
            continue
        line = re.sub(r"(^|\s)#.*", "", whole)
        line = re.sub(r"\s--hash[= ]\S+", "", line).strip()
        if line:
            out.append((start, line))
        whole, start = "", 0
    return out
