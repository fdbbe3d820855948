from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class TaskKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    TASK_KIND_UNSPECIFIED: _ClassVar[TaskKind]
    TASK_KIND_LOAD_MODEL: _ClassVar[TaskKind]
    TASK_KIND_PREDICT: _ClassVar[TaskKind]
    TASK_KIND_TRAIN: _ClassVar[TaskKind]
    TASK_KIND_TRANSFORM: _ClassVar[TaskKind]
    TASK_KIND_UNLOAD: _ClassVar[TaskKind]
TASK_KIND_UNSPECIFIED: TaskKind
TASK_KIND_LOAD_MODEL: TaskKind
TASK_KIND_PREDICT: TaskKind
TASK_KIND_TRAIN: TaskKind
TASK_KIND_TRANSFORM: TaskKind
TASK_KIND_UNLOAD: TaskKind

class Frame(_message.Message):
    __slots__ = ("hello", "welcome", "task", "result", "fault", "heartbeat", "log", "drain")
    HELLO_FIELD_NUMBER: _ClassVar[int]
    WELCOME_FIELD_NUMBER: _ClassVar[int]
    TASK_FIELD_NUMBER: _ClassVar[int]
    RESULT_FIELD_NUMBER: _ClassVar[int]
    FAULT_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_FIELD_NUMBER: _ClassVar[int]
    LOG_FIELD_NUMBER: _ClassVar[int]
    DRAIN_FIELD_NUMBER: _ClassVar[int]
    hello: Hello
    welcome: Welcome
    task: Task
    result: Result
    fault: Fault
    heartbeat: Heartbeat
    log: Log
    drain: Drain
    def __init__(self, hello: _Optional[_Union[Hello, _Mapping]] = ..., welcome: _Optional[_Union[Welcome, _Mapping]] = ..., task: _Optional[_Union[Task, _Mapping]] = ..., result: _Optional[_Union[Result, _Mapping]] = ..., fault: _Optional[_Union[Fault, _Mapping]] = ..., heartbeat: _Optional[_Union[Heartbeat, _Mapping]] = ..., log: _Optional[_Union[Log, _Mapping]] = ..., drain: _Optional[_Union[Drain, _Mapping]] = ...) -> None: ...

class Hello(_message.Message):
    __slots__ = ("protocol_version", "worker_id", "incarnation", "token", "pid", "python_version", "libraries", "kinds", "memory_bytes", "name")
    class LibrariesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    PROTOCOL_VERSION_FIELD_NUMBER: _ClassVar[int]
    WORKER_ID_FIELD_NUMBER: _ClassVar[int]
    INCARNATION_FIELD_NUMBER: _ClassVar[int]
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    PID_FIELD_NUMBER: _ClassVar[int]
    PYTHON_VERSION_FIELD_NUMBER: _ClassVar[int]
    LIBRARIES_FIELD_NUMBER: _ClassVar[int]
    KINDS_FIELD_NUMBER: _ClassVar[int]
    MEMORY_BYTES_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    protocol_version: int
    worker_id: str
    incarnation: int
    token: str
    pid: int
    python_version: str
    libraries: _containers.ScalarMap[str, str]
    kinds: _containers.RepeatedScalarFieldContainer[TaskKind]
    memory_bytes: int
    name: str
    def __init__(self, protocol_version: _Optional[int] = ..., worker_id: _Optional[str] = ..., incarnation: _Optional[int] = ..., token: _Optional[str] = ..., pid: _Optional[int] = ..., python_version: _Optional[str] = ..., libraries: _Optional[_Mapping[str, str]] = ..., kinds: _Optional[_Iterable[_Union[TaskKind, str]]] = ..., memory_bytes: _Optional[int] = ..., name: _Optional[str] = ...) -> None: ...

class Welcome(_message.Message):
    __slots__ = ("heartbeat_interval_ms", "max_frame_bytes")
    HEARTBEAT_INTERVAL_MS_FIELD_NUMBER: _ClassVar[int]
    MAX_FRAME_BYTES_FIELD_NUMBER: _ClassVar[int]
    heartbeat_interval_ms: int
    max_frame_bytes: int
    def __init__(self, heartbeat_interval_ms: _Optional[int] = ..., max_frame_bytes: _Optional[int] = ...) -> None: ...

