"""The user's transform: columns in, columns out, and the rows for which it raises."""

from __future__ import annotations

import importlib.metadata
from datetime import UTC, datetime

import numpy as np
import pytest
from platform_side import Platform, table

from martlet_worker import columns as wire
from martlet_worker import pins
from martlet_worker import worker_pb2 as pb
from martlet_worker.faults import TaskFault
from martlet_worker.transform import transformed

EVENTS = table(
    {
        "price": np.array([1.5, 2.0, np.nan, 4.0]),
        "count": [1, 2, None, 4],
        "city": ["Zürich", "", None, "東京"],
    }
)


def test_a_transform_returns_columns_by_name(platform: Platform) -> None:
    source = """
import numpy as np

def transform(columns):
    return {
        "total": columns["price"] * columns["count"],
        "city": np.array([c.upper() if c else c for c in columns["city"]], dtype=object),
        "count": columns["count"],
    }
"""
    answer = platform.transform(source, EVENTS)
    assert isinstance(answer, pb.Result), answer
    assert not answer.transformed.row_errors
    read = wire.arrays(answer.transformed.rows)
    assert read["total"][[0, 1, 3]].tolist() == [1.5, 4.0, 16.0]
    assert np.isnan(read["total"][2])
    assert read["city"].tolist() == ["ZÜRICH", "", None, "東京"]
    # What passes through keeps its type although nulls made it float64 on the way.
    types = {column.name: column.type for column in answer.transformed.rows.columns}
    assert types["count"] == wire.INT64


def test_arrays_go_in_and_out_row_by_row() -> None:
    rows = table(
        {
            "embedding": np.array([[3.0, 4.0], [np.nan, np.nan], [0.0, 0.0]]),
            "tags": [["a", "b"], None, []],
        }
    )

    def transform(columns: dict[str, wire.Array]) -> dict[str, object]:
        lengths = np.linalg.norm(columns["embedding"], axis=1, keepdims=True)
        if (lengths == 0).any():
            raise ValueError("no direction")
        return {
            "embedding": columns["embedding"] / lengths,
            "tags": [None if tags is None else [*tags, "c"] for tags in columns["tags"]],
        }

    answer = transformed(transform, rows)
    assert [(error.row, error.message) for error in answer.row_errors] == [
        (2, "ValueError: no direction")
    ]
    read = wire.arrays(answer.rows)
    assert answer.rows.columns[0].length == 2
    np.testing.assert_array_equal(read["embedding"][:2], [[0.6, 0.8], [np.nan, np.nan]])
    assert [None if tags is None else list(tags) for tags in read["tags"]] == [
        ["a", "b", "c"],
        None,
        None,
    ]


def test_a_data_frame_is_an_answer_too(platform: Platform) -> None:
    source = """
import pandas as pd

def transform(columns):
    return pd.DataFrame(columns).assign(total=1)
"""
    answer = platform.transform(source, EVENTS)
    assert isinstance(answer, pb.Result), answer
    names = [column.name for column in answer.transformed.rows.columns]
    assert names == ["price", "count", "city", "total"]


def test_rows_that_raise_are_named_and_the_others_go_on(platform: Platform) -> None:
    rows = table({"price": np.arange(1_000.0), "at": np.arange(1_000).astype("M8[us]")})
    source = """
def transform(columns):
    for price in columns["price"]:
        if price in (0, 17, 18, 999):
            raise ValueError(f"bad price {price:.0f}")
    return {"double": columns["price"] * 2, "at": columns["at"]}
"""
    answer = platform.transform(source, rows)
    assert isinstance(answer, pb.Result), answer
    errors = {error.row: error.message for error in answer.transformed.row_errors}
    assert errors == {row: f"ValueError: bad price {row}" for row in (0, 17, 18, 999)}
    read = wire.arrays(answer.transformed.rows)
    assert len(read["double"]) == 1_000
    assert np.flatnonzero(np.isnan(read["double"])).tolist() == [0, 17, 18, 999]
    assert read["double"][500] == 1_000.0
    assert read["at"][500] == np.datetime64(500, "us")


def test_all_rows_may_raise(platform: Platform) -> None:
    answer = platform.transform("def transform(columns):\n    raise KeyError('x')\n", EVENTS)
    assert isinstance(answer, pb.Result), answer
    assert len(answer.transformed.row_errors) == 4
    assert not answer.transformed.rows.columns


def test_an_edited_transform_is_read_again(platform: Platform) -> None:
    first = platform.transform("def transform(columns):\n    return {'a': [1] * 4}\n", EVENTS)
    second = platform.transform("def transform(columns):\n    return {'bb': [1] * 4}\n", EVENTS)
    names = [
        [column.name for column in answer.transformed.rows.columns]
        for answer in (first, second)
        if isinstance(answer, pb.Result)
    ]
    assert names == [["a"], ["bb"]]


