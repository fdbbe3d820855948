"""Columns on the wire and as arrays, and the golden frames."""

from __future__ import annotations

import datetime
import json
import struct

import numpy as np
import pandas as pd
import pytest
from golden_frames import DIRECTORY, every_type, frames, manifest, on_the_socket
from google.protobuf import json_format

from martlet_worker import columns as wire
from martlet_worker import worker_pb2 as pb
from martlet_worker.faults import TaskFault


@pytest.mark.parametrize("name", frames())
def test_golden_frames_have_the_committed_bytes(name: str) -> None:
    assert on_the_socket(frames()[name]) == (DIRECTORY / f"{name}.bin").read_bytes()


def test_the_manifest_describes_the_golden_frames() -> None:
    text = (DIRECTORY / "manifest.json").read_text(encoding="utf-8")
    assert text == manifest()
    for entry in json.loads(text)["frames"]:
        frame = json_format.ParseDict(entry["frame"], pb.Frame())
        assert on_the_socket(frame) == (DIRECTORY / entry["file"]).read_bytes()


def test_there_is_a_golden_frame_for_each_kind() -> None:
    kinds = {frame.WhichOneof("kind") for frame in frames().values()}
    assert kinds == {field.name for field in pb.Frame.DESCRIPTOR.oneofs_by_name["kind"].fields}


def test_numbers_are_wrapped_without_a_copy() -> None:
    column = wire.packed_column("spent", wire.DOUBLE, np.arange(5.0))
    values = wire.packed_values(column, 5)
    assert isinstance(values.base, bytes)
    assert not values.flags.owndata
    assert not values.flags.writeable


def test_every_type_comes_back_with_its_nulls() -> None:
    read = wire.arrays(pb.Columns.FromString(every_type().SerializeToString()))
    assert read["returning"].tolist() == [True, False, True]
    assert read["orders"][0] == -1.0
    assert np.isnan(read["orders"][2])
    assert read["spent"].tolist() == [0.1, -2.5e300, 3.0]
    assert read["city"].tolist() == ["Zürich", "", "東京 🗼"]
    assert read["note"].tolist() == ["a", "bc", None]
    assert read["seen_at"][1] == np.datetime64("1969-12-31T23:59:59.999999")
    assert np.isnat(read["seen_at"][2])


def test_whole_numbers_without_nulls_stay_exact() -> None:
    column = wire.packed_column("id", wire.INT64, np.array([2**53 + 1, -(2**63)]))
    assert wire.array(column, 2).tolist() == [2**53 + 1, -(2**63)]


def test_strings_are_offsets_and_then_bytes() -> None:
    column = wire.packed_column("note", wire.STRING, np.array(["é", ""], dtype=object))
    assert column.values == struct.pack("<3I", 0, 2, 2) + "é".encode()
    assert column.validity == b""


def test_what_is_null_is_written_as_zero() -> None:
    column = wire.column_of("spent", np.array([1.5, np.nan]))
    assert column.values == struct.pack("<2d", 1.5, 0.0)
    assert column.validity == b"\x01\x00"


@pytest.mark.parametrize(
    ("values", "column_type", "shown"),
    [
        ([True, None], wire.BOOL, [1.0, np.nan]),
        ([1, 2], wire.INT64, [1, 2]),
        ([1, 2.5], wire.DOUBLE, [1.0, 2.5]),
        (["a", None], wire.STRING, ["a", None]),
        (np.array(["a", "b"]), wire.STRING, ["a", "b"]),
        (np.array([1, 2], np.uint8), wire.INT64, [1, 2]),
        (np.float32([0.5, 1]), wire.DOUBLE, [0.5, 1.0]),
        (pd.Series([1, None], dtype="Int64"), wire.INT64, [1.0, np.nan]),
        (pd.Series(["a", None], dtype="str"), wire.STRING, ["a", None]),
        (pd.Series(["a", None], dtype="category"), wire.STRING, ["a", None]),
        (np.ma.masked_array([1, 2], [False, True]), wire.INT64, [1.0, np.nan]),
        (np.array(["2026-01-01"], "M8[ns]"), wire.TIMESTAMP, ["2026-01-01T00:00:00.000000"]),
        ([None, None], wire.DOUBLE, [np.nan, np.nan]),
    ],
)
def test_what_users_return_becomes_the_nearest_type(
    values: object, column_type: int, shown: list[object]
) -> None:
    column = wire.column_of("x", values)
    assert column.type == column_type
    read = wire.array(column, len(shown))
    if column_type == wire.TIMESTAMP:
        read = read.astype(str)
    assert [str(value) for value in read.tolist()] == [str(value) for value in shown]