class Task(_message.Message):
    __slots__ = ("id", "timeout_ms", "load_model", "predict", "train", "transform", "unload")
    ID_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_MS_FIELD_NUMBER: _ClassVar[int]
    LOAD_MODEL_FIELD_NUMBER: _ClassVar[int]
    PREDICT_FIELD_NUMBER: _ClassVar[int]
    TRAIN_FIELD_NUMBER: _ClassVar[int]
    TRANSFORM_FIELD_NUMBER: _ClassVar[int]
    UNLOAD_FIELD_NUMBER: _ClassVar[int]
    id: str
    timeout_ms: int
    load_model: LoadModel
    predict: Predict
    train: Train
    transform: Transform
    unload: Unload
    def __init__(self, id: _Optional[str] = ..., timeout_ms: _Optional[int] = ..., load_model: _Optional[_Union[LoadModel, _Mapping]] = ..., predict: _Optional[_Union[Predict, _Mapping]] = ..., train: _Optional[_Union[Train, _Mapping]] = ..., transform: _Optional[_Union[Transform, _Mapping]] = ..., unload: _Optional[_Union[Unload, _Mapping]] = ...) -> None: ...

class LoadModel(_message.Message):
    __slots__ = ("model", "version", "artifact_path", "sha256", "format", "features", "library_versions", "artifact")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    ARTIFACT_PATH_FIELD_NUMBER: _ClassVar[int]
    SHA256_FIELD_NUMBER: _ClassVar[int]
    FORMAT_FIELD_NUMBER: _ClassVar[int]
    FEATURES_FIELD_NUMBER: _ClassVar[int]
    LIBRARY_VERSIONS_FIELD_NUMBER: _ClassVar[int]
    ARTIFACT_FIELD_NUMBER: _ClassVar[int]
    model: str
    version: int
    artifact_path: str
    sha256: str
    format: str
    features: _containers.RepeatedScalarFieldContainer[str]
    library_versions: str
    artifact: bytes
    def __init__(self, model: _Optional[str] = ..., version: _Optional[int] = ..., artifact_path: _Optional[str] = ..., sha256: _Optional[str] = ..., format: _Optional[str] = ..., features: _Optional[_Iterable[str]] = ..., library_versions: _Optional[str] = ..., artifact: _Optional[bytes] = ...) -> None: ...

class Predict(_message.Message):
    __slots__ = ("model", "version", "rows")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    model: str
    version: int
    rows: Columns
    def __init__(self, model: _Optional[str] = ..., version: _Optional[int] = ..., rows: _Optional[_Union[Columns, _Mapping]] = ...) -> None: ...

class Train(_message.Message):
    __slots__ = ("run_path", "function", "working_directory", "dataset_path", "features", "label", "options_json", "output_directory", "evaluation_from")
    RUN_PATH_FIELD_NUMBER: _ClassVar[int]
    FUNCTION_FIELD_NUMBER: _ClassVar[int]
    WORKING_DIRECTORY_FIELD_NUMBER: _ClassVar[int]
    DATASET_PATH_FIELD_NUMBER: _ClassVar[int]
    FEATURES_FIELD_NUMBER: _ClassVar[int]
    LABEL_FIELD_NUMBER: _ClassVar[int]
    OPTIONS_JSON_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_DIRECTORY_FIELD_NUMBER: _ClassVar[int]
    EVALUATION_FROM_FIELD_NUMBER: _ClassVar[int]
    run_path: str
    function: str
    working_directory: str
    dataset_path: str
    features: _containers.RepeatedScalarFieldContainer[str]
    label: str
    options_json: str
    output_directory: str
    evaluation_from: int
    def __init__(self, run_path: _Optional[str] = ..., function: _Optional[str] = ..., working_directory: _Optional[str] = ..., dataset_path: _Optional[str] = ..., features: _Optional[_Iterable[str]] = ..., label: _Optional[str] = ..., options_json: _Optional[str] = ..., output_directory: _Optional[str] = ..., evaluation_from: _Optional[int] = ...) -> None: ...

class Transform(_message.Message):
    __slots__ = ("code_path", "function", "rows", "requirements", "explain")
    CODE_PATH_FIELD_NUMBER: _ClassVar[int]
    FUNCTION_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    REQUIREMENTS_FIELD_NUMBER: _ClassVar[int]
    EXPLAIN_FIELD_NUMBER: _ClassVar[int]
    code_path: str
    function: str
    rows: Columns
    requirements: str
    explain: bool
    def __init__(self, code_path: _Optional[str] = ..., function: _Optional[str] = ..., rows: _Optional[_Union[Columns, _Mapping]] = ..., requirements: _Optional[str] = ..., explain: _Optional[bool] = ...) -> None: ...

