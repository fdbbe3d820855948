"""`python -m martlet_worker --socket PATH --token-env NAME --worker-id ID`."""

from __future__ import annotations

import argparse
import os
import sys

from martlet_worker.connection import Connection
from martlet_worker.runtime import Worker

EXIT_UNREACHABLE = 2


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="martlet_worker",
        description="Runs one Martlet worker; the platform starts it.",
    )
    parser.add_argument("--socket", required=True, help="the platform's Unix socket")
    parser.add_argument(
        "--token-env",
        default="MARTLET_WORKER_TOKEN",
        help="the environment variable that holds the token (default: %(default)s)",
    )
    parser.add_argument("--worker-id", required=True, help="the id the platform gave this worker")
    arguments = parser.parse_args()
    # User code must not inherit the token, and must not litter the user's folder.
    token = os.environ.pop(arguments.token_env, "")
    sys.dont_write_bytecode = True
    if not token:
        sys.stderr.write(f"the environment variable {arguments.token_env} is not set\n")
        return EXIT_UNREACHABLE
    try:
        connection = Connection.dial(arguments.socket)
    except OSError as error:
        sys.stderr.write(f"cannot reach the platform at {arguments.socket}: {error.strerror}\n")
        return EXIT_UNREACHABLE
    Worker(connection, arguments.worker_id, token).run()


if __name__ == "__main__":
    sys.exit(main())
