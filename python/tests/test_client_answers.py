"""What the client makes of answers, and how it fails where one is not what it should be."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest

from martlet import OnlineFeatures, PushReceipt, errors
from martlet.answers import Job, LineageEdge, Plan, QuarantinedRecord, Reason
from martlet.exchange import Request, Response
from martlet.transport import Lines

ONLINE = {
    "features": ["v.a", "v.b"],
    "time": "2026-03-01T00:00:10Z",
    "rows": [
        {
            "values": ["NaN", "2026-01-01T00:00:00.5Z"],
            "statuses": ["present", "present"],
            "event_timestamps": ["2026-03-01T00:00:00Z", None],
        }
    ],
}
TYPES = {"v.a": "double", "v.b": "timestamp"}


def test_a_field_of_a_newer_platform_is_ignored_and_a_lacking_one_is_told() -> None:
    body = {"id": "j", "kind": "train", "state": "RUNNING", "attempt": 1, "colour": "red"}
    assert not Job.of(body).done
    with pytest.raises(errors.InternalError, match="lacks a part of Job"):
        Job.of({"id": "j"})
    for body in (None, [], "text"):
        with pytest.raises(errors.InternalError, match="no Plan"):
            Plan.of(body)


def test_times_and_nested_answers_are_read() -> None:
    record = QuarantinedRecord.of(
        {
            "id": 1,
            "source": "s",
            "status": "waiting",
            "kind": "range",
            "reason": "r",
            "position": "p",
            "event_id": "e",
            "attempts": 0,
            "record": "{}",
            "quarantined_at": "2026-03-01T01:00:00.25Z",
            "settled_at": None,
        }
    )
    assert record.quarantined_at == datetime(2026, 3, 1, 1, 0, 0, 250_000, UTC)
    assert record.settled_at is None
    edge = LineageEdge.of({"from": "a", "to": "b", "role": "key"})
    assert (edge.source, edge.to) == ("a", "b")


def test_receipts_add_up() -> None:
    first = PushReceipt(accepted=2, reasons=("x",) * 60, warnings=(Reason("w", 1),))
    second = PushReceipt(duplicates=3, reasons=("y",) * 60, warnings=(Reason("w", 2),))
    both = first + second
    assert (both.accepted, both.duplicates, len(both.reasons)) == (2, 3, 100)
    assert both.warnings == (Reason("w", 3),)


def test_online_rows_are_read_by_name_and_by_number() -> None:
    answer = OnlineFeatures.of(ONLINE, [{"k": 1}], TYPES)
    assert answer[0]["v.a"] != answer[0]["v.a"]  # NaN
    assert answer[-1]["v.b"] == datetime(2026, 1, 1, 0, 0, 0, 500_000, UTC)
    assert answer[0].age("v.a") == timedelta(seconds=10) and answer[0].age("v.b") is None
    assert [dict(row).keys() for row in answer[:5]] == [{"v.a", "v.b"}]
    with pytest.raises(KeyError, match=r"v\.c was not asked for"):
        answer[0]["v.c"]
    with pytest.raises(IndexError, match="1 rows"):
        answer[1]


def test_a_value_of_a_type_that_has_changed_meanwhile_is_left_as_it_came() -> None:
    answer = OnlineFeatures.of(ONLINE, [{"k": 1}], {"v.a": "int64", "v.b": "double"})
    assert answer.values == (("NaN", "2026-01-01T00:00:00.5Z"),)
    assert answer.to_arrow().schema.field("v.a").type == pa.string()


def test_an_online_answer_without_its_rows_is_an_error() -> None:
    for body in ({}, {"features": ["a"], "rows": [{}]}, {"features": ["a"], "rows": None}):
        with pytest.raises(errors.InternalError, match="no features as asked for"):
            OnlineFeatures.of(body, [{}], {})


def test_lines_are_told_as_they_come_and_the_last_is_the_answer() -> None:
    told: list[object] = []
    lines = Lines(Request("POST", "/", on_line=told.append))
    for piece in (b'{"n', b'": 1}\n{"n": 2}', b'\n{"n": 3}\n'):
        lines.add(piece)
    assert told == [{"n": 1}, {"n": 2}]
    assert lines.answer() == b'{"n": 3}'


def test_an_error_may_be_the_last_line() -> None:
    lines = Lines(Request("POST", "/"))
    lines.add(b'{"n": 1}\n{"error": {"code": "invalid_record", "message": "row 7"}}\n')
    with pytest.raises(errors.InvalidRecordError, match="row 7"):
        lines.answer()
    with pytest.raises(errors.UnavailableError, match="closed the connection"):
        Lines(Request("POST", "/")).answer()


def test_an_answer_that_is_no_json_says_to_check_the_address() -> None:
    with pytest.raises(errors.InternalError, match="check the address"):
        _ = Response({}, b"<html>").json


def test_names_are_escaped_in_addresses() -> None:
    request = Request("GET", "/a", query={"name": "ü &=/?", "none": None})
    assert request.target == "/a?name=%C3%BC%20%26%3D%2F%3F"