class Unload(_message.Message):
    __slots__ = ("model", "version")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    model: str
    version: int
    def __init__(self, model: _Optional[str] = ..., version: _Optional[int] = ...) -> None: ...

class Result(_message.Message):
    __slots__ = ("task_id", "loaded", "predicted", "trained", "transformed", "unloaded", "compute_us")
    TASK_ID_FIELD_NUMBER: _ClassVar[int]
    LOADED_FIELD_NUMBER: _ClassVar[int]
    PREDICTED_FIELD_NUMBER: _ClassVar[int]
    TRAINED_FIELD_NUMBER: _ClassVar[int]
    TRANSFORMED_FIELD_NUMBER: _ClassVar[int]
    UNLOADED_FIELD_NUMBER: _ClassVar[int]
    COMPUTE_US_FIELD_NUMBER: _ClassVar[int]
    task_id: str
    loaded: Loaded
    predicted: Predicted
    trained: Trained
    transformed: Transformed
    unloaded: Unloaded
    compute_us: int
    def __init__(self, task_id: _Optional[str] = ..., loaded: _Optional[_Union[Loaded, _Mapping]] = ..., predicted: _Optional[_Union[Predicted, _Mapping]] = ..., trained: _Optional[_Union[Trained, _Mapping]] = ..., transformed: _Optional[_Union[Transformed, _Mapping]] = ..., unloaded: _Optional[_Union[Unloaded, _Mapping]] = ..., compute_us: _Optional[int] = ...) -> None: ...

