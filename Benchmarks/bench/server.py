"""The platform under test: the real binary in a folder of its own, on free ports of 127.0.0.1."""

import json
import os
import re
import signal
import subprocess
import time
from dataclasses import dataclass, field
from http.client import HTTPConnection
from pathlib import Path
from typing import IO, Self
from urllib.parse import urlencode

READY_SECONDS = 60
STOP_SECONDS = 60


class BenchError(Exception):
    """A measure could not be taken."""


@dataclass
class Server:
    """`martlet up` on one data directory; may be started and stopped many times."""

    binary: Path
    folder: Path
    project: str = "project: empty\n"
    environment: dict[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None
    http_port: int = 0
    grpc_port: int = 0

    def __post_init__(self) -> None:
        self.project_folder.mkdir(parents=True, exist_ok=True)
        definitions = self.project_folder / "martlet.yaml"
        if not definitions.exists():
            definitions.write_text(self.project)

    @property
    def project_folder(self) -> Path:
        return self.folder / "project"

    @property
    def data_folder(self) -> Path:
        return self.folder / "data"

    @property
    def pid(self) -> int:
        if self.process is None:
            raise BenchError("the platform is not running")
        return self.process.pid

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.http_port}"

    def variables(self) -> dict[str, str]:
        """Settings of whoever calls do not reach the platform, save the Python of its workers."""
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith("MARTLET_") or name == "MARTLET_PYTHON"
        }
        return kept | {
            "MARTLET_SERVER_HTTP_PORT": "0",
            "MARTLET_SERVER_GRPC_PORT": "0",
            "MARTLET_SERVER_ECHO": "true",
            "MARTLET_DATA_DIRECTORY": str(self.data_folder),
            "MARTLET_PROJECT": str(self.project_folder),
            **self.environment,
        }

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> float:
        """Starts the platform; returns the seconds from exec until it says that it is ready."""
        announcement = self.data_folder / "martlet.json"
        announcement.unlink(missing_ok=True)
        log = (self.folder / "log").open("ab")
        begin = time.perf_counter()
        self.process = subprocess.Popen(
            [str(self.binary), "up"],
            cwd=self.project_folder,
            env=self.variables(),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
        log.close()
        try:
            while not self._is_ready(announcement):
                if self.process.poll() is not None:
                    raise BenchError(f"`martlet up` ended at once:\n{self.log_tail()}")
                if time.perf_counter() - begin > READY_SECONDS:
                    raise BenchError(f"not ready after {READY_SECONDS} s:\n{self.log_tail()}")
                time.sleep(0.002)
        except BaseException:
            self.stop()
            raise
        return time.perf_counter() - begin

    def _is_ready(self, announcement: Path) -> bool:
        try:
            said = json.loads(announcement.read_text())
            self.http_port, self.grpc_port = port(said["http"]), port(said["grpc"])
            return self.request("GET", "/health/ready")[0] == 200
        except (FileNotFoundError, json.JSONDecodeError, KeyError, OSError):
            return False

    def stop(self) -> None:
        """Stops the platform as a supervisor would: SIGTERM, and SIGKILL if it does not end."""
        if self.process is None:
            return
        process, self.process = self.process, None
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise BenchError(f"the platform did not stop within {STOP_SECONDS} s") from None

    def log_tail(self, lines: int = 15) -> str:
        text = (self.folder / "log").read_text(errors="replace")
        return "\n".join(text.splitlines()[-lines:])

    def request(
        self, method: str, path: str, body: bytes | IO[bytes] | None = None, timeout: float = 600
    ) -> tuple[int, bytes]:
        connection = HTTPConnection("127.0.0.1", self.http_port, timeout, blocksize=1 << 20)
        headers = {"Content-Type": "application/json"}
        if body is not None and not isinstance(body, bytes):
            headers["Content-Length"] = str(os.fstat(body.fileno()).st_size)
        try:
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def bytes_of(self, method: str, path: str, body: bytes | IO[bytes] | None = None) -> bytes:
        status, answer = self.request(method, path, body)
        if status >= 300:
            raise BenchError(f"{method} {path}: {status} {answer[:400].decode(errors='replace')}")
        return answer

    def post(self, path: str, body: object) -> dict:
        return json.loads(self.bytes_of("POST", path, json.dumps(body).encode()))

    def apply(self) -> None:
        yaml = (self.project_folder / "martlet.yaml").read_text()
        self.post(
            "/api/v1/definitions/apply",
            {"yaml": yaml, "directory": str(self.project_folder), "author": "bench"},
        )

    def sql(self, query: str) -> list[list]:
        return self.post("/api/v1/sql", {"sql": query})["rows"]

    def count(self, source: str) -> int:
        return int(self.sql(f"SELECT count(*) FROM events_{source}")[0][0])

    def upload(self, source: str, file: Path) -> dict:
        query = urlencode({"name": file.name})
        with file.open("rb") as body:
            answer = self.bytes_of("POST", f"/api/v1/sources/{source}/files?{query}", body)
        # With a progress report the answer is the last of several lines.
        return json.loads(answer.decode().strip().splitlines()[-1])

    def online(self, features: list[str], entities: list[dict]) -> list[dict]:
        body = {"features": features, "entities": entities}
        return self.post("/api/v1/features/online", body)["rows"]

    def command(self, *arguments: str, timeout: float = 600) -> str:
        """Runs a command of the tool against this platform."""
        ended = subprocess.run(
            [str(self.binary), *arguments, "--server", self.address],
            cwd=self.project_folder,
            env=self.variables(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        if ended.returncode:
            raise BenchError(f"martlet {' '.join(arguments)}: {ended.stderr.strip()[-400:]}")
        return ended.stdout


def port(said: object) -> int:
    """The port of a number, a `host:port` or a URL."""
    digits = re.findall(r"\d+", str(said))
    if not digits:
        raise KeyError("port")
    return int(digits[-1])


def memory(pid: int, what: str = "VmRSS") -> int:
    """Bytes of memory that a process has (VmRSS) or had at most (VmHWM)."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(what + ":"):
            return int(line.split()[1]) * 1024
    raise BenchError(f"/proc/{pid}/status does not tell {what}")


def forget_peak(pid: int) -> None:
    """Lets VmHWM begin again at VmRSS where the system permits it."""
    try:
        Path(f"/proc/{pid}/clear_refs").write_text("5")
    except PermissionError:
        return


def processor_seconds(pid: int) -> float:
    """Processor time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
