"""librdkafka by its C API: a mock cluster in a process of its own, a producer, and a consumer that only counts."""

import ctypes
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.server import BenchError

PRODUCER, CONSUMER = 0, 1
COPY = 0x2
QUEUE_FULL = -184
BEGINNING = -2
AT_ONCE = 10_000


def library() -> ctypes.CDLL:
    kafka = ctypes.CDLL("librdkafka.so.1")
    kafka.rd_kafka_conf_new.restype = ctypes.c_void_p
    kafka.rd_kafka_conf_set.argtypes = [ctypes.c_void_p] + [ctypes.c_char_p] * 3 + [ctypes.c_size_t]
    kafka.rd_kafka_new.restype = ctypes.c_void_p
    kafka.rd_kafka_new.argtypes = [
        ctypes.c_int,
        ctypes.c_void_p,
        ctypes.c_char_p,
        ctypes.c_size_t,
    ]
    kafka.rd_kafka_topic_new.restype = ctypes.c_void_p
    kafka.rd_kafka_topic_new.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]
    kafka.rd_kafka_produce.argtypes = (
        [ctypes.c_void_p, ctypes.c_int32, ctypes.c_int, ctypes.c_char_p, ctypes.c_size_t]
        + [ctypes.c_char_p, ctypes.c_size_t]
        + [ctypes.c_void_p]
    )
    for name in ("poll", "flush"):
        getattr(kafka, f"rd_kafka_{name}").argtypes = [ctypes.c_void_p, ctypes.c_int]
    kafka.rd_kafka_last_error.restype = ctypes.c_int
    kafka.rd_kafka_queue_new.restype = ctypes.c_void_p
    kafka.rd_kafka_queue_new.argtypes = [ctypes.c_void_p]
    kafka.rd_kafka_consume_start_queue.argtypes = [
        ctypes.c_void_p,
        ctypes.c_int32,
        ctypes.c_int64,
        ctypes.c_void_p,
    ]
    kafka.rd_kafka_consume_batch_queue.restype = ctypes.c_ssize_t
    kafka.rd_kafka_consume_batch_queue.argtypes = [
        ctypes.c_void_p,
        ctypes.c_int,
        ctypes.POINTER(ctypes.c_void_p),
        ctypes.c_size_t,
    ]
    for name in ("message_destroy", "destroy", "queue_destroy"):
        getattr(kafka, f"rd_kafka_{name}").argtypes = [ctypes.c_void_p]
    return kafka


class Message(ctypes.Structure):
    _fields_ = [
        ("err", ctypes.c_int),
        ("topic", ctypes.c_void_p),
        ("partition", ctypes.c_int32),
        ("payload", ctypes.c_void_p),
        ("size", ctypes.c_size_t),
    ]


class Client:
    """A producer or consumer; `with` ends it."""

    def __init__(self, kind: int, properties: dict[str, str]) -> None:
        self.kafka = library()
        settings = self.kafka.rd_kafka_conf_new()
        reason = ctypes.create_string_buffer(256)
        for name, value in properties.items():
            if self.kafka.rd_kafka_conf_set(settings, name.encode(), value.encode(), reason, 256):
                raise BenchError(f"librdkafka: {reason.value.decode()}")
        self.handle = self.kafka.rd_kafka_new(kind, settings, reason, 256)
        if not self.handle:
            raise BenchError(f"librdkafka: {reason.value.decode()}")

    def topic(self, name: str) -> int:
        return self.kafka.rd_kafka_topic_new(self.handle, name.encode(), None)

    def produce(self, topic: int, partition: int, key: bytes, value: bytes) -> None:
        while self.kafka.rd_kafka_produce(
            topic, partition, COPY, value, len(value), key, len(key), None
        ):
            if self.kafka.rd_kafka_last_error() != QUEUE_FULL:
                raise BenchError(f"produce failed: {self.kafka.rd_kafka_last_error()}")
            self.kafka.rd_kafka_poll(self.handle, 10)

    def flush(self, seconds: float = 120) -> None:
        if self.kafka.rd_kafka_flush(self.handle, int(seconds * 1000)):
            raise BenchError("records were not delivered")


def producer(brokers: str, **more: str) -> Client:
    return Client(
        PRODUCER,
        {
            "bootstrap.servers": brokers,
            "queue.buffering.max.messages": "2000000",
            "queue.buffering.max.kbytes": "1000000",
            "batch.num.messages": "10000",
            "compression.type": "lz4",
            **{name.replace("_", "."): value for name, value in more.items()},
        },
    )


def count_records(brokers: str, topic: str, partitions: int, wanted: int) -> float:
    """Records a second that a consumer gets who does nothing with them."""
    client = Client(CONSUMER, {"bootstrap.servers": brokers, "group.id": "raw"})
    kafka = client.kafka
    queue = kafka.rd_kafka_queue_new(client.handle)
    handle = client.topic(topic)
    for partition in range(partitions):
        kafka.rd_kafka_consume_start_queue(handle, partition, BEGINNING, queue)
    messages = (ctypes.c_void_p * AT_ONCE)()
    seen, first, begin = 0, 0, 0.0
    while seen < wanted:
        got = kafka.rd_kafka_consume_batch_queue(queue, 5_000, messages, AT_ONCE)
        if got <= 0:
            raise BenchError(f"the consumer got {seen} of {wanted} records")
        if not seen:
            first, begin = got, time.perf_counter()
        seen += got
        for index in range(got):
            kafka.rd_kafka_message_destroy(messages[index])
    return (seen - first) / (time.perf_counter() - begin)


def watch(
    brokers: str,
    topic: str,
    partitions: int,
    see: Callable[[bytes], None],
    stop: threading.Event,
    **more: str,
) -> None:
    """Shows the value of each record that comes, as soon as it comes, until it is stopped."""
    properties = {name.replace("_", "."): value for name, value in more.items()}
    client = Client(CONSUMER, {"bootstrap.servers": brokers, "group.id": "watch"} | properties)
    kafka = client.kafka
    queue = kafka.rd_kafka_queue_new(client.handle)
    handle = client.topic(topic)
    for partition in range(partitions):
        kafka.rd_kafka_consume_start_queue(handle, partition, BEGINNING, queue)
    messages = (ctypes.c_void_p * AT_ONCE)()
    while not stop.is_set():
        for index in range(kafka.rd_kafka_consume_batch_queue(queue, 1, messages, AT_ONCE)):
            message = Message.from_address(messages[index])
            if not message.err:
                see(ctypes.string_at(message.payload, message.size))
            kafka.rd_kafka_message_destroy(messages[index])


class Cluster:
    """Mock brokers, told what to do by lines (Tests/MockKafka/main.swift)."""

    def __init__(self, program: Path, brokers: int) -> None:
        if not program.exists():
            raise BenchError(f"there is no {program}; `make bench` builds it")
        self.process = subprocess.Popen(
            [str(program), str(brokers)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.brokers = self._line().removeprefix("brokers ")

    def _line(self) -> str:
        assert self.process.stdout
        return self.process.stdout.readline().strip()

    def tell(self, command: str) -> None:
        assert self.process.stdin
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()
        if (answer := self._line()) != "ok":
            raise BenchError(f"the mock cluster answered '{command}' with '{answer}'")

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()


@contextmanager
def cluster(root: Path, brokers: int = 1) -> Iterator[Cluster]:
    started = Cluster(root / ".build/release/MockKafka", brokers)
    try:
        yield started
    finally:
        started.stop()
