import Core

/// The platform's own tables, made by numbered steps that are each run once.
enum WarehouseSchema {
  /// Step n brings a database from version n - 1 to n. Steps are only ever added.
  static let migrations: [String] = [
    """
    CREATE SEQUENCE quarantine_ids;
    CREATE TABLE quarantine (
      id BIGINT DEFAULT nextval('quarantine_ids'), source VARCHAR NOT NULL, record VARCHAR, reason VARCHAR,
      position VARCHAR, created_at TIMESTAMP NOT NULL);
    CREATE TABLE ingested_files (
      digest VARCHAR NOT NULL, source VARCHAR NOT NULL, name VARCHAR, rows BIGINT, quarantined BIGINT,
      duplicates BIGINT, created_at TIMESTAMP NOT NULL);
    CREATE TABLE event_columns (
      source VARCHAR NOT NULL, name VARCHAR NOT NULL, position BIGINT NOT NULL, type VARCHAR NOT NULL,
      since BIGINT NOT NULL);
    CREATE TABLE model_logs (
      request_id VARCHAR, model_id VARCHAR NOT NULL, model_version VARCHAR, stage VARCHAR, route VARCHAR,
      entity_keys VARCHAR, model_inputs VARCHAR, feature_values DOUBLE[], model_result DOUBLE,
      model_error VARCHAR, event_datetime TIMESTAMP NOT NULL, hydrate_us BIGINT, queue_us BIGINT,
      compute_us BIGINT, total_us BIGINT);
    CREATE TABLE drift_scores (
      model_id VARCHAR NOT NULL, model_version VARCHAR, feature VARCHAR, test VARCHAR, score DOUBLE,
      null_share DOUBLE, baseline_null_share DOUBLE, rows BIGINT, window_start TIMESTAMP,
      window_end TIMESTAMP, created_at TIMESTAMP NOT NULL);
    CREATE TABLE labels (
      model_id VARCHAR NOT NULL, request_id VARCHAR, entity_keys VARCHAR, label DOUBLE,
      event_timestamp TIMESTAMP, created_at TIMESTAMP NOT NULL);
    CREATE TABLE jobs_history (
      job_id VARCHAR NOT NULL, kind VARCHAR, target VARCHAR, state VARCHAR, attempt BIGINT, error VARCHAR,
      result VARCHAR, created_at TIMESTAMP, started_at TIMESTAMP, finished_at TIMESTAMP);
    CREATE TABLE model_metadata (
      model_id VARCHAR NOT NULL, artifact_type VARCHAR, version VARCHAR, trained_date TIMESTAMP,
      model_drift_score DOUBLE, status VARCHAR, azure_location VARCHAR,
      expected_features STRUCT("index" BIGINT, name VARCHAR, type VARCHAR, drift_score DOUBLE)[],
      created_at TIMESTAMP NOT NULL);
    """,
    EventTables().featuresView([]),
    """
    CREATE TABLE stream_offsets (
      topic VARCHAR NOT NULL, partition BIGINT NOT NULL, next_offset BIGINT NOT NULL,
      updated_at TIMESTAMP NOT NULL);
    """,
    // Quarantine with the whole record: `raw` has the bytes where `record` cannot, `event_id` is what a replay stores. The table is
    // made anew, because DuckDB cannot replay an ALTER of a table with a default of nextval() from its log.
    """
    CREATE TABLE earlier_quarantine AS SELECT * FROM quarantine;
    DROP TABLE quarantine;
    CREATE TABLE quarantine (
      id BIGINT DEFAULT nextval('quarantine_ids'), source VARCHAR NOT NULL, record VARCHAR, reason VARCHAR,
      position VARCHAR, quarantined_at TIMESTAMP NOT NULL, raw BLOB, kind VARCHAR DEFAULT 'other',
      event_id VARCHAR DEFAULT '', status VARCHAR DEFAULT 'waiting', attempts BIGINT DEFAULT 0,
      settled_at TIMESTAMP);
    INSERT INTO quarantine (id, source, record, reason, position, quarantined_at)
      SELECT id, source, record, reason, position, created_at FROM earlier_quarantine;
    DROP TABLE earlier_quarantine;
    """,
    // How far a source had come when events of it were deleted: what the rest no longer tells.
    """
    CREATE TABLE source_marks (
      source VARCHAR NOT NULL, last_sequence BIGINT NOT NULL, last_stamp TIMESTAMP NOT NULL,
      newest_event TIMESTAMP NOT NULL);
    """,
    // Erased keys, as digests: `filter` is a few bits of a quicker hash, `pending` what is left to do.
    """
    CREATE TABLE erasures (
      id VARCHAR NOT NULL, entity VARCHAR NOT NULL, key_columns VARCHAR NOT NULL, digest VARCHAR NOT NULL,
      filter BIGINT NOT NULL, erased_at TIMESTAMP NOT NULL, state VARCHAR NOT NULL, pending VARCHAR,
      receipt VARCHAR NOT NULL);
    CREATE TABLE erased_events (digest VARCHAR NOT NULL);
    CREATE TABLE erasure_salt (salt VARCHAR NOT NULL);
    """,
    // Which warehouse this is, for others that share a Kafka group or an online store with it; a backup of it is the same one.
    "CREATE TABLE warehouse_identity AS SELECT CAST(uuid() AS VARCHAR) AS id;",
    // Jobs of the database service that were applied, or refused for good: the number is the order.
    """
    CREATE SEQUENCE applied_job_numbers;
    CREATE TABLE applied_jobs (
      number BIGINT DEFAULT nextval('applied_job_numbers'), id VARCHAR NOT NULL, digest VARCHAR NOT NULL,
      rows_changed BIGINT, error_code VARCHAR, error_message VARCHAR, applied_at TIMESTAMP NOT NULL);
    """,
    // Saved training sets; `record` is how each was made, as JSON.
    """
    CREATE TABLE datasets (
      id VARCHAR NOT NULL, name VARCHAR NOT NULL, model VARCHAR, row_count BIGINT NOT NULL,
      created_at TIMESTAMP NOT NULL, record VARCHAR NOT NULL);
    """,
    // Which code made the transformed columns of a source's events from a sequence on; null is no transform.
    """
    CREATE TABLE transform_versions (
      source VARCHAR NOT NULL, transform VARCHAR, digest VARCHAR, first_sequence BIGINT NOT NULL,
      created_at TIMESTAMP NOT NULL);
    """,
    // Which generation of each view's online states is read, and which is being built; `erasures` is how many there were when it was begun.
    """
    CREATE TABLE view_builds (
      view VARCHAR NOT NULL, generation BIGINT NOT NULL, storage VARCHAR NOT NULL, state VARCHAR NOT NULL,
      erasures BIGINT NOT NULL, changed_at TIMESTAMP NOT NULL);
    """,
    // What a request brought for its model, as JSON: also inputs that are not in the vector, from which derived values of it are made.
    "ALTER TABLE model_logs ADD COLUMN request_inputs VARCHAR;",
    // Transform columns that were computed anew: the cells that a recomputation replaced are in `replaced_cells_<number>`, those that
    // are to be in force in `staged_cells_<number>`. `columns` and `made` are lists of columns as JSON.
    """
    ALTER TABLE transform_versions ADD COLUMN columns VARCHAR;
    CREATE TABLE recomputations (
      number BIGINT NOT NULL, source VARCHAR NOT NULL, job VARCHAR NOT NULL, transform VARCHAR NOT NULL,
      digest VARCHAR NOT NULL, made VARCHAR NOT NULL, columns VARCHAR NOT NULL, first_event TIMESTAMP,
      end_event TIMESTAMP, through_sequence BIGINT NOT NULL, staged_through BIGINT NOT NULL, rows BIGINT NOT NULL,
      failed BIGINT NOT NULL, in_force_since TIMESTAMP);
    """,
    // What the registry holds, written by the platform, and the newest drift scores, which the monitor adds, are one view.
    """
    DROP TABLE model_metadata;
    CREATE TABLE registry_versions (
      model_id VARCHAR NOT NULL, version BIGINT NOT NULL, stage VARCHAR NOT NULL, artifact_type VARCHAR NOT NULL,
      trained_date TIMESTAMP NOT NULL, location VARCHAR NOT NULL, created_at TIMESTAMP NOT NULL);
    CREATE TABLE registry_features (
      model_id VARCHAR NOT NULL, version BIGINT NOT NULL, position BIGINT NOT NULL, name VARCHAR NOT NULL,
      type VARCHAR NOT NULL);
    CREATE VIEW model_metadata AS
    WITH scores AS (
      SELECT model_id, model_version, feature, arg_max(score, created_at) AS score FROM drift_scores
      WHERE test = 'psi' GROUP BY model_id, model_version, feature),
    expected AS (
      SELECT f.model_id, f.version, max(s.score) AS score,
        list(
          struct_pack("index" := f.position, name := f.name, type := f.type, drift_score := s.score)
          ORDER BY f.position) AS features
      FROM registry_features f LEFT JOIN scores s
        ON s.model_id = f.model_id AND s.model_version = CAST(f.version AS VARCHAR) AND s.feature = f.name
      GROUP BY f.model_id, f.version)
    SELECT v.model_id, v.artifact_type, CAST(v.version AS VARCHAR) AS version, v.trained_date,
      e.score AS model_drift_score, CASE v.stage WHEN 'archived' THEN 'deprecated' ELSE v.stage END AS status,
      v.location AS azure_location, coalesce(e.features, []) AS expected_features, v.created_at
    FROM registry_versions v LEFT JOIN expected e ON e.model_id = v.model_id AND e.version = v.version;
    """,
    // Why a prediction went its way, which version it is compared with, and whose fault a failure is: what rollouts are decided by.
    """
    ALTER TABLE model_logs ADD COLUMN route_why VARCHAR;
    ALTER TABLE model_logs ADD COLUMN call_row BIGINT;
    ALTER TABLE model_logs ADD COLUMN other_version VARCHAR;
    ALTER TABLE model_logs ADD COLUMN difference DOUBLE;
    ALTER TABLE model_logs ADD COLUMN version_fault BOOLEAN;
    """,
  ]

  /// Runs the steps that the database has not seen; a database that has seen more is refused.
  static func migrate(
    _ connection: DuckDBConnection, path: String?, now: Timestamp,
    migrations: [String] = migrations
  ) throws {
    try connection.run(
      "CREATE TABLE IF NOT EXISTS schema_migrations (version BIGINT NOT NULL, applied_at TIMESTAMP NOT NULL)",
      doing: "Opening the warehouse")
    let version =
      try connection.query("SELECT coalesce(max(version), 0) FROM schema_migrations", as: Int.self)
      .first ?? 0
    guard version <= migrations.count else {
      throw PlatformError(
        .failedPrecondition,
        "The warehouse \(path ?? "in memory") has schema version \(version), this Martlet knows up to \(migrations.count): "
          + "it was used by a newer one. Start that version, or restore the backup made before the upgrade."
      )
    }
    for (offset, step) in migrations.enumerated().dropFirst(version) {
      try connection.transaction {
        try connection.run(step, doing: "Warehouse schema step \(offset + 1)")
        try connection.execute(
          "INSERT INTO schema_migrations VALUES (?, ?)",
          [.int64(Int64(offset + 1)), .timestamp(now)])
      }
    }
  }
}