class Loaded(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Unloaded(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Predicted(_message.Message):
    __slots__ = ("predictions",)
    PREDICTIONS_FIELD_NUMBER: _ClassVar[int]
    predictions: Columns
    def __init__(self, predictions: _Optional[_Union[Columns, _Mapping]] = ...) -> None: ...

class Trained(_message.Message):
    __slots__ = ("artifact_path", "format", "sha256", "evaluation_predictions", "training_predictions", "metrics", "libraries")
    class MetricsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    class LibrariesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    ARTIFACT_PATH_FIELD_NUMBER: _ClassVar[int]
    FORMAT_FIELD_NUMBER: _ClassVar[int]
    SHA256_FIELD_NUMBER: _ClassVar[int]
    EVALUATION_PREDICTIONS_FIELD_NUMBER: _ClassVar[int]
    TRAINING_PREDICTIONS_FIELD_NUMBER: _ClassVar[int]
    METRICS_FIELD_NUMBER: _ClassVar[int]
    LIBRARIES_FIELD_NUMBER: _ClassVar[int]
    artifact_path: str
    format: str
    sha256: str
    evaluation_predictions: Columns
    training_predictions: Columns
    metrics: _containers.ScalarMap[str, float]
    libraries: _containers.ScalarMap[str, str]
    def __init__(self, artifact_path: _Optional[str] = ..., format: _Optional[str] = ..., sha256: _Optional[str] = ..., evaluation_predictions: _Optional[_Union[Columns, _Mapping]] = ..., training_predictions: _Optional[_Union[Columns, _Mapping]] = ..., metrics: _Optional[_Mapping[str, float]] = ..., libraries: _Optional[_Mapping[str, str]] = ...) -> None: ...

class Transformed(_message.Message):
    __slots__ = ("rows", "row_errors")
    ROWS_FIELD_NUMBER: _ClassVar[int]
    ROW_ERRORS_FIELD_NUMBER: _ClassVar[int]
    rows: Columns
    row_errors: _containers.RepeatedCompositeFieldContainer[RowError]
    def __init__(self, rows: _Optional[_Union[Columns, _Mapping]] = ..., row_errors: _Optional[_Iterable[_Union[RowError, _Mapping]]] = ...) -> None: ...

class RowError(_message.Message):
    __slots__ = ("row", "message", "traceback")
    ROW_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    TRACEBACK_FIELD_NUMBER: _ClassVar[int]
    row: int
    message: str
    traceback: str
    def __init__(self, row: _Optional[int] = ..., message: _Optional[str] = ..., traceback: _Optional[str] = ...) -> None: ...

class Fault(_message.Message):
    __slots__ = ("task_id", "kind", "message", "traceback_last_line", "traceback")
    class Kind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        KIND_UNSPECIFIED: _ClassVar[Fault.Kind]
        USER_ERROR: _ClassVar[Fault.Kind]
        BAD_OUTPUT: _ClassVar[Fault.Kind]
        NOT_LOADED: _ClassVar[Fault.Kind]
        LIBRARY_MISSING: _ClassVar[Fault.Kind]
        DEADLINE: _ClassVar[Fault.Kind]
        INTERNAL: _ClassVar[Fault.Kind]
    KIND_UNSPECIFIED: Fault.Kind
    USER_ERROR: Fault.Kind
    BAD_OUTPUT: Fault.Kind
    NOT_LOADED: Fault.Kind
    LIBRARY_MISSING: Fault.Kind
    DEADLINE: Fault.Kind
    INTERNAL: Fault.Kind
    TASK_ID_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    TRACEBACK_LAST_LINE_FIELD_NUMBER: _ClassVar[int]
    TRACEBACK_FIELD_NUMBER: _ClassVar[int]
    task_id: str
    kind: Fault.Kind
    message: str
    traceback_last_line: str
    traceback: str
    def __init__(self, task_id: _Optional[str] = ..., kind: _Optional[_Union[Fault.Kind, str]] = ..., message: _Optional[str] = ..., traceback_last_line: _Optional[str] = ..., traceback: _Optional[str] = ...) -> None: ...

class Heartbeat(_message.Message):
    __slots__ = ("incarnation", "rss_bytes", "busy_task_id", "sequence")
    INCARNATION_FIELD_NUMBER: _ClassVar[int]
    RSS_BYTES_FIELD_NUMBER: _ClassVar[int]
    BUSY_TASK_ID_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    incarnation: int
    rss_bytes: int
    busy_task_id: str
    sequence: int
    def __init__(self, incarnation: _Optional[int] = ..., rss_bytes: _Optional[int] = ..., busy_task_id: _Optional[str] = ..., sequence: _Optional[int] = ...) -> None: ...

class Log(_message.Message):
    __slots__ = ("level", "logger", "message", "task_id")
    class Level(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        LEVEL_UNSPECIFIED: _ClassVar[Log.Level]
        DEBUG: _ClassVar[Log.Level]
        INFO: _ClassVar[Log.Level]
        WARNING: _ClassVar[Log.Level]
        ERROR: _ClassVar[Log.Level]
    LEVEL_UNSPECIFIED: Log.Level
    DEBUG: Log.Level
    INFO: Log.Level
    WARNING: Log.Level
    ERROR: Log.Level
    LEVEL_FIELD_NUMBER: _ClassVar[int]
    LOGGER_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    TASK_ID_FIELD_NUMBER: _ClassVar[int]
    level: Log.Level
    logger: str
    message: str
    task_id: str
    def __init__(self, level: _Optional[_Union[Log.Level, str]] = ..., logger: _Optional[str] = ..., message: _Optional[str] = ..., task_id: _Optional[str] = ...) -> None: ...

class Drain(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Columns(_message.Message):
    __slots__ = ("rows", "columns")
    ROWS_FIELD_NUMBER: _ClassVar[int]
    COLUMNS_FIELD_NUMBER: _ClassVar[int]
    rows: int
    columns: _containers.RepeatedCompositeFieldContainer[Column]
    def __init__(self, rows: _Optional[int] = ..., columns: _Optional[_Iterable[_Union[Column, _Mapping]]] = ...) -> None: ...

class Column(_message.Message):
    __slots__ = ("name", "type", "values", "validity", "offsets", "length")
    class Type(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        TYPE_UNSPECIFIED: _ClassVar[Column.Type]
        BOOL: _ClassVar[Column.Type]
        INT64: _ClassVar[Column.Type]
        DOUBLE: _ClassVar[Column.Type]
        STRING: _ClassVar[Column.Type]
        TIMESTAMP: _ClassVar[Column.Type]
    TYPE_UNSPECIFIED: Column.Type
    BOOL: Column.Type
    INT64: Column.Type
    DOUBLE: Column.Type
    STRING: Column.Type
    TIMESTAMP: Column.Type
    NAME_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    VALUES_FIELD_NUMBER: _ClassVar[int]
    VALIDITY_FIELD_NUMBER: _ClassVar[int]
    OFFSETS_FIELD_NUMBER: _ClassVar[int]
    LENGTH_FIELD_NUMBER: _ClassVar[int]
    name: str
    type: Column.Type
    values: bytes
    validity: bytes
    offsets: bytes
    length: int
    def __init__(self, name: _Optional[str] = ..., type: _Optional[_Union[Column.Type, str]] = ..., values: _Optional[bytes] = ..., validity: _Optional[bytes] = ..., offsets: _Optional[bytes] = ..., length: _Optional[int] = ...) -> None: ...