def test_a_time_with_a_zone_is_written_in_utc() -> None:
    zone = datetime.timezone(datetime.timedelta(hours=2))
    column = wire.column_of("at", [datetime.datetime(2026, 1, 1, 2, tzinfo=zone), None])
    assert wire.array(column, 2)[0] == np.datetime64("2026-01-01T00:00:00")


def test_whole_numbers_that_met_nulls_go_back_to_int64() -> None:
    assert wire.column_of("n", np.array([3.0, np.nan]), like=wire.INT64).type == wire.INT64
    assert wire.column_of("n", np.array([3.5, np.nan]), like=wire.INT64).type == wire.DOUBLE
    assert wire.column_of("n", np.array([1.0, np.nan]), like=wire.BOOL).type == wire.BOOL


def round_trip(
    values: object, like: int | None = None, length: int | None = None
) -> tuple[pb.Column, wire.Array]:
    column = wire.column_of("x", values, like, length)
    return column, wire.array(column, len(values))  # type: ignore[arg-type]


def test_two_dimensions_are_an_array_column_of_one_length() -> None:
    column, back = round_trip(np.array([[1.0, 2.0], [np.nan, np.nan], [np.nan, 4.0]]))
    assert (column.type, column.length, column.offsets) == (wire.DOUBLE, 2, b"")
    assert column.validity == b"\1\0\1"
    np.testing.assert_array_equal(back, [[1.0, 2.0], [np.nan, np.nan], [np.nan, 4.0]])


def test_rows_of_lists_are_an_array_column_with_offsets() -> None:
    column, back = round_trip([["a", "bc"], None, []])
    assert (column.type, column.length) == (wire.STRING, 0)
    assert column.offsets == struct.pack("<4I", 0, 2, 2, 2)
    assert [None if row is None else list(row) for row in back] == [["a", "bc"], None, []]


def test_lists_take_the_length_and_type_of_the_input_column() -> None:
    column, back = round_trip([[1.0, 2.0], None], like=wire.INT64, length=2)
    assert (column.type, column.length) == (wire.INT64, 2)
    np.testing.assert_array_equal(back, [[1.0, 2.0], [np.nan, np.nan]])
    column, _ = round_trip([[1.0, 2.0], [3.0]], like=wire.DOUBLE, length=2)
    assert (column.length, len(column.offsets)) == (0, 12)
    column, _ = round_trip([[], None], like=wire.STRING, length=0)
    assert column.type == wire.STRING


def test_numbers_of_an_array_column_are_views_of_the_message() -> None:
    column = wire.column_of("x", np.arange(6.0).reshape(2, 3))
    back = wire.array(column, 2)
    assert back.shape == (2, 3)
    assert not back.flags.writeable


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (np.zeros((2, 2, 2)), "3 dimensions"),
        ([[1, None]], "null element"),
        ([["a"], 1], "row 1, is a int"),
        ([[1, "a"]], "values of type int, str"),
        ([object(), 1], "values of type int, object"),
        ([2**63], "does not fit int64"),
        (np.array([2**63], np.uint64), "does not fit int64"),
        ([datetime.datetime(2026, 1, 1)], "has no zone"),
        (np.array([1j]), "complex128"),
        (["\ud800"], "no UTF-8 form"),
    ],
)
def test_what_no_column_can_hold_is_bad_output(values: object, said: str) -> None:
    with pytest.raises(TaskFault, match=said) as caught:
        wire.column_of("x", values)
    assert caught.value.kind == pb.Fault.BAD_OUTPUT


@pytest.mark.parametrize(
    "column",
    [
        pb.Column(name="x", type=wire.DOUBLE, values=bytes(15)),
        pb.Column(name="x", type=wire.DOUBLE, values=bytes(16), validity=b"\x01"),
        pb.Column(name="x", type=wire.STRING, values=bytes(8)),
        pb.Column(name="x", type=wire.STRING, values=struct.pack("<3I", 0, 9, 1) + b"a"),
        pb.Column(name="x", type=wire.STRING, values=struct.pack("<3I", 0, 1, 1) + b"\xff"),
        pb.Column(name="x", values=bytes(16)),
    ],
)
def test_a_column_that_does_not_fit_its_rows_is_refused(column: pb.Column) -> None:
    with pytest.raises(TaskFault, match="column 'x'"):
        wire.array(column, 2)
