"""The bounds of everything a worker holds or sends."""

KIBIBYTE = 1024
MEBIBYTE = 1024 * KIBIBYTE

# Before Welcome says otherwise.
INITIAL_FRAME_BYTES = 1 * MEBIBYTE
LOG_MESSAGE_BYTES = 16 * KIBIBYTE
TRACEBACK_BYTES = 64 * KIBIBYTE
# Of the user's source files, together, in one artifact.
ARTIFACT_CODE_BYTES = 16 * MEBIBYTE
DATASET_CHUNK_ROWS = 65_536
# Below this one write of header and payload together beats two.
COALESCED_WRITE_BYTES = 64 * KIBIBYTE
# A worker whose interpreter gives no other thread a turn for so long ends itself: it could not
# notice that the platform is gone. The platform itself loses patience much earlier.
HANG_SECONDS = 60.0
# Of one frame over gRPC: artifacts travel in one.
REMOTE_FRAME_BYTES = 256 * MEBIBYTE
# Frames that wait to be sent over gRPC before their senders wait, too.
REMOTE_WAITING_FRAMES = 64
