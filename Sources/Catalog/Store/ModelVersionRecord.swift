import Core
import Foundation
import GRDB

/// One change of a version's stage, or of what names it, for the audit.
package struct ModelTransition: Sendable, Equatable {
  /// What changed; the stage is the same before and after where it is not `stage`.
  package enum Event: Sendable, Equatable {
    case stage
    case alias(String)
    case aliasDeleted(String)
    case renamed(from: String)
    case deleted
  }

  package var model: String
  package var version: Int64
  package var event = Event.stage
  /// Nil when the version was published.
  package var from: ModelStage?
  package var to: ModelStage
  package var who: String
  package var why: String
  package var at: Timestamp
}

extension ModelTransition.Event {
  /// As the catalog and the transports write it: a word, and what it is about.
  package var words: (event: String, detail: String) {
    switch self {
    case .stage: ("stage", "")
    case .alias(let alias): ("alias", alias)
    case .aliasDeleted(let alias): ("alias_deleted", alias)
    case .renamed(let former): ("renamed", former)
    case .deleted: ("deleted", "")
    }
  }

  init(_ event: String, _ detail: String) {
    switch event {
    case "alias": self = .alias(detail)
    case "alias_deleted": self = .aliasDeleted(detail)
    case "renamed": self = .renamed(from: detail)
    case "deleted": self = .deleted
    default: self = .stage
    }
  }
}

/// The SQL of model versions and their transitions; used inside the store's transactions.
enum ModelVersionRecord {
  static func all(_ db: Database) throws -> [ModelVersion] {
    try fetch(db, "true ORDER BY model, version DESC", [])
  }

  static func versions(_ db: Database, of model: String) throws -> [ModelVersion] {
    try fetch(db, "model = ? ORDER BY version DESC", [model])
  }

  static func find(_ db: Database, model: String, version: Int64) throws -> ModelVersion {
    if let found = try fetch(db, "model = ? AND version = ?", [model, version]).first {
      return found
    }
    let known = try versions(db, of: model).map { String($0.version) }
    throw PlatformError(
      .notFound,
      known.isEmpty
        ? "model '\(model)' has no version \(version): none has been published; train it with `martlet train \(model)`"
        : "model '\(model)' has no version \(version); its versions are \(known.prefix(12).joined(separator: ", "))"
    )
  }

  static func published(_ db: Database, byJob job: String) throws -> ModelVersion? {
    try fetch(db, "job_id = ?", [job]).first
  }

  /// Every version of a model with what the rules of stages go by.
  static func staged(_ db: Database, of model: String) throws -> [StageChange.Version] {
    try Row.fetchAll(
      db,
      sql: """
        SELECT version, stage, record IS NOT NULL AS is_trained FROM model_versions
        WHERE model = ? AND deleted_at IS NULL ORDER BY version DESC
        """, arguments: [model]
    ).map { row in
      StageChange.Version(
        row["version"], try stage(row["stage"]), isTrained: row["is_trained"])
    }
  }

  static func nextVersion(_ db: Database, of model: String) throws -> Int64 {
    try Int64.fetchOne(
      db, sql: "SELECT coalesce(max(version), 0) + 1 FROM model_versions WHERE model = ?",
      arguments: [model]) ?? 1
  }

  static func insert(_ db: Database, _ version: ModelVersion) throws {
    let record = try JSONEncoder().encode(version)
    try db.execute(
      sql: """
        INSERT INTO model_versions
          (model, version, stage, job_id, artifact, baseline, definitions_version, created_at, record, updated_at)
        VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
        """,
      arguments: [
        version.model, version.version, version.stage.rawValue, version.jobID, version.artifact.hex,
        version.baseline.hex, version.definitionsVersion, version.createdAt.microseconds,
        String(decoding: record, as: UTF8.self), version.createdAt.microseconds,
      ])
  }

  /// Adds a version whose artifact is elsewhere.
  static func insert(
    _ db: Database, _ new: NewRegisteredVersion, number: Int64, at time: Timestamp
  ) throws {
    try db.execute(
      sql: """
        INSERT INTO model_versions
          (model, version, stage, created_at, updated_at, description, source, run_id, run_link)
        VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
        """,
      arguments: [
        new.model, number, ModelStage.registered.rawValue, time.microseconds, time.microseconds,
        new.description, new.source, new.runID, new.runLink,
      ])
  }

  /// Sets the stage and writes the audit row; the stage column, not the record, is what counts.
  static func move(
    _ db: Database, _ move: StageChange.Move, of model: String, who: String, at time: Timestamp
  ) throws {
    try db.execute(
      sql: "UPDATE model_versions SET stage = ?, updated_at = ? WHERE model = ? AND version = ?",
      arguments: [move.to.rawValue, time.microseconds, model, move.version])
    try audit(
      db,
      ModelTransition(
        model: model, version: move.version, from: move.from, to: move.to, who: who, why: move.why,
        at: time))
  }

  static func audit(_ db: Database, _ transition: ModelTransition) throws {
    try db.execute(
      sql: """
        INSERT INTO model_transitions
          (model, version, from_stage, to_stage, who, why, at, event, detail)
        VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
        """,
      arguments: [
        transition.model, transition.version, transition.from?.rawValue, transition.to.rawValue,
        transition.who, transition.why, transition.at.microseconds, transition.event.words.event,
        transition.event.words.detail,
      ])
  }

  static func transitions(_ db: Database, of model: String) throws -> [ModelTransition] {
    try Row.fetchAll(
      db, sql: "SELECT * FROM model_transitions WHERE model = ? ORDER BY id", arguments: [model]
    ).map { row in
      let from: String? = row["from_stage"]
      return ModelTransition(
        model: row["model"], version: row["version"],
        event: ModelTransition.Event(row["event"], row["detail"]),
        from: from.flatMap(ModelStage.init),
        to: try stage(row["to_stage"]), who: row["who"], why: row["why"],
        at: Timestamp(microseconds: row["at"]))
    }
  }

  /// Versions that the platform trained and that were not deleted.
  private static func fetch(
    _ db: Database, _ condition: String, _ arguments: StatementArguments
  ) throws -> [ModelVersion] {
    let rows = try Row.fetchAll(
      db,
      sql:
        "SELECT record, stage FROM model_versions WHERE record IS NOT NULL AND deleted_at IS NULL AND \(condition)",
      arguments: arguments)
    return try rows.compactMap(trained)
  }

  /// What the platform trained; nil for a version from elsewhere.
  static func trained(_ row: Row) throws -> ModelVersion? {
    guard let record: String = row["record"] else { return nil }
    var version = try JSONDecoder().decode(ModelVersion.self, from: Data(record.utf8))
    version.stage = try stage(row["stage"])
    return version
  }

  static func stage(_ text: String) throws -> ModelStage {
    guard let stage = ModelStage(rawValue: text) else {
      throw PlatformError(
        .storage,
        "the catalog has a model version in the unknown stage '\(text)'; use a newer Martlet")
    }
    return stage
  }
}
