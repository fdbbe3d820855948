"""The database service: jobs through the queues on Redis, beside the same statements on DuckDB itself."""

import json
import random
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager

import duckdb

from bench.plan import Plan
from bench.report import Row, say
from bench.server import BenchError

KEYS = 10_000
BATCH = 500
ANSWERS = b"duckdb_response:bench"


class Redis:
    """As much of a Redis client as a benchmark needs: many commands at once, answers in order."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=60)
        self.stream = self.socket.makefile("rb", buffering=1 << 20)

    def send(self, *commands: list[bytes]) -> None:
        parts = []
        for command in commands:
            parts.append(b"*%d\r\n" % len(command))
            parts += [b"$%d\r\n%s\r\n" % (len(word), word) for word in command]
        self.socket.sendall(b"".join(parts))

    def reply(self) -> object:
        line = self.stream.readline()
        kind, rest = line[:1], line[1:-2]
        if kind == b"-":
            raise BenchError(rest.decode())
        if kind == b":":
            return int(rest)
        if kind == b"$":
            return None if rest == b"-1" else self.stream.read(int(rest) + 2)[:-2]
        if kind == b"*":
            return None if rest == b"-1" else [self.reply() for _ in range(int(rest))]
        return rest

    def ask(self, *words: bytes) -> object:
        self.send(list(words))
        return self.reply()


@contextmanager
def redis_server(plan: Plan, name: str) -> Iterator[int]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    folder = plan.folder(name)
    with (folder / "redis.log").open("wb") as log:
        process = subprocess.Popen(
            ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", ""],
            cwd=folder,
            stdout=log,
            stderr=log,
        )
    try:
        for _ in range(200):
            try:
                Redis(port).ask(b"PING")
                break
            except OSError:
                time.sleep(0.02)
        yield port
    finally:
        process.terminate()
        process.wait()


def job(number: int, sql: str, parameters: list[object]) -> bytes:
    text = {"id": f"b{number}", "sql": sql, "parameters": parameters}
    return json.dumps(text | {"response_key": ANSWERS.decode()}).encode()


def through_queue(redis: Redis, queue: bytes, jobs: list[bytes]) -> tuple[float, list[bytes]]:
    """Jobs per second from the first one sent to the last answer, and the answers."""
    begin = time.perf_counter()
    answers: list[bytes] = []
    sent = 0
    while len(answers) < len(jobs):
        # As many under way as a service keeps busy with, and no more than its queue may hold.
        while sent < len(jobs) and sent - len(answers) < 4_000:
            redis.ask(b"RPUSH", queue, *jobs[sent : sent + BATCH])
            sent = min(sent + BATCH, len(jobs))
        first = redis.ask(b"BLPOP", ANSWERS, b"30")
        if not isinstance(first, list):
            raise BenchError(f"no answer within 30 s; {len(answers)} of {len(jobs)} came")
        more = redis.ask(b"LPOP", ANSWERS, b"1000")
        answers += [first[1], *(more if isinstance(more, list) else [])]
    return len(jobs) / (time.perf_counter() - begin), answers


def wrong_answers(answers: list[bytes]) -> str:
    bad = next((answer for answer in answers if b'"ok":true' not in answer), None)
    return "" if bad is None else f"answered {bad[:200].decode()}"


def database_service(plan: Plan) -> Iterator[Row]:
    say("the database service through Redis")
    chance = random.Random(7)
    count = plan.scaled(20_000)
    insert = "INSERT INTO points VALUES (?, ?)"
    select = "SELECT v FROM points WHERE k = ?"
    keys = [chance.randrange(KEYS) for _ in range(count)]
    raw_writes, raw_reads = raw(
        str(plan.folder("database_raw") / "raw.duckdb"), count, insert, select, keys
    )
    with redis_server(plan, "database_redis") as port:
        server = plan.server(plan.folder("database"), "project: empty\n")
        server.environment |= {
            "MARTLET_DATABASE_SERVICE_ENABLED": "true",
            "MARTLET_REDIS_ADDRESSES": f"127.0.0.1:{port}",
        }
        with server:
            redis = Redis(port)
            made = job(-1, "CREATE TABLE points (k BIGINT, v DOUBLE)", [])
            through_queue(redis, b"duckdb_write_queue", [made])
            writes, answers = through_queue(
                redis,
                b"duckdb_write_queue",
                [job(n, insert, [n % KEYS, n / 2]) for n in range(count)],
            )
            yield Row(
                name="database_writes",
                what="single-row writes through the queue, each applied once and durable",
                ours=writes,
                unit="writes/s",
                raw=raw_writes,
                raw_what=f"DuckDB, {BATCH} a transaction",
                wrong=wrong_answers(answers),
            )
            reads, answers = through_queue(
                redis,
                b"duckdb_read_queue",
                [job(n, select, [key]) for n, key in enumerate(keys)],
            )
            yield Row(
                name="database_reads",
                what="reads by key through the queue",
                ours=reads,
                unit="reads/s",
                raw=raw_reads,
                raw_what="DuckDB, one connection",
                wrong=wrong_answers(answers),
            )


def raw(path: str, count: int, insert: str, select: str, keys: list[int]) -> tuple[float, float]:
    """Writes and reads per second of DuckDB in this process, the file on the same disk."""
    with duckdb.connect(path) as connection:
        connection.execute("CREATE TABLE points (k BIGINT, v DOUBLE)")
        begin = time.perf_counter()
        for start in range(0, count, BATCH):
            connection.execute("BEGIN")
            for n in range(start, min(start + BATCH, count)):
                connection.execute(insert, [n % KEYS, n / 2])
            connection.execute("COMMIT")
        writes = count / (time.perf_counter() - begin)
        begin = time.perf_counter()
        for key in keys:
            connection.execute(select, [key]).fetchall()
        return writes, count / (time.perf_counter() - begin)