@pytest.mark.parametrize(
    ("body", "kind", "said"),
    [
        ("return {'a': [1, 2]}", pb.Fault.BAD_OUTPUT, "'a' has 2 rows; expected 4"),
        ("return {'a': 1}", pb.Fault.BAD_OUTPUT, "'a' is a int; expected 4 values"),
        ("return [1, 2, 3, 4]", pb.Fault.BAD_OUTPUT, "returned a list"),
        ("return {'a': [object()] * 4}", pb.Fault.BAD_OUTPUT, "values of type object"),
        ("return {1: [1] * 4}", pb.Fault.BAD_OUTPUT, "a column is named 1"),
        ("import sys; sys.exit('bye')", pb.Fault.USER_ERROR, "sys.exit('bye')"),
        ("import absent_library", pb.Fault.LIBRARY_MISSING, "'absent_library'"),
    ],
)
def test_an_answer_that_is_no_table_is_a_fault(
    platform: Platform, body: str, kind: pb.Fault.Kind, said: str
) -> None:
    fault = platform.transform(f"def transform(columns):\n    {body}\n", EVENTS)
    assert isinstance(fault, pb.Fault)
    assert fault.kind == kind
    assert said in fault.message


def test_a_missing_file_or_function_is_named(platform: Platform) -> None:
    task = pb.Transform(code_path="/nowhere/clean.py", function="transform", rows=EVENTS)
    assert "/nowhere/clean.py does not exist" in platform.fault(transform=task).message
    fault = platform.transform("def tranform(columns):\n    return columns\n", EVENTS)
    assert isinstance(fault, pb.Fault)
    assert "no function 'transform'; it defines tranform" in fault.message


@pytest.mark.parametrize(
    ("wanted", "here", "same"),
    [
        ("1.26.4", "1.26.4", True),
        ("1.26", "1.26.0", True),
        ("1.26.0", "1.26", True),
        ("2.1.0", "2.1.0+cpu", True),
        ("2.1.0+cpu", "2.1.0+cu12", False),
        ("1.26.4", "1.26.5", False),
        ("1.10", "1.1", False),
        ("10.0", "1.0", False),
        ("1.0rc1", "1.0", False),
        ("1.0.0rc1", "1.0rc1", True),
    ],
)
def test_versions_are_equal_but_for_zeros_and_local_labels(
    wanted: str, here: str, same: bool
) -> None:
    assert pins.same_version(wanted, here) is same


def test_pins_are_read_with_comments_hashes_and_continued_lines() -> None:
    text = """
# what the transform needs
numpy==1.26.4 \\
    --hash=sha256:00 \\
    --hash=sha256:11
pandas[excel] == 2.1   # for one function

"""
    assert pins.pins(text) == {"numpy": "1.26.4", "pandas": "2.1"}


@pytest.mark.parametrize("line", ["numpy", "numpy>=1", "-r other.txt", "numpy==1.*", "a==1; x"])
def test_what_is_no_pin_is_refused_with_its_line(line: str) -> None:
    with pytest.raises(TaskFault, match="line 2 of the requirements"):
        pins.pins(f"# first\n{line}\n")


def test_a_transform_pinned_to_another_version_is_refused(platform: Platform) -> None:
    here = importlib.metadata.version("numpy")
    source = "def transform(columns):\n    return columns\n"
    good = platform.transform(source, EVENTS, requirements=f"numpy=={here}\n")
    assert isinstance(good, pb.Result), good
    bad = platform.transform(source, EVENTS, requirements="numpy==0.1\nnot-there==2\n")
    assert isinstance(bad, pb.Fault), bad
    assert bad.kind == pb.Fault.LIBRARY_MISSING
    assert f"numpy 0.1 is wanted and {here} installed" in bad.message
    assert "not-there 2 is wanted and not installed" in bad.message


def test_a_row_that_is_explained_has_its_whole_traceback(platform: Platform) -> None:
    source = """
def inner(price):
    raise ValueError("no price")

def transform(columns):
    return {"price": [inner(p) if p != p else p for p in columns["price"]]}
"""
    answer = platform.transform(source, EVENTS, explain=True)
    assert isinstance(answer, pb.Result), answer
    (error,) = answer.transformed.row_errors
    assert error.row == 2
    assert error.message == "ValueError: no price"
    assert "in inner" in error.traceback and "in transform" in error.traceback
    plain = platform.transform(source, EVENTS)
    assert not plain.transformed.row_errors[0].traceback


@pytest.mark.parametrize(
    "cell",
    [2**70, "\ud800", datetime(2026, 1, 1), [1, 2], {"a": 1}, b"raw"],
)
def test_a_row_whose_answer_cannot_be_kept_fails_alone(cell: object) -> None:
    rows = table({"id": list(range(40))})

    def transform(columns: dict[str, wire.Array]) -> dict[str, object]:
        fine: dict[type, object] = {str: "fine", datetime: datetime(2026, 1, 1, tzinfo=UTC)}
        made = np.empty(len(columns["id"]), dtype=object)
        for row, number in enumerate(columns["id"]):
            made[row] = cell if number == 17 else fine.get(type(cell), 1)
        return {"made": made}

    answer = transformed(transform, rows)
    assert [error.row for error in answer.row_errors] == [17]
    assert "made" in answer.row_errors[0].message or "UTF-8" in answer.row_errors[0].message
    assert wire.arrays(answer.rows)["made"][0] is not None
