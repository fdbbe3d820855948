"""The runtime of a Martlet worker: one process that dials the platform and runs its tasks."""

PROTOCOL_VERSION = 1
