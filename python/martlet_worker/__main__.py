"""`python -m martlet_worker --socket PATH --worker-id ID`, as the platform starts it.

On another machine: `python -m martlet_worker --connect HOST:PORT --authority FILE --name NAME`.
"""

from __future__ import annotations

import argparse
import os
import socket
import sys

from martlet_worker.connection import Connection
from martlet_worker.remote import RemoteConnection
from martlet_worker.runtime import ALL_KINDS, REMOTE_KINDS, Worker

EXIT_UNREACHABLE = 2


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="martlet_worker",
        description="Runs one Martlet worker. The platform starts those on its own machine; "
        "on another one, --connect serves models for it.",
    )
    carrier = parser.add_mutually_exclusive_group(required=True)
    carrier.add_argument("--socket", help="the platform's Unix socket")
    carrier.add_argument(
        "--connect", metavar="HOST:PORT", help="the platform's workers.remote_address, over TLS"
    )
    parser.add_argument(
        "--authority",
        metavar="FILE",
        help="PEM file of who signed the platform's certificate; without it whom the system trusts",
    )
    parser.add_argument(
        "--name", default=socket.gethostname(), help="what status pages call it (%(default)s)"
    )
    parser.add_argument(
        "--token-env",
        default="MARTLET_WORKER_TOKEN",
        help="the environment variable that holds the token (default: %(default)s)",
    )
    parser.add_argument("--worker-id", default="", help="the id the platform gave this worker")
    arguments = parser.parse_args()
    # User code must not inherit the token, and must not litter the user's folder.
    token = os.environ.pop(arguments.token_env, "")
    sys.dont_write_bytecode = True
    if not token:
        sys.stderr.write(f"the environment variable {arguments.token_env} is not set\n")
        return EXIT_UNREACHABLE
    address = arguments.socket or arguments.connect
    try:
        if arguments.socket is not None:
            connection = Connection.dial(arguments.socket)
        else:
            connection = RemoteConnection(arguments.connect, arguments.authority)
    except OSError as error:
        reason = error.strerror or error
        sys.stderr.write(f"cannot reach the platform at {address}: {reason}\n")
        return EXIT_UNREACHABLE
    if arguments.socket is not None:
        Worker(connection, arguments.worker_id, token, ALL_KINDS).run()
    Worker(connection, "", token, REMOTE_KINDS, arguments.name).run()


if __name__ == "__main__":
    sys.exit(main())
