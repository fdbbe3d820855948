import Core
import Crypto
import Foundation
import GRDB

/// One applied version of the definitions, as it is stored.
package struct AppliedDefinitions: Sendable, Equatable {
  package var version: Int64
  package var digest: String
  package var yaml: String
  package var project: ProjectDefinition
  package var projectDirectory: String
  package var author: String
  package var appliedAt: Timestamp
}

extension AppliedDefinitions {
  /// The canonical form: JSON with sorted keys, equal for definitions that mean the same.
  static func canonicalJSON(_ project: ProjectDefinition) throws -> [UInt8] {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    return Array(try encoder.encode(project))
  }

  static func digest(_ json: [UInt8]) -> String {
    SHA256.hash(data: json).map { byte in
      let hex = String(byte, radix: 16)
      return hex.count == 1 ? "0" + hex : hex
    }.joined()
  }

  static func newest(_ db: Database) throws -> AppliedDefinitions? {
    try fetch(db, "ORDER BY version DESC LIMIT 1").first
  }

  static func all(_ db: Database) throws -> [AppliedDefinitions] {
    try fetch(db, "ORDER BY version DESC")
  }

  /// The first that is found; nil also where this Martlet cannot read it.
  static func find(
    _ db: Database, _ clause: String, _ arguments: StatementArguments
  ) throws -> AppliedDefinitions? {
    do {
      return try fetch(db, clause, arguments).first
    } catch is PlatformError {
      return nil
    }
  }

  private static func fetch(
    _ db: Database, _ clause: String, _ arguments: StatementArguments = []
  ) throws -> [AppliedDefinitions] {
    try Row.fetchAll(
      db, sql: "SELECT * FROM definitions \(clause)", arguments: arguments
    ).map { row in
      let json: String = row["definition"]
      let version: Int64 = row["version"]
      let project: ProjectDefinition
      do {
        project = try JSONDecoder().decode(ProjectDefinition.self, from: Data(json.utf8))
      } catch {
        throw PlatformError(
          .storage,
          "version \(version) of the definitions was stored by another version of Martlet and cannot be read; apply martlet.yaml again with that one",
          cause: error)
      }
      return AppliedDefinitions(
        version: version, digest: row["digest"], yaml: row["yaml"], project: project,
        projectDirectory: row["project_directory"], author: row["author"],
        appliedAt: Timestamp(microseconds: row["applied_at"]))
    }
  }

  func insert(_ db: Database, json: [UInt8]) throws {
    try db.execute(
      sql: """
        INSERT INTO definitions
          (version, digest, yaml, definition, project_directory, author, applied_at)
        VALUES (?, ?, ?, ?, ?, ?, ?)
        """,
      arguments: [
        version, digest, yaml, String(decoding: json, as: UTF8.self), projectDirectory, author,
        appliedAt.microseconds,
      ])
  }
}
