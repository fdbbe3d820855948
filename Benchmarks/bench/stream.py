"""How fast events of a Kafka topic come into both stores, and how soon one can be read."""

import json
import random
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path

from bench import rdkafka
from bench.plan import Plan
from bench.report import Row, say
from bench.server import BenchError, Server, processor_seconds

TOPIC = "clicks"
KEYS = 10_000
# A mock broker keeps five megabytes of a partition at most.
PARTITIONS = 32
# A mock broker gives one produced batch of a partition per request: few partitions, so that it keeps up with small ones.
LATENCY_PARTITIONS = 4
DEADLINE_SECONDS = 180

DEFINITIONS = f"""\
project: bench
entities:
  item: {{key: [k]}}
sources:
  clicks:
    event_time: at
    columns: {{k: int64, kind: string, value: double}}
    kafka: {{topic: {TOPIC}}}
views:
  activity:
    entity: item
    source: clicks
    features:
      last_value: {{latest: value}}
      count_1h: {{count: "*", window: 1h}}
      mean_24h: {{mean: value, window: 24h}}
"""

PROPERTIES = "session.timeout.ms=6000\nheartbeat.interval.ms=500\n"


def stamp(seconds: float) -> str:
    whole = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
    return f"{whole}.{int(seconds % 1 * 1e6):06d}Z"


def event(key: int, value: float, at: str) -> bytes:
    return f'{{"k": {key}, "kind": "view", "value": {value}, "at": "{at}"}}'.encode()


def fill(brokers: str, count: int) -> None:
    generator = random.Random(5)
    client = rdkafka.producer(brokers, linger_ms="50")
    topic = client.topic(TOPIC)
    now = time.time() - 60
    for number in range(count):
        key = generator.randrange(KEYS)
        record = event(key, number % 1_000 / 8, stamp(now - (count - number) * 1e-3))
        client.produce(topic, key % PARTITIONS, str(key).encode(), record)
    client.flush()


@contextmanager
def redis(folder: Path) -> Iterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    arguments = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    with (folder / "redis.log").open("wb") as log:
        process = subprocess.Popen(["redis-server", *arguments], cwd=folder, stdout=log)
    try:
        for _ in range(500):
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                time.sleep(0.01)
        yield f"127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


def server(plan: Plan, folder: Path, brokers: str, **settings: str) -> Server:
    platform = plan.server(folder, DEFINITIONS)
    properties = folder / "kafka.properties"
    properties.write_text(PROPERTIES)
    platform.environment |= {
        "MARTLET_KAFKA_BROKERS": brokers,
        "MARTLET_KAFKA_PROPERTIES_FILE": str(properties),
        "MARTLET_LOG_LEVEL": "info",
        **settings,
    }
    return platform


def stored(platform: Server) -> int:
    for line in platform.bytes_of("GET", "/metrics").decode().splitlines():
        if line.startswith('martlet_ingest_events_total{source="clicks"}'):
            return int(float(line.split()[-1]))
    return 0


def take_in(platform: Server, count: int) -> tuple[float, float]:
    """Events a second from the first that are in both stores to the last, and processor seconds."""
    begin, first, used = 0.0, 0, 0.0
    end = time.perf_counter() + DEADLINE_SECONDS
    while time.perf_counter() < end:
        now = stored(platform)
        if now and not begin:
            begin, first, used = time.perf_counter(), now, processor_seconds(platform.pid)
        if now >= count:
            seconds = time.perf_counter() - begin
            return (count - first) / max(seconds, 1e-9), processor_seconds(platform.pid) - used
        time.sleep(0.02)
    raise BenchError(f"{stored(platform)} of {count} events were stored")


def wrong(platform: Server, count: int) -> str:
    if (found := platform.count("clicks")) != count:
        return f"{found} events stored of {count}"
    rows = platform.sql("SELECT k, count(*) FROM events_clicks WHERE k < 50 GROUP BY k ORDER BY k")
    read = platform.online(["activity.count_1h"], [{"k": key} for key, _ in rows])
    for (key, expected), row in zip(rows, read, strict=True):
        if row["values"][0] != expected:
            return f"activity.count_1h of {key} is {row['values'][0]}, expected {expected}"
    return ""


def kafka(plan: Plan) -> Iterator[Row]:
    # All within the last hour, so that every event is in the window that is checked.
    count = plan.scaled(1_500_000)
    folder = plan.folder("kafka")
    with rdkafka.cluster(plan.root) as cluster, redis(folder) as address:
        cluster.tell(f"topic {TOPIC} {PARTITIONS}")
        say(f"producing {count:,} events")
        fill(cluster.brokers, count)
        raw = rdkafka.count_records(cluster.brokers, TOPIC, PARTITIONS, count)
        say(f"a consumer that only counts gets {raw:,.0f} events/s")
        for name, target, settings in (
            ("kafka_memory", 150_000, {}),
            (
                "kafka_redis",
                60_000,
                {"MARTLET_ONLINE_BACKEND": "redis", "MARTLET_REDIS_ADDRESSES": address},
            ),
        ):
            if not (plan.wants(name) or plan.wants("kafka")):
                continue
            settings = settings | {"MARTLET_KAFKA_GROUP": name}
            with server(plan, folder / name, cluster.brokers, **settings) as platform:
                platform.apply()
                rate, processor = take_in(platform, count)
                yield Row(
                    name,
                    f"{count:,} events of {PARTITIONS} partitions into both stores",
                    rate,
                    "events/s",
                    raw,
                    "librdkafka's consumer",
                    target,
                    wrong=wrong(platform, count),
                    note=f"{processor:.1f} s of the platform's processor time",
                    details={"processor_seconds": processor},
                )


