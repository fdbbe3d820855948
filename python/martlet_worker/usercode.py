"""The user's modules: imported from their folder for training, from an artifact for serving.

Two models may bring different modules of the same name (both have a `train.py`). Each set lives in
a `CodeSpace`; entering one puts its modules into `sys.modules` and takes the last one's out. Tasks
run one at a time, so one space is in force at a time, and staying in it costs a comparison.
"""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import os
import sys
import types
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from martlet_worker.faults import TaskFault, bad_output, internal, is_runtime
from martlet_worker.limits import ARTIFACT_CODE_BYTES
from martlet_worker.worker_pb2 import Fault

_SKIPPED_FOLDERS = {"site-packages", "dist-packages", "__pycache__"}


class CodeSpace:
    """A set of user modules that can be put in force and taken out again."""

    _current: CodeSpace | None = None

    def __init__(self) -> None:
        self._modules: dict[str, types.ModuleType] = {}
        self._displaced: dict[str, types.ModuleType] = {}

    def owns(self, module: types.ModuleType) -> bool:
        raise NotImplementedError

    def install(self) -> None:
        raise NotImplementedError

    def uninstall(self) -> None:
        raise NotImplementedError

    def enter(self) -> None:
        current = CodeSpace._current
        if current is self:
            return
        if current is not None:
            current.leave()
        CodeSpace._current = self
        importlib.invalidate_caches()
        self.install()
        for name, module in self._modules.items():
            self.put(name, module)

    def leave(self) -> None:
        """Takes the modules out of force; they are kept for the next time."""
        if CodeSpace._current is not self:
            return
        CodeSpace._current = None
        self.uninstall()
        self._modules = {
            name: module for name, module in list(sys.modules.items()) if self.owns(module)
        }
        for name in self._modules:
            del sys.modules[name]
        sys.modules.update(self._displaced)
        self._displaced.clear()

    def put(self, name: str, module: types.ModuleType) -> None:
        hidden = sys.modules.get(name)
        if hidden is not None and hidden is not module and not self.owns(hidden):
            self._displaced.setdefault(name, hidden)
        sys.modules[name] = module


class FolderCode(CodeSpace):
    """Modules found beside the user's file."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.file = file
        self.folder = file.parent

    def owns(self, module: types.ModuleType) -> bool:
        return _source_below(module, self.folder) is not None

    def install(self) -> None:
        sys.path.insert(0, str(self.folder))

    def uninstall(self) -> None:
        if str(self.folder) in sys.path:
            sys.path.remove(str(self.folder))

    def run(self) -> types.ModuleType:
        """Imports the user's file under its own name, anew."""
        name = self.file.stem
        spec = importlib.util.spec_from_file_location(name, self.file)
        if spec is None or spec.loader is None:
            raise internal(f"{self.file} is not a Python file; name one that ends in .py")
        module = importlib.util.module_from_spec(spec)
        self.put(name, module)
        spec.loader.exec_module(module)
        return module

    def sources(self) -> dict[str, str]:
        """Imported files below the folder: path relative to it → source text."""
        out: dict[str, str] = {}
        size = 0
        for file in self.files():
            text = file.read_text(encoding="utf-8")
            size += len(text)
            if size > ARTIFACT_CODE_BYTES:
                raise bad_output(
                    f"the source files under {self.folder} exceed {ARTIFACT_CODE_BYTES} bytes; "
                    "keep data out of modules"
                )
            out[file.relative_to(self.folder).as_posix()] = text
        return out

    def files(self) -> set[Path]:
        """The files below the folder that have been imported."""
        found = (_source_below(module, self.folder) for module in list(sys.modules.values()))
        return {file for file in found if file is not None}


def _source_below(module: types.ModuleType, folder: Path) -> Path | None:
    name = getattr(module, "__file__", None)
    if not isinstance(name, str) or not name.endswith(".py"):
        return None
    if not name.startswith(str(folder) + os.sep) or is_runtime(name):
        return None
    file = Path(name)
    inside = file.relative_to(folder).parts
    # An environment inside the project's folder (.venv) is not the user's own code.
    if any(part in _SKIPPED_FOLDERS or part.startswith(".") for part in inside[:-1]):
        return None
    return file


class ArtifactCode(CodeSpace):
    """Modules whose source came inside an artifact; imported from memory."""

    def __init__(self, sources: Mapping[str, str], label: str) -> None:
        super().__init__()
        self._finder = _SourceFinder(sources, label)

    def owns(self, module: types.ModuleType) -> bool:
        return getattr(module, "__loader__", None) in self._finder.loaders

    def install(self) -> None:
        sys.meta_path.insert(0, self._finder)
        # A module of the same name from elsewhere must not answer an import meant for ours.
        for name in self._finder.names:
            hidden = sys.modules.get(name)
            if hidden is not None and not self.owns(hidden):
                self._displaced[name] = sys.modules.pop(name)

    def uninstall(self) -> None:
        if self._finder in sys.meta_path:
            sys.meta_path.remove(self._finder)


class _SourceLoader(importlib.abc.SourceLoader):
    def __init__(self, filename: str, text: str) -> None:
        self._filename = filename
        self._text = text

    def get_filename(self, fullname: str) -> str:
        return self._filename

    def get_data(self, path: str | bytes) -> bytes:
        if path != self._filename:
            raise OSError(f"{path!r} is not in the artifact")
        return self._text.encode()


class _SourceFinder(importlib.abc.MetaPathFinder):
    def __init__(self, sources: Mapping[str, str], label: str) -> None:
        self._by_name: dict[str, tuple[_SourceLoader, bool]] = {}
        for path, text in sources.items():
            *folders, last = PurePosixPath(path).with_suffix("").parts
            package = last == "__init__"
            name = ".".join(folders if package else [*folders, last])
            self._by_name[name] = (_SourceLoader(f"{label}/{path}", text), package)
            # A folder without __init__ is a namespace package for Python; so it is here.
            for depth in range(1, len(folders) + 1):
                parent = ".".join(folders[:depth])
                if f"{'/'.join(folders[:depth])}/__init__.py" not in sources:
                    self._by_name.setdefault(parent, (_SourceLoader(f"{label}/{parent}", ""), True))
        self.loaders = {loader for loader, _ in self._by_name.values()}
        self.names = tuple(self._by_name)

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,
        target: types.ModuleType | None = None,
    ) -> importlib.machinery.ModuleSpec | None:
        found = self._by_name.get(fullname)
        if found is None:
            return None
        loader, package = found
        return importlib.util.spec_from_loader(fullname, loader, is_package=package)


def user_file(path: str, directory: str) -> Path:
    file = Path(directory, path).resolve()
    if not file.is_file():
        raise internal(f"{file} does not exist; check the path in the definitions")
    return file


def user_function(module: types.ModuleType, file: Path, reference: str) -> Callable[..., Any]:
    """The function named by "train.py:train" or "train"."""
    name = reference.rpartition(":")[2]
    function = getattr(module, name, None)
    if callable(function):
        return function  # type: ignore[no-any-return]
    if function is not None:
        raise bad_output(f"{name!r} in {file} is a {type(function).__name__}, not a function")
    defined = sorted(
        key
        for key, value in vars(module).items()
        if callable(value) and getattr(value, "__module__", None) == module.__name__
    )
    raise TaskFault(
        Fault.USER_ERROR,
        f"{file} defines no function {name!r}; it defines {', '.join(defined) or 'none'}",
    )
