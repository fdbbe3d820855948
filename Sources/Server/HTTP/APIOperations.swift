/// Every call of the REST API, one a line: `METHOD /path | what it does | query | body | answer`; see `APIType` for how types are written.
enum APIOperations {
  static let text = """
    GET /health/live | Whether the process lives. | | | {live: bool}
    GET /health/ready | Whether the platform serves. | | | {ready: bool, reason: string?}
    GET /openapi.json | This document. | | | any
    GET /api/openapi.json | The same. | | | any
    GET /metrics | Everything that is counted, in Prometheus' text format. | | | 'text/plain'
    GET /ping | Whether everything in production is loaded; 503 where it is not. | | | 'text/plain'
    POST /invocations | Predictions by the scoring contract of MLflow and SageMaker. | | {dataframe_split?: any, dataframe_records?: any{}[], instances?: any, inputs?: any} or 'text/csv' | {predictions: number[]} or 'text/csv'
    GET /v2 | What this server offers of the Open Inference Protocol. | | | {name: string, version: string, extensions: string[]}
    GET /v2/health/live | Whether the process lives. | | | {live: bool}
    GET /v2/health/ready | Whether everything in production is loaded; 503 where it is not. | | | {ready: bool}
    GET /v2/models/stats | Statistics of all models. | | | {model_stats: InferenceStatistics[]}
    GET /v2/models/{model} | The tensors that a model takes and gives. | | | InferenceModel
    GET /v2/models/{model}/ready | Whether a model answers without being loaded first; 503 where it does not. | | | {name: string, ready: bool}
    GET /v2/models/{model}/config | The same as Triton's configuration of a model. | | | any
    GET /v2/models/{model}/stats | How often a model was asked since the start, and how long it took. | | | {model_stats: InferenceStatistics[]}
    POST /v2/models/{model}/infer | Predictions for tensors of features, keys or inputs, or for entities that the parameters name. | | any or 'application/octet-stream' | Inference or 'application/octet-stream'
    GET /v2/models/{model}/versions/{version} | The tensors that a version takes and gives. | | | InferenceModel
    GET /v2/models/{model}/versions/{version}/ready | Whether a version answers without being loaded first; 503 where it does not. | | | {name: string, ready: bool}
    GET /v2/models/{model}/versions/{version}/config | The same as Triton's configuration of a model. | | | any
    GET /v2/models/{model}/versions/{version}/stats | How often a version was asked since the start, and how long it took. | | | {model_stats: InferenceStatistics[]}
    POST /v2/models/{model}/versions/{version}/infer | Predictions for tensors of features, keys or inputs, or for entities that the parameters name. | | any or 'application/octet-stream' | Inference or 'application/octet-stream'
    POST /v2/repository/index | Every version and whether it answers. | | {ready?: bool} | InferenceVersion[]
    POST /v2/repository/models/{model}/load | Takes a model into service again; answers once it is loaded. | | any | any
    POST /v2/repository/models/{model}/unload | Takes a model out of service in this process. | | any | any
    GET /api/v1/status | What runs and how it is. | | | Status
    POST /api/v1/clock | Moves a simulated clock, never back. | | {now: time} | {now: time}
    POST /api/v1/definitions/plan | What applying definitions would change. | | {yaml: string, directory?: string} | {text: string, empty: bool, plan: Plan}
    POST /api/v1/definitions/apply | Puts definitions in force, atomically. | | {yaml: string, directory?: string, author?: string} | {text: string, version: int, digest: string}
    GET /api/v1/definitions | The definitions in force. | | | {version: int, digest: string, project: any}
    POST /api/v1/sources/{source}/events | Stores events; they can be read when it answers. | client?: string, sequence?: int, wait?: string, timeout_ms?: int | any or 'application/x-ndjson' | PushReceipt
    POST /api/v1/sources/{source}/files | Stores a file of events (csv, parquet, jsonl) once. | name: string, format?: string, strict?: bool | 'application/octet-stream' | FileReport or 'application/x-ndjson'
    POST /api/v1/sources/{source}/test-transform | Runs the source's transform on a sample; stores nothing. | rows?: int, name?: string, format?: string | 'application/octet-stream'? | TransformTrial
    GET /api/v1/quarantine | Records that became no events, newest first. | source?: string, reason?: string, since?: string, status?: string, limit?: int | | {records: QuarantinedRecord[]}
    GET /api/v1/quarantine/export | The same as JSON lines, oldest first, without a limit. | source?: string, reason?: string, since?: string, status?: string | | 'application/x-ndjson'
    GET /api/v1/quarantine/{id} | One record, whole. | | | QuarantinedRecord
    POST /api/v1/quarantine/replay | Sends records through ingest again, corrected. | | {ids?: int[], source?: string, reason?: string, since?: string, set?: any{}, records?: {id: int, record: any}[]} | ReplayReport
    POST /api/v1/quarantine/discard | Gives records up. | | {ids?: int[], source?: string, reason?: string, since?: string} | {discarded: int}
    DELETE /api/v1/entities/{entity}/keys | Removes an entity key from every store. | | {key: any, without_absent?: bool} | ErasureReceipt
    GET /api/v1/erasures | Receipts of erasures, newest first. | limit?: int | | {erasures: ErasureReceipt[]}
    GET /api/v1/features | Every feature in force. | | | {features: Feature[]}
    POST /api/v1/features/online | Features of entity keys as of now: by names, or those that a model reads. | | {features?: string[], feature_set?: string, entities: any{}[]} | OnlineFeatures
    GET /api/v1/features/sets | The features that each model reads, under its name. | | | {sets: FeatureSet[]}
    GET /api/v1/features/freshness | How new the newest event of each view is. | views?: string | | {time: time, views: Freshness[]}
    POST /api/v1/features/rebuild | Compares the online state with the warehouse and puts it right. | | {views?: string[], verify?: bool, limit?: int} | {views: RebuildReport[]}
    POST /api/v1/features/history | Features as of each row's own time, joined to a spine (csv, parquet, or sql). | features: string, time?: string, mode?: string, spine_format?: string, spine_name?: string, format?: string, definitions?: int | 'application/octet-stream' | 'text/csv' or 'application/vnd.apache.parquet'
    POST /api/v1/features/verify | Compares served values with what they should have been. | | {model?: string, window?: string, sample?: int, threshold?: number, live?: bool, views?: string[]} | Verification
    POST /api/v1/views/{view}/backfill | Computes the online state of a view anew, as a job. | | {reason?: string, rows_per_second?: int, from?: time, to?: time} | Job
    POST /api/v1/sources/{source}/backfill | Computes what a source's transform made of stored events anew, and then its views, as a job. | | {reason?: string, rows_per_second?: int, from?: time, to?: time} | Job
    GET /api/v1/datasets | The newest saved training sets. | limit?: int | | {datasets: Dataset[]}
    POST /api/v1/datasets | Saves a training set: of a model, or of features joined to a spine. | name: string, model?: string, features?: string, time?: string, mode?: string, as_of?: time, spine_format?: string, spine_name?: string, definitions?: int | 'application/octet-stream'? | Dataset
    GET /api/v1/datasets/{name} | One saved set, by id or name. | | | Dataset
    GET /api/v1/datasets/{name}/file | Its rows. | format?: string | | 'application/vnd.apache.parquet' or 'text/csv'
    POST /api/v1/datasets/{name}/verify | Computes it again and compares. | | | {id: string, reproduced: bool, same_file: bool, row_hash: string, recomputed_hash: string?, note: string}
    GET /api/v1/models | The models in force with their versions. | | | {models: Model[]}
    GET /api/v1/models/{model} | One model with its versions. | | | Model
    GET /api/v1/models/{model}/versions/{version} | One version. | | | ModelVersion
    POST /api/v1/models/{model}/versions/{version}/promote | Makes a version production. | | {who?: string, why?: string} | ModelVersion
    POST /api/v1/models/{model}/versions/{version}/archive | Takes a version out of use. | | {who?: string, why?: string} | ModelVersion
    POST /api/v1/models/{model}/versions/{version}/sign | Signs a version as the registry has it. | | {who?: string, why?: string} | ModelVersion
    POST /api/v1/models/{model}/predict | A prediction for each row of key columns and inputs. | | {rows?: any{}[], entities?: any{}, inputs?: any{}, version?: int, request_id?: string, timeout_ms?: int, priority?: string} | Predictions
    POST /api/v1/models/{model}/versions/{version}/stage | Moves a version to a stage, with what has to make room. | | {stage: string, who?: string, why?: string} | RegisteredVersion
    GET /api/v1/models/{model}/transitions | Every change of stages and aliases, oldest first. | | | {transitions: Transition[]}
    PUT /api/v1/models/{model}/aliases/{alias} | Lets an alias name a version; the alias of deployment promotes it. | | {version: int, who?: string, why?: string} | RegisteredVersion
    DELETE /api/v1/models/{model}/aliases/{alias} | Takes an alias away. | | {who?: string, why?: string} | RegisteredModel
    PATCH /api/v1/models/{model}/tags | Sets tags of a model; null takes one away. | | string?{} | RegisteredModel
    PATCH /api/v1/models/{model}/versions/{version}/tags | The same of a version. | | string?{} | RegisteredVersion
    GET /api/v1/registry/models | Every registered model, also those that no definition serves. | | | {models: RegisteredModel[]}
    GET /api/v1/registry/models/{model} | One of them. | | | RegisteredModel
    POST /api/v1/models/{model}/versions/{version}/canary | Gives a version a share of the keys. | | {share?: any, who?: string, why?: string} | ModelVersion
    POST /api/v1/models/{model}/versions/{version}/shadow | Has a version see what is asked and answer nobody. | | {who?: string, why?: string} | ModelVersion
    POST /api/v1/models/{model}/rollback | Ends the canary, or brings the version back that was in production before. | | {who?: string, why?: string} | ModelVersion
    GET /api/v1/models/{model}/rollout | The canary, and what was decided by which evidence. | | | Rollout
    GET /api/v1/models/{model}/latency | What predictions took in the last minute, five minutes and hour, and the slowest of them. | | | Latencies
    POST /api/v1/models/{model}/labels | What came of predictions, by the ids of their requests. | | {labels: {request_id: string, label: any}[]} | {stored: int}
    POST /api/v1/models/{model}/explain | The same prediction with what it was made of: why each row went its way, and what the model was given. | | {rows?: any{}[], entities?: any{}, inputs?: any{}, version?: int, request_id?: string, timeout_ms?: int, priority?: string} | Explanations
    POST /api/v1/models/{model}/train | Trains a version, as a job. | | {as_of?: time, promote?: bool, reason?: string, idempotency_key?: string} | Job
    POST /api/v1/models/{model}/drift | Live inputs against the training set. | window?: string | | DriftReport
    GET /api/v1/jobs | The newest jobs. | limit?: int | | {jobs: Job[]}
    GET /api/v1/jobs/{id} | One job; with wait=true once its progress differs from what was seen. | wait?: bool, seen?: string | | Job
    GET /api/v1/jobs/{id}/logs | What a job's code printed, and what the job said of itself. | limit?: int | | {lines: {number: int, time: time, attempt: int, level: string, logger: string, message: string}[]}
    POST /api/v1/jobs/{id}/cancel | Ends a job that waits or runs. | | | Job
    POST /api/v1/jobs/{id}/retry | Runs a job again that failed or was cancelled. | | | Job
    GET /api/v1/lineage/{name} | What something was made from and what uses it. | direction?: string, format?: string | | Lineage or 'text/plain' or 'text/vnd.graphviz'
    POST /api/v1/sql | A read-only query: at most 10,000 rows as JSON, all of them as a file. | format?: string | {sql: string} | {columns: string[], rows: any[][], truncated: bool} or 'application/vnd.apache.parquet' or 'text/csv'
    POST /api/v1/backups | Copies everything, at one instant, to a folder of the data directory. | | {name: string} | {folder: string, files: int, bytes: int}
    """
}

