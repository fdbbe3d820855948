"""A trained model as one file: a `.martlet` zip archive.

============= =====================================================================
model.pkl     the object that the user's function returned, pickle protocol 5
meta.json     how to ask it, its features, library and Python versions
code/…        the user's modules that it was trained with, so that another worker
              can read a pickle that refers to them
============= =====================================================================

The bytes depend on the content only, so equal models have equal digests.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import pickle
import platform
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from martlet_worker import frameworks, libraries
from martlet_worker.faults import TaskFault, bad_output, internal, last_line
from martlet_worker.scoring import Scorer, Scoring
from martlet_worker.usercode import ArtifactCode
from martlet_worker.worker_pb2 import Fault

FORMAT = "pickle"
SCHEMA = 1
FILE_NAME = "model.martlet"
# Zip's earliest date: the archive must not depend on the time of day.
EPOCH = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True)
class Meta:
    """The sidecar inside the archive."""

    scoring: Scoring
    libraries: dict[str, str]
    python: str

    def to_json(self) -> str:
        value = {
            "schema": SCHEMA,
            "scoring": self.scoring.to_json(),
            "libraries": self.libraries,
            "python": self.python,
        }
        return json.dumps(value, indent=2, sort_keys=True)

    @classmethod
    def from_json(cls, text: bytes) -> Meta:
        value = json.loads(text)
        if value.get("schema") != SCHEMA:
            raise internal(
                f"the artifact has schema {value.get('schema')}; this runtime reads {SCHEMA}"
            )
        return cls(Scoring.from_json(value["scoring"]), value["libraries"], value["python"])

    def clashes(self, policy: str) -> list[str]:
        """What is here in a version that the policy does not allow."""
        here = platform.python_version()
        out = libraries.clashes(self.libraries, policy)
        if libraries.differs(self.python, here, policy):
            out.append(f"Python {self.python} is {here} here")
        return out


class LoadedModel:
    """An opened artifact: the model, its code, and how to ask it."""

    def __init__(self, meta: Meta, code: ArtifactCode, model: Any) -> None:
        self.meta = meta
        self.code = code
        self.scorer = Scorer(model, meta.scoring)

    def version_differences(self) -> list[str]:
        out = libraries.differences(self.meta.libraries)
        here = platform.python_version()
        if here.split(".")[:2] != self.meta.python.split(".")[:2]:
            out.append(f"Python {self.meta.python} is {here} here")
        return out


def packed(model: Any, scoring: Scoring, sources: Mapping[str, str]) -> tuple[bytes, Meta]:
    """The archive's bytes and what its sidecar says."""
    try:
        pickled = pickle.dumps(model, protocol=5)
    except Exception as error:
        raise bad_output(
            f"the model cannot be stored: {last_line(error)}; it must be picklable, so keep its "
            "classes and functions at the top level of the module"
        ) from error
    meta = Meta(scoring, libraries.in_use(), platform.python_version())
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        _put(archive, "meta.json", meta.to_json().encode())
        _put(archive, "model.pkl", pickled)
        for path, text in sorted(sources.items()):
            _put(archive, f"code/{path}", text.encode())
    return buffer.getvalue(), meta


def _put(archive: zipfile.ZipFile, name: str, data: bytes) -> None:
    archive.writestr(zipfile.ZipInfo(name, EPOCH), data)


def store(data: bytes, directory: Path) -> Path:
    """Writes the artifact: it is there whole and on disk, or not at all."""
    directory.mkdir(parents=True, exist_ok=True)
    final = directory / FILE_NAME
    partial = directory / f".{FILE_NAME}.{os.getpid()}.partial"
    try:
        with partial.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(final)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise internal(f"the artifact cannot be written to {final}: {error.strerror}") from error
    folder = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
    return final


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def read_verified(path: str, sha256: str) -> bytes:
    """The artifact's bytes, once their digest is the expected one."""
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise internal(f"the artifact {path} cannot be read: {error.strerror}") from error
    return verified(data, path, sha256)


def verified(data: bytes, name: str, sha256: str) -> bytes:
    found = digest(data)
    if found != sha256.lower():
        raise internal(
            f"the artifact {name} has SHA-256 {found}, expected {sha256}; it was not opened. "
            "Fetch it again or publish the version again"
        )
    return data


def opened(data: bytes, label: str, check: Callable[[Meta], None] | None = None) -> LoadedModel:
    """Reads an artifact whose digest was checked; leaves its code space in force.

    `check` sees the sidecar before anything is unpickled.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            meta = Meta.from_json(archive.read("meta.json"))
            pickled = archive.read("model.pkl")
            sources = {
                name.removeprefix("code/"): archive.read(name).decode()
                for name in archive.namelist()
                if name.startswith("code/")
            }
    except (zipfile.BadZipFile, KeyError, ValueError) as error:
        raise internal(f"{label} is not a Martlet artifact: {last_line(error)}") from error
    if check is not None:
        check(meta)
    code = ArtifactCode(sources, label)
    code.enter()
    try:
        return LoadedModel(meta, code, frameworks.loaded(pickle.loads(pickled)))
    except TaskFault:
        code.leave()
        raise
    except ModuleNotFoundError as error:
        code.leave()
        raise TaskFault(
            Fault.LIBRARY_MISSING,
            f"{label} needs the module {error.name!r}, which this environment does not have; "
            f"the model was trained with {_listed(meta.libraries)}",
        ) from error
    except Exception as error:
        code.leave()
        raise TaskFault(
            Fault.USER_ERROR,
            f"{label} cannot be read: {last_line(error)}; it was trained with "
            f"{_listed(meta.libraries)} on Python {meta.python}",
        ) from error


def _listed(versions: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {version}" for name, version in sorted(versions.items()))
