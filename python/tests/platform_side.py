"""The platform's side of the socket, small: starts a real worker and talks to it."""

from __future__ import annotations

import hashlib
import os
import socket
import struct
import subprocess
import sys
import threading
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from martlet_worker import columns as wire
from martlet_worker import worker_pb2 as pb

PACKAGE_ROOT = Path(__file__).resolve().parent.parent
# Far above what anything here takes: a limit on waiting, not a measure.
PATIENCE_SECONDS = 60
LENGTH = struct.Struct("<I")


class Platform:
    """One listening socket and the one worker that dialled it."""

    def __init__(self, folder: Path, hang_seconds: float | None = None) -> None:
        # Unix socket paths are short; pytest's folders are not.
        self._path = Path(f"/tmp/martlet-test-{uuid.uuid4().hex[:12]}.sock")
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(str(self._path))
        self._listener.listen(1)
        self._listener.settimeout(PATIENCE_SECONDS)
        self.folder = folder
        self._hang_seconds = hang_seconds
        self.token = uuid.uuid4().hex
        self.logs: list[pb.Log] = []
        self.heartbeats: list[pb.Heartbeat] = []
        self.process = self._spawn()
        self.stream, _ = self._listener.accept()
        self.stream.settimeout(PATIENCE_SECONDS)

    def _spawn(self) -> subprocess.Popen[bytes]:
        environment = {
            **os.environ,
            "PYTHONPATH": str(PACKAGE_ROOT),
            "MARTLET_WORKER_TOKEN": self.token,
        }
        command = [sys.executable, *self._program(), "--socket", str(self._path)]
        command += ["--token-env", "MARTLET_WORKER_TOKEN", "--worker-id", "worker-1"]
        return subprocess.Popen(
            command,
            cwd=self.folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def _program(self) -> list[str]:
        if self._hang_seconds is None:
            return ["-m", "martlet_worker"]
        impatient = (
            "import sys, martlet_worker.runtime as runtime, martlet_worker.__main__ as main;"
            f"runtime.HANG_SECONDS = {self._hang_seconds};"
            "sys.exit(main.main())"
        )
        return ["-c", impatient]

    def send_bytes(self, data: bytes) -> None:
        self.stream.sendall(data)

    def send(self, frame: pb.Frame) -> None:
        payload = frame.SerializeToString()
        self.send_bytes(LENGTH.pack(len(payload)) + payload)

    def receive(self) -> pb.Frame | None:
        header = self._exactly(LENGTH.size)
        if header is None:
            return None
        payload = self._exactly(LENGTH.unpack(header)[0])
        assert payload is not None, "the worker closed the connection inside a frame"
        return pb.Frame.FromString(payload)

    def _exactly(self, size: int) -> bytes | None:
        data = b""
        while len(data) < size:
            chunk = self.stream.recv(size - len(data))
            if not chunk:
                assert not data, "the worker closed the connection inside a frame"
                return None
            data += chunk
        return data

    def hello(self) -> pb.Hello:
        frame = self.receive()
        assert frame is not None
        assert frame.WhichOneof("kind") == "hello"
        return frame.hello

    def welcome(self, heartbeat_ms: int = 10_000, max_frame_bytes: int = 64 * 2**20) -> None:
        welcome = pb.Welcome(heartbeat_interval_ms=heartbeat_ms, max_frame_bytes=max_frame_bytes)
        self.send(pb.Frame(welcome=welcome))

    def answer(self, task_id: str) -> pb.Result | pb.Fault:
        """The next answer, which must be that task's; logs and heartbeats are kept."""
        while True:
            frame = self.next_frame()
            kind = frame.WhichOneof("kind")
            if kind in ("result", "fault"):
                answer = frame.result if kind == "result" else frame.fault
                assert answer.task_id == task_id
                return answer

    def next_frame(self) -> pb.Frame:
        frame = self.receive()
        assert frame is not None, f"the worker is gone: {self.process.communicate()}"
        if frame.WhichOneof("kind") == "log":
            self.logs.append(frame.log)
        elif frame.WhichOneof("kind") == "heartbeat":
            self.heartbeats.append(frame.heartbeat)
        return frame

    def until(self, condition: Callable[[], bool]) -> None:
        """Reads frames until they have made the condition true."""
        while not condition():
            self.next_frame()

    def post(self, timeout_ms: int = 0, **work: Any) -> str:
        """Sends a task without waiting for its answer."""
        task_id = uuid.uuid4().hex
        self.send(pb.Frame(task=pb.Task(id=task_id, timeout_ms=timeout_ms, **work)))
        return task_id

    def ask(self, **work: Any) -> pb.Result:
        answer = self.answer(self.post(**work))
        assert isinstance(answer, pb.Result), answer
        return answer

    def fault(self, **work: Any) -> pb.Fault:
        answer = self.answer(self.post(**work))
        assert isinstance(answer, pb.Fault), answer
        return answer

    def lines(self, logger: str) -> list[str]:
        return [log.message for log in self.logs if log.logger == logger]

    def wait_for_exit(self) -> int:
        return self.process.wait(PATIENCE_SECONDS)

    def hang_up(self) -> None:
        self.stream.close()

    def close(self) -> None:
        self.stream.close()
        self._listener.close()
        self._path.unlink(missing_ok=True)
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()

    # Short forms of tasks

    def train(self, source: str, dataset: Path, **options: Any) -> pb.Result | pb.Fault:
        return self.answer(self.post_train(source, dataset, **options))

    def post_train(
        self,
        source: str,
        dataset: Path,
        *,
        features: list[str],
        label: str = "label",
        evaluation_from: int,
        options_json: str = "",
    ) -> str:
        project = self.folder / f"project-{uuid.uuid4().hex[:8]}"
        project.mkdir()
        (project / "train.py").write_text(source, encoding="utf-8")
        task = pb.Train(
            run_path="train.py",
            function="train.py:train",
            working_directory=str(project),
            dataset_path=str(dataset),
            features=features,
            label=label,
            options_json=options_json,
            output_directory=str(project / "out"),
            evaluation_from=evaluation_from,
        )
        return self.post(train=task)

    def load(self, trained: pb.Trained, model: str = "churn", version: int = 1) -> pb.Result:
        return self.ask(
            load_model=pb.LoadModel(
                model=model,
                version=version,
                artifact_path=trained.artifact_path,
                sha256=trained.sha256,
                format=trained.format,
            )
        )

    def predict(self, rows: pb.Columns, model: str = "churn", version: int = 1) -> list[float]:
        result = self.ask(predict=pb.Predict(model=model, version=version, rows=rows))
        (column,) = result.predicted.predictions.columns
        return list(np.frombuffer(column.values, "<f8"))

    def transform(
        self, source: str, rows: pb.Columns, *, requirements: str = "", explain: bool = False
    ) -> pb.Result | pb.Fault:
        file = self.folder / "clean.py"
        file.write_text(source, encoding="utf-8")
        task = pb.Transform(
            code_path=str(file),
            function="clean.py:transform",
            rows=rows,
            requirements=requirements,
            explain=explain,
        )
        return self.answer(self.post(transform=task))


def table(columns: Mapping[str, Any]) -> pb.Columns:
    rows = len(next(iter(columns.values())))
    return wire.table(columns, rows)


def write_dataset(path: Path, columns: Mapping[str, Any], chunk_rows: int = 65_536) -> Path:
    """A dataset file of length-prefixed chunks."""
    rows = len(next(iter(columns.values())))
    with path.open("wb") as file:
        for start in range(0, rows, chunk_rows):
            part = {name: values[start : start + chunk_rows] for name, values in columns.items()}
            payload = table(part).SerializeToString()
            file.write(LENGTH.pack(len(payload)) + payload)
    return path


def sha256(path: str | Path) -> str:
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


class Fifo:
    """A named pipe: user code and test wait for each other through it, without sleeping."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / f"gate-{uuid.uuid4().hex[:8]}"
        os.mkfifo(self.path)

    def wait(self) -> bytes:
        """Blocks until the other side has written and closed."""
        out: list[bytes] = []
        thread = threading.Thread(target=lambda: out.append(self.path.read_bytes()), daemon=True)
        thread.start()
        thread.join(PATIENCE_SECONDS)
        assert out, "nothing came through the gate"
        return out[0]

    def open(self) -> None:
        thread = threading.Thread(target=lambda: self.path.write_bytes(b"go"), daemon=True)
        thread.start()
        thread.join(PATIENCE_SECONDS)
