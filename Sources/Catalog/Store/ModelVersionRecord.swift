import Core
import Foundation
import GRDB

/// One change of a version's stage, for the audit.
package struct ModelTransition: Sendable, Equatable, Codable {
  package var model: String
  package var version: Int64
  /// Nil when the version was published.
  package var from: ModelStage?
  package var to: ModelStage
  package var who: String
  package var why: String
  package var at: Timestamp
}

/// The SQL of model versions and their transitions; used inside the store's transactions.
enum ModelVersionRecord {
  static func all(_ db: Database) throws -> [ModelVersion] {
    try fetch(db, "ORDER BY model, version DESC", [])
  }

  static func versions(_ db: Database, of model: String) throws -> [ModelVersion] {
    try fetch(db, "WHERE model = ? ORDER BY version DESC", [model])
  }

  static func find(_ db: Database, model: String, version: Int64) throws -> ModelVersion {
    if let found = try fetch(db, "WHERE model = ? AND version = ?", [model, version]).first {
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
    try fetch(db, "WHERE job_id = ?", [job]).first
  }

  static func production(_ db: Database, of model: String) throws -> ModelVersion? {
    try fetch(db, "WHERE model = ? AND stage = 'production'", [model]).first
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
          (model, version, stage, job_id, artifact, baseline, definitions_version, created_at, record)
        VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
        """,
      arguments: [
        version.model, version.version, version.stage.rawValue, version.jobID, version.artifact.hex,
        version.baseline.hex, version.definitionsVersion, version.createdAt.microseconds,
        String(decoding: record, as: UTF8.self),
      ])
  }

  /// Sets the stage and writes the audit row; the stage column, not the record, is what counts.
  static func move(
    _ db: Database, _ version: ModelVersion, to stage: ModelStage, who: String, why: String,
    at time: Timestamp
  ) throws {
    try db.execute(
      sql: "UPDATE model_versions SET stage = ? WHERE model = ? AND version = ?",
      arguments: [stage.rawValue, version.model, version.version])
    try audit(
      db,
      ModelTransition(
        model: version.model, version: version.version, from: version.stage, to: stage, who: who,
        why: why, at: time))
  }

  static func audit(_ db: Database, _ transition: ModelTransition) throws {
    try db.execute(
      sql: """
        INSERT INTO model_transitions (model, version, from_stage, to_stage, who, why, at)
        VALUES (?, ?, ?, ?, ?, ?, ?)
        """,
      arguments: [
        transition.model, transition.version, transition.from?.rawValue, transition.to.rawValue,
        transition.who, transition.why, transition.at.microseconds,
      ])
  }

  static func transitions(_ db: Database, of model: String) throws -> [ModelTransition] {
    try Row.fetchAll(
      db, sql: "SELECT * FROM model_transitions WHERE model = ? ORDER BY id", arguments: [model]
    ).map { row in
      let from: String? = row["from_stage"]
      return ModelTransition(
        model: row["model"], version: row["version"], from: from.flatMap(ModelStage.init),
        to: try stage(row["to_stage"]), who: row["who"], why: row["why"],
        at: Timestamp(microseconds: row["at"]))
    }
  }

  private static func fetch(
    _ db: Database, _ clause: String, _ arguments: StatementArguments
  ) throws -> [ModelVersion] {
    let rows = try Row.fetchAll(
      db, sql: "SELECT record, stage FROM model_versions \(clause)", arguments: arguments)
    return try rows.map { row in
      let record: String = row["record"]
      var version = try JSONDecoder().decode(ModelVersion.self, from: Data(record.utf8))
      version.stage = try stage(row["stage"])
      return version
    }
  }

  private static func stage(_ text: String) throws -> ModelStage {
    guard let stage = ModelStage(rawValue: text) else {
      throw PlatformError(
        .storage,
        "the catalog has a model version in the unknown stage '\(text)'; use a newer Martlet")
    }
    return stage
  }
}
