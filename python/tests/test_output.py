"""What user code prints or logs arrives as Log frames, before the answer, in order."""

from __future__ import annotations

import numpy as np
from platform_side import Platform, table

from martlet_worker import worker_pb2 as pb
from martlet_worker.limits import LOG_MESSAGE_BYTES
from martlet_worker.output import Lines

ROWS = table({"a": np.array([1])})


def run(platform: Platform, body: str) -> None:
    source = f"import ctypes, logging, os, sys\ndef transform(columns):\n    {body}\n"
    answer = platform.transform(source + "    return columns\n", ROWS)
    assert isinstance(answer, pb.Result), answer
    assert not answer.transformed.row_errors, answer


def test_prints_become_log_lines_of_their_task(platform: Platform) -> None:
    run(platform, "print('Grüße'); print('two\\nlines', file=sys.stderr)")
    assert platform.lines("stdout") == ["Grüße"]
    assert platform.lines("stderr") == ["two", "lines"]
    assert all(log.task_id for log in platform.logs)
    assert {log.level for log in platform.logs} == {pb.Log.INFO, pb.Log.WARNING}


def test_bytes_written_to_the_descriptors_never_touch_the_protocol(platform: Platform) -> None:
    run(platform, "os.write(1, b'\\x00\\xff raw'); os.write(2, b'err')")
    assert platform.lines("stdout") == ["\x00� raw"]
    assert platform.lines("stderr") == ["err"]


def test_what_c_code_prints_arrives_before_the_answer(platform: Platform) -> None:
    run(platform, "ctypes.CDLL(None).printf(b'from C %d\\n', 7)")
    assert platform.lines("stdout") == ["from C 7"]


def test_a_subprocess_prints_into_the_log_too(platform: Platform) -> None:
    run(platform, "os.system('echo from a shell')")
    assert platform.lines("stdout") == ["from a shell"]


def test_python_logging_keeps_level_and_name(platform: Platform) -> None:
    run(platform, "logging.getLogger('shop.prices').error('no price for %s', 'x')")
    (log,) = platform.logs
    assert (log.level, log.logger, log.message) == (pb.Log.ERROR, "shop.prices", "no price for x")


def test_a_lot_of_output_arrives_whole_and_in_order(platform: Platform) -> None:
    run(platform, "[print(i) for i in range(20_000)]")
    assert platform.lines("stdout") == [str(i) for i in range(20_000)]


def test_closing_stdout_does_not_stop_the_worker(platform: Platform) -> None:
    run(platform, "sys.stdout.close()")
    platform.ask(unload=pb.Unload(model="churn", version=1))


def test_lines_are_cut_at_the_limit_and_kept_until_they_end() -> None:
    lines = Lines()
    assert lines.feed(b"a\nb") == ["a"]
    assert lines.feed(b"c\n") == ["bc"]
    assert lines.feed(b"10%\r20%\r30%\n") == ["30%"]
    long = lines.feed(b"x" * (LOG_MESSAGE_BYTES + 1))
    assert [len(line) for line in long] == [LOG_MESSAGE_BYTES]
    assert lines.flush() == ["x"]
    assert lines.flush() == []