/// What the calls send and answer, one schema a line.
enum APISchemas {
  static let text = """
    Error {error: {code: string, message: string, retryable: bool, retry_after_seconds?: number}}
    Reason {reason: string, count: int}
    Plan {changes: {action: string, kind: string, name: string, fields: {field: string, old?: string, new?: string}[], backfill?: string}[], breakages: {subject: string, breaks?: string, message: string}[], notes: string[]}
    Status {project: string, now: time, definitions_version: int, sources: {accepted: int, duplicates: int, quarantined: int}{}, freshness: Freshness[], kafka: any, online_store: {ready: bool, error: string?}, entity_keys: int{}, serving: int{}, workers: Worker[], prediction_log_waiting: int}
    Worker {id: string, role: string, state: string, memory_bytes: int, pid: int?, last_end: string?, models: string[], remote: string?}
    PushReceipt {accepted: int, duplicates: int, quarantined: int, unknown_fields: int, erased: int, expired: int, produced: int, reasons: string[], warnings: Reason[]}
    FileReport {rows: int, accepted: int, duplicates: int, quarantined: int, erased: int, expired: int, already_ingested: bool, seconds: number, reasons: Reason[], warnings: Reason[], missing_columns: string[], ignored_columns: string[]}
    TransformTrial {transform: string, digest: string?, ok: bool, rows: int, failed: int, failures: any[], invalid: int, invalid_records: any[], columns: any[], batches: any, before: any[], after: any[]}
    QuarantinedRecord {id: int, source: string, status: string, kind: string, reason: string, position: string, event_id: string, quarantined_at: time, attempts: int, settled_at: time?, record: any, raw_base64?: string}
    ReplayReport {replayed: int, duplicates: int, failed: int, failures: {id: int, reason: string}[]}
    ErasureReceipt {id: string, entity?: string, digest: string, erased_at: time, state: string, removed: int{}, rebuilt_keys: int, processes: ErasureShare[], note: string?}
    ErasureShare {warehouse: string, name: string, state: string, removed: int{}}
    Feature {name: string, type: string, entity: string, source: string, key: string{}, what: string}
    FeatureSet {name: string, features: string[], entities: string[], inputs: string{}}
    Freshness {view: string, source: string, newest_event: time?, age_seconds: number?, newest_future_event: time?}
    OnlineFeatures {features: string[], time: time, rows: {values: any[], statuses: string[], event_timestamps: time?[], ages_seconds: number?[]}[]}
    RebuildReport {view: string, keys: int, differing: int, mended: int, differences: {key: string, feature: string, stored: string, expected: string}[]}
    Verification {passed: bool, vectors: int, compared: int, mismatches: int, in_flight: int, past_retention: int, mismatch_share: number, threshold: number, of_former_definitions: int, features: {feature: string, compared: int, causes: int{}}[], examples: {request: string, feature: string, time: time, cause: string, served: any, served_status: string, recomputed: any, recomputed_status: string}[]}
    Dataset {id: string, name: string, model: string?, features: string[], definitions_version: int, mode: string, as_of: time?, through: int{}, spine: string, time_column: string, rows: int, incomplete_rows: int, first: time?, last: time?, row_hash: string, file_digest: string, created_at: time, erased_rows: int}
    Model {name: string, serving: int?, load_error: string?, versions: ModelVersion[]}
    ModelVersion {model: string, version: int, stage: string, metrics: number{}, features: string[], training_rows: int, training_as_of: time, training_hash: string, training_dataset: string?, training_events: {source: string, use: string, count: int, first: time?, last: time?, first_sequence: int?, last_sequence: int?}[], training_code: {function: string, digest: string?}[], definitions_version: int, artifact: string, baseline: string, engine: Engine, format: string, job_id: string, signature: {index: int, name: string, type: string}[], libraries: string{}, artifact_signature: string, description?: string, aliases?: string[], tags?: string{}, created_at: time}
    Engine {kind: string, class?: string, compared_rows?: int, largest_difference?: number, why: string?}
    RegisteredModel {name: string, defined: bool, description: string, tags: string{}, aliases: int{}, versions: RegisteredVersion[], created_at: time, updated_at: time}
    RegisteredVersion {model: string, version: int, stage: string, can_serve: bool, description: string, aliases: string[], tags: string{}, source: string, run_id: string, artifact: string?, created_at: time, updated_at: time}
    Transition {model: string, version: int, event: string, detail: string, from: string?, to: string, who: string, why: string, at: time}
    Rollout {model: string, production: int?, shadow: int?, canary: {version: int, share: number, since: time}?, load_error: string?, standing: any, decisions: {version: int, decision: string, share: number?, who: string, why: string, at: time, evidence: any}[]}
    Latencies {model: string, series: {version: int, stage: string, route: string, windows: {window: string, part: string, count: int, p50_us: int, p95_us: int, p99_us: int, max_us: int}[]}[], slow: {request_id: string, version: int, route: string, rows: int, time: time, latency_us: {hydrate: int, queue: int, compute: int, total: int}}[]}
    Predictions {request_id: string, model: string, version: int?, stage: string?, route: string, why: string, predictions: {value: number, version: int, route: string, features: {value: any, status: string, event_timestamp: time?}{}}[], latency_us: {hydrate: int, queue: int, compute: int, total: int}}
    Explanations {request_id: string, model: string, version: int?, stage: string?, route: string, why: string, predictions: {value: number, version: int, route: string, stage: string, why: string, key_position: number, given: any{}, features: {value: any, status: string, event_timestamp: time?}{}}[], latency_us: {hydrate: int, queue: int, compute: int, total: int}}
    DriftReport {model: string, version: int, rows: int, score: number, window_start: time, window_end: time, features: {feature: string, psi: number, ks: number?, null_share: number, baseline_null_share: number}[]}
    Inference {id: string, model_name: string, model_version: string, parameters: any{}, outputs: {name: string, datatype: string, shape: int[], parameters?: any{}, data?: any[]}[]}
    InferenceModel {name: string, versions: string[], platform: string, inputs: {name: string, datatype: string, shape: int[]}[], outputs: {name: string, datatype: string, shape: int[]}[]}
    InferenceStatistics {name: string, version: string, last_inference: int, inference_count: int, execution_count: int, inference_stats: any{}, batch_stats: any[], memory_usage: any[]}
    InferenceVersion {name: string, version: string, state: string, reason: string}
    Job {id: string, kind: string, model: string, state: string, attempt: int, reason: string, progress: string, error: string?, version: int?, created_at: time, finished_at: time?}
    Lineage {root: string, direction: string, nodes: {id: string, kind: string, name: string, attributes: string{}}[], edges: {from: string, to: string, role: string}[]}
    """
}
