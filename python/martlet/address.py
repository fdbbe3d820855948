"""Where the platform is, and what to show it."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from martlet.errors import InvalidArgumentError

DEFAULT_ADDRESS = "http://127.0.0.1:8080"


def find_address(
    given: str | None, environment: Mapping[str, str] = os.environ, folder: Path | None = None
) -> str:
    """The address to call, without a slash at its end.

    What is given; else `MARTLET_ADDRESS`; else the platform that runs on the data directory of
    this folder, as the command line finds it; else port 8080 of this machine.
    """
    named = given or environment.get("MARTLET_ADDRESS")
    if named:
        return _checked(named)
    data = Path(environment.get("MARTLET_DATA_DIRECTORY") or "martlet-data")
    return _running((folder or Path.cwd()) / data / "martlet.json") or DEFAULT_ADDRESS


def find_token(given: str | None, environment: Mapping[str, str] = os.environ) -> str | None:
    """The token given, else `MARTLET_SERVER_TOKEN`, else what `MARTLET_SERVER_TOKEN_FILE` holds."""
    if given:
        return given
    if token := environment.get("MARTLET_SERVER_TOKEN"):
        return token
    if path := environment.get("MARTLET_SERVER_TOKEN_FILE"):
        try:
            return Path(path).read_text(encoding="utf-8").strip()
        except OSError as error:
            raise InvalidArgumentError(
                f"MARTLET_SERVER_TOKEN_FILE names {path}, which cannot be read "
                f"({error.strerror}); correct or unset it"
            ) from error
    return None


def _checked(address: str) -> str:
    text = address if "://" in address else f"http://{address}"
    try:
        parts = urlsplit(text)
        usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:  # a port that is no number
        usable = False
    if not usable:
        raise InvalidArgumentError(
            f"'{address}' is not an address of a platform; write it like {DEFAULT_ADDRESS}"
        )
    return text.rstrip("/")


def _running(path: Path) -> str | None:
    """The address in `martlet.json`, None where it is not there or a killed process left it."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        address, pid = str(found["http"]), int(found["pid"])
        os.kill(pid, 0)
    except PermissionError:
        return address
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return address
