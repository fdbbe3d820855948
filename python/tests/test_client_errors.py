"""The client's errors are those of the platform's one table, and say what to do."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

import martlet
from martlet import errors
from martlet.address import DEFAULT_ADDRESS, find_address, find_token
from martlet.errors import ERRORS, error_of

CHECKOUT = Path(__file__).resolve().parents[2]


def table_of_swift() -> dict[str, tuple[int, str]]:
    """Code → HTTP status and help, of `Sources/Core/Errors.swift`."""
    source = (CHECKOUT / "Sources" / "Core" / "Errors.swift").read_text(encoding="utf-8")
    codes = {}
    for name, raw in re.findall(r"^  case (\w+)(?: = \"(\w+)\")?$", source, re.MULTILINE):
        codes[name] = raw or name
    rows = re.findall(r"case \.(\w+):\s+\((\d+), \d+, \d+, \"(.+?)\"\)", source)
    return {codes[name]: (int(http), text) for name, http, text in rows}


def table_of_reference() -> dict[str, tuple[int, str]]:
    page = (CHECKOUT / "docs" / "reference" / "errors.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \| (\d+) \|.*\| (.+) \|$", page, re.MULTILINE)
    return {code: (int(http), text) for code, http, text in rows}


def test_the_python_table_is_the_platforms() -> None:
    ours = {code: (error.http, error.help) for code, error in ERRORS.items()}
    assert len(ours) == 16
    assert ours == table_of_swift()
    assert ours == table_of_reference()


def test_every_exception_of_the_module_is_one_of_the_table() -> None:
    classes = [c for _, c in inspect.getmembers(errors, inspect.isclass)]
    classes = [c for c in classes if issubclass(c, errors.MartletError)]
    others = set(classes) - set(ERRORS.values()) - {errors.MartletError}
    assert others == {errors.UnauthenticatedError, errors.JobFailedError}
    for each in others:
        assert issubclass(each, tuple(ERRORS.values()))


@pytest.mark.parametrize("code", sorted(ERRORS))
def test_an_answer_becomes_the_exception_of_its_code(code: str) -> None:
    body = {"error": {"code": code, "message": "what, where, next", "retryable": True}}
    error = error_of(body, ERRORS[code].http, "7")
    assert type(error) is ERRORS[code]
    assert (str(error), error.code, error.retryable) == ("what, where, next", code, True)
    assert (error.retry_after, error.status) == (7.0, ERRORS[code].http)


def test_the_bodys_time_to_wait_is_finer_than_the_headers() -> None:
    body = {"error": {"code": "overloaded", "message": "", "retry_after_seconds": 0.25}}
    assert error_of(body, 429, "1").retry_after == 0.25
    # A date, which HTTP allows too, is no number of seconds.
    body = {"error": {"code": "overloaded", "message": ""}}
    assert error_of(body, 429, "Wed, 21 Oct 2026 07:28:00 GMT").retry_after is None


def test_a_code_of_a_newer_platform_is_still_an_error_with_its_message() -> None:
    error = error_of({"error": {"code": "brand_new", "message": "m"}}, 418)
    assert (type(error), str(error), error.status) == (errors.InternalError, "m", 418)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (502, errors.UnavailableError),
        (504, errors.DeadlineExceededError),
        (429, errors.OverloadedError),
        (200, errors.InternalError),
    ],
)
def test_an_answer_of_something_else_says_to_check_the_address(
    status: int, kind: type[errors.MartletError]
) -> None:
    for body in (None, [], {"error": "text"}, {"detail": 1}):
        error = error_of(body, status, text="<html>proxy</html>")
        assert type(error) is kind
        assert "check the address" in str(error) and "<html>proxy" in str(error)


def test_exceptions_are_also_what_python_programs_expect() -> None:
    assert issubclass(martlet.NotFoundError, LookupError)
    assert issubclass(martlet.InvalidArgumentError, ValueError)
    assert issubclass(martlet.DeadlineExceededError, TimeoutError)
    assert issubclass(martlet.UnavailableError, ConnectionError)


# MARK: where the platform is


def test_the_address_given_wins_then_the_environment_then_the_default(tmp_path: Path) -> None:
    named = {"MARTLET_ADDRESS": "https://features.example/"}
    assert find_address("other:81", named, tmp_path) == "http://other:81"
    assert find_address(None, named, tmp_path) == "https://features.example"
    assert find_address(None, {}, tmp_path) == DEFAULT_ADDRESS


def test_a_platform_of_the_folder_is_found_unless_its_process_is_gone(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    found = {"MARTLET_DATA_DIRECTORY": "data"}
    for pid, expected in ((1, "http://127.0.0.1:7"), (ended.pid, DEFAULT_ADDRESS)):
        (data / "martlet.json").write_text(f'{{"http": "http://127.0.0.1:7", "pid": {pid}}}')
        assert find_address(None, found, tmp_path) == expected
    (data / "martlet.json").write_text("not json")
    assert find_address(None, found, tmp_path) == DEFAULT_ADDRESS


@pytest.mark.parametrize("address", ["ftp://host", "http://", "http://host:port", "host:99999"])
def test_what_is_no_address_is_refused_at_once(address: str) -> None:
    with pytest.raises(martlet.InvalidArgumentError, match="is not an address"):
        martlet.Client(address)


def test_the_token_comes_from_the_argument_the_environment_or_a_file(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("of the file\n")
    file = {"MARTLET_SERVER_TOKEN_FILE": str(path)}
    both = file | {"MARTLET_SERVER_TOKEN": "of the environment"}
    assert find_token("given", both) == "given"
    assert find_token(None, both) == "of the environment"
    assert find_token(None, file) == "of the file"
    assert find_token(None, {}) is None
    with pytest.raises(martlet.InvalidArgumentError, match="cannot be read"):
        find_token(None, {"MARTLET_SERVER_TOKEN_FILE": str(tmp_path / "none")})
    with pytest.raises(martlet.InvalidArgumentError, match="line ends") as caught:
        martlet.Client(token="secret\nx")
    assert "secret" not in str(caught.value)
