import Core
import GRDB

/// The tables of the catalog's SQLite file, made by numbered steps.
enum CatalogSchema {
  /// Step n brings a file from version n to n + 1; steps are only ever added.
  private static let steps: [String] = [
    """
    CREATE TABLE definitions (
      version INTEGER PRIMARY KEY,
      digest TEXT NOT NULL,
      yaml TEXT NOT NULL,
      definition TEXT NOT NULL,
      project_directory TEXT NOT NULL,
      author TEXT NOT NULL,
      applied_at INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE model_versions (
      model TEXT NOT NULL,
      version INTEGER NOT NULL,
      stage TEXT NOT NULL,
      job_id TEXT NOT NULL UNIQUE,
      artifact TEXT NOT NULL,
      baseline TEXT NOT NULL,
      definitions_version INTEGER NOT NULL,
      created_at INTEGER NOT NULL,
      record TEXT NOT NULL,
      PRIMARY KEY (model, version)
    ) STRICT;
    CREATE UNIQUE INDEX one_production ON model_versions (model) WHERE stage = 'production';
    CREATE TABLE model_transitions (
      id INTEGER PRIMARY KEY,
      model TEXT NOT NULL,
      version INTEGER NOT NULL,
      from_stage TEXT,
      to_stage TEXT NOT NULL,
      who TEXT NOT NULL,
      why TEXT NOT NULL,
      at INTEGER NOT NULL
    ) STRICT;
    CREATE INDEX transitions_of ON model_transitions (model, version);
    CREATE TABLE catalog_changes (only INTEGER PRIMARY KEY CHECK (only = 1), count INTEGER NOT NULL) STRICT;
    INSERT INTO catalog_changes VALUES (1, 0);
    """,
    // Models that are registered without a definition, and versions that name an artifact elsewhere: those have no `record`, which is what
    // the platform itself trained. A version that was deleted keeps its row, so that its number is never given again.
    """
    CREATE TABLE registered_models (
      name TEXT PRIMARY KEY,
      description TEXT,
      created_at INTEGER NOT NULL,
      updated_at INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE next_model_versions (
      model TEXT NOT NULL,
      version INTEGER NOT NULL,
      stage TEXT NOT NULL,
      job_id TEXT UNIQUE,
      artifact TEXT,
      baseline TEXT,
      definitions_version INTEGER,
      created_at INTEGER NOT NULL,
      record TEXT,
      updated_at INTEGER NOT NULL,
      deleted_at INTEGER,
      description TEXT,
      source TEXT NOT NULL DEFAULT '',
      run_id TEXT NOT NULL DEFAULT '',
      run_link TEXT NOT NULL DEFAULT '',
      PRIMARY KEY (model, version)
    ) STRICT;
    INSERT INTO next_model_versions
      (model, version, stage, job_id, artifact, baseline, definitions_version, created_at, record, updated_at)
      SELECT model, version, stage, job_id, artifact, baseline, definitions_version, created_at, record, created_at
      FROM model_versions;
    DROP TABLE model_versions;
    ALTER TABLE next_model_versions RENAME TO model_versions;
    CREATE UNIQUE INDEX one_production ON model_versions (model)
      WHERE stage = 'production' AND deleted_at IS NULL;
    CREATE UNIQUE INDEX one_canary ON model_versions (model)
      WHERE stage = 'canary' AND deleted_at IS NULL;
    INSERT INTO registered_models (name, created_at, updated_at)
      SELECT model, min(created_at), max(created_at) FROM model_versions GROUP BY model;
    -- Version 0 is the model itself.
    CREATE TABLE model_tags (
      model TEXT NOT NULL,
      version INTEGER NOT NULL,
      key TEXT NOT NULL,
      value TEXT NOT NULL,
      PRIMARY KEY (model, version, key)
    ) STRICT;
    CREATE TABLE model_aliases (
      model TEXT NOT NULL,
      alias TEXT NOT NULL,
      version INTEGER NOT NULL,
      PRIMARY KEY (model, alias)
    ) STRICT;
    ALTER TABLE model_transitions ADD COLUMN event TEXT NOT NULL DEFAULT 'stage';
    ALTER TABLE model_transitions ADD COLUMN detail TEXT NOT NULL DEFAULT '';
    """,
    // How many keys a canary answers since when, and what was decided about canaries by which evidence.
    """
    CREATE TABLE canary_shares (
      model TEXT PRIMARY KEY,
      version INTEGER NOT NULL,
      share REAL NOT NULL,
      since INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE rollout_decisions (
      id INTEGER PRIMARY KEY,
      model TEXT NOT NULL,
      version INTEGER NOT NULL,
      decision TEXT NOT NULL,
      share REAL,
      who TEXT NOT NULL,
      why TEXT NOT NULL,
      evidence TEXT,
      at INTEGER NOT NULL
    ) STRICT;
    CREATE INDEX decisions_of ON rollout_decisions (model, id);
    """,
  ]

  /// Brings the file to the newest version, in one transaction, also when several processes open it at once.
  static func migrate(_ db: Database) throws {
    let found = try Int.fetchOne(db, sql: "PRAGMA user_version") ?? 0
    guard found <= steps.count else {
      throw PlatformError(
        .storage,
        "the catalog was written by a newer Martlet (version \(found) of its tables, this one knows \(steps.count)); use the newer one"
      )
    }
    for step in steps[found...] { try db.execute(sql: step) }
    if found < steps.count { try db.execute(sql: "PRAGMA user_version = \(steps.count)") }
  }

  static var configuration: Configuration {
    var configuration = Configuration()
    configuration.label = "catalog"
    configuration.busyMode = .timeout(5)
    configuration.foreignKeysEnabled = true
    configuration.journalMode = .wal
    configuration.maximumReaderCount = 4
    // An acknowledged apply or publish survives a power cut.
    configuration.prepareDatabase { db in try db.execute(sql: "PRAGMA synchronous = FULL") }
    return configuration
  }
}