class Probe(threading.Thread):
    """Produces an event of a key that nobody else uses, and reads online until it is there."""

    def __init__(self, platform: Server, client: rdkafka.Client, topic: int, count: int) -> None:
        super().__init__()
        self.platform, self.client, self.topic, self.count = platform, client, topic, count
        self.times: list[float] = []

    def run(self) -> None:
        connection = HTTPConnection("127.0.0.1", self.platform.http_port, 60)
        for number in range(self.count):
            key = KEYS + 1 + number
            body = json.dumps({"features": ["activity.last_value"], "entities": [{"k": key}]})
            record = event(key, 1.5, stamp(time.time() - 1))
            begin = time.perf_counter()
            self.client.produce(self.topic, key % LATENCY_PARTITIONS, str(key).encode(), record)
            while time.perf_counter() - begin < 10:
                connection.request(
                    "POST",
                    "/api/v1/features/online",
                    body,
                    {"Content-Type": "application/json"},
                )
                if json.loads(connection.getresponse().read())["rows"][0]["values"][0] == 1.5:
                    break
                time.sleep(0.001)
            self.times.append(time.perf_counter() - begin)
            time.sleep(0.01)
        connection.close()


class Load(threading.Thread):
    """Produces events of other keys at a steady rate until it is stopped."""

    def __init__(self, client: rdkafka.Client, topic: int, rate: int, batch: int = 50) -> None:
        super().__init__()
        self.client, self.topic, self.rate, self.batch = client, topic, rate, batch
        self.stopped = threading.Event()
        self.produced = 0
        self.seconds = 0.0

    def run(self) -> None:
        generator = random.Random(6)
        begin = time.perf_counter()
        while not self.stopped.is_set():
            at = stamp(time.time() - 1)
            for _ in range(self.batch):
                key = generator.randrange(KEYS)
                record = event(key, 0.5, at)
                self.client.produce(self.topic, key % LATENCY_PARTITIONS, str(key).encode(), record)
            self.produced += self.batch
            self.client.kafka.rd_kafka_poll(self.client.handle, 0)
            time.sleep(max(0, begin + self.produced / self.rate - time.perf_counter()))
        self.seconds = time.perf_counter() - begin


def percentile(times: list[float], share: float) -> float:
    """In milliseconds."""
    return sorted(times)[int(len(times) * share)] * 1_000


def watched(brokers: str, client: rdkafka.Client, topic: int, count: int) -> list[float]:
    """How soon a consumer that does nothing else sees the events that the probe would read."""
    came: dict[int, threading.Event] = {KEYS + 1 + n: threading.Event() for n in range(count)}

    def see(value: bytes) -> None:
        key = int(value[6 : value.index(b",")])
        if key in came:
            came[key].set()

    stop = threading.Event()
    arguments = (brokers, TOPIC, LATENCY_PARTITIONS, see, stop)
    consumer = threading.Thread(
        target=rdkafka.watch, args=arguments, kwargs={"fetch_wait_max_ms": "10"}
    )
    consumer.start()
    times = []
    for key, seen in came.items():
        # Another value than that which the probe waits for.
        record = event(key, 0.25, stamp(time.time() - 1))
        begin = time.perf_counter()
        client.produce(topic, key % LATENCY_PARTITIONS, str(key).encode(), record)
        if not seen.wait(10):
            raise BenchError("a consumer that only looks did not see an event within 10 s")
        times.append(time.perf_counter() - begin)
        time.sleep(0.01)
    stop.set()
    consumer.join()
    return times


def kafka_latency(plan: Plan) -> Iterator[Row]:
    rate = 5_000
    count = max(100, int(400 * min(1, plan.scale)))
    folder = plan.folder("kafka_latency")
    with rdkafka.cluster(plan.root) as cluster:
        cluster.tell(f"topic {TOPIC} {LATENCY_PARTITIONS}")
        client = rdkafka.producer(cluster.brokers, linger_ms="1", compression_type="none")
        topic = client.topic(TOPIC)
        load = Load(client, topic, rate)
        load.start()
        try:
            raw = watched(cluster.brokers, client, topic, count)
            settings = {"MARTLET_KAFKA_BATCH_INTERVAL": "20ms"}
            with server(plan, folder, cluster.brokers, **settings) as platform:
                platform.apply()
                caught_up(platform, load)
                probe = Probe(platform, client, topic, count)
                probe.start()
                probe.join()
        finally:
            load.stopped.set()
            load.join()
        client.flush()
        times = probe.times
        yield Row(
            "kafka_p99",
            f"event to readable at {load.produced / load.seconds:,.0f} events/s, batch time 20 ms",
            percentile(times, 0.99),
            "ms",
            percentile(raw, 0.99) + 20,
            "a consumer that only looks, and the batch time",
            50,
            more_is_better=False,
            note=f"p50 {percentile(times, 0.5):.1f} ms, most {max(times) * 1_000:.1f} ms, "
            f"{len(times)} probes by online reads",
        )


def caught_up(platform: Server, load: Load) -> None:
    """Waits until the group has met and what was produced before is stored."""
    end = time.perf_counter() + DEADLINE_SECONDS
    while stored(platform) < load.produced - load.rate / 5:
        if time.perf_counter() > end:
            raise BenchError(f"{stored(platform)} of {load.produced} events were stored")
        time.sleep(0.02)
