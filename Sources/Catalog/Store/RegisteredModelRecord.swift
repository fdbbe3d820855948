import Core
import Foundation
import GRDB

/// The SQL of registered models with their tags and aliases; used inside the store's transactions.
enum RegisteredModelRecord {
  /// What else a read has to know.
  struct Reading: Sendable {
    /// Models of the definitions in force.
    var defined: Set<String>
    /// The alias that names the version in production.
    var deployAlias: String
  }

  // MARK: Reading

  /// Sorted by name; one model, or all.
  static func models(
    _ db: Database, _ reading: Reading, named name: String? = nil
  ) throws -> [RegisteredModel] {
    let (clause, arguments) = restriction("name", name)
    let rows = try Row.fetchAll(
      db, sql: "SELECT * FROM registered_models \(clause) ORDER BY name", arguments: arguments)
    let tags = try tags(db, of: name)
    let aliases = try aliases(db, reading, of: name)
    let versions = Dictionary(
      grouping: try versions(db, reading, tags, aliases, of: name), by: \.model)
    return rows.map { row in
      let name: String = row["name"]
      return RegisteredModel(
        name: name, description: row["description"],
        createdAt: Timestamp(microseconds: row["created_at"]),
        updatedAt: Timestamp(microseconds: row["updated_at"]), tags: tags[name]?[0] ?? [:],
        aliases: aliases[name] ?? [:], isDefined: reading.defined.contains(name),
        versions: versions[name] ?? [])
    }
  }

  static func model(
    _ db: Database, _ reading: Reading, _ name: String
  ) throws -> RegisteredModel {
    guard let found = try models(db, reading, named: name).first else { throw noModel(name) }
    return found
  }

  static func version(
    _ db: Database, _ reading: Reading, _ model: String, _ number: Int64
  ) throws -> RegisteredVersion {
    let tags = try tags(db, of: model)
    let aliases = try aliases(db, reading, of: model)
    let found = try versions(db, reading, tags, aliases, of: model)
    guard let version = found.first(where: { $0.version == number }) else {
      throw noVersion(model, number, known: found.map(\.version))
    }
    return version
  }

  private static func versions(
    _ db: Database, _ reading: Reading, _ tags: [String: [Int64: [String: String]]],
    _ aliases: [String: [String: Int64]], of model: String?
  ) throws -> [RegisteredVersion] {
    let (clause, arguments) = restriction("model", model)
    let rows = try Row.fetchAll(
      db,
      sql: """
        SELECT * FROM model_versions \(clause.isEmpty ? "WHERE" : clause + " AND") deleted_at IS NULL
        ORDER BY model, version DESC
        """, arguments: arguments)
    return try rows.map { row in
      let model: String = row["model"]
      let number: Int64 = row["version"]
      return RegisteredVersion(
        model: model, version: number, stage: try ModelVersionRecord.stage(row["stage"]),
        description: row["description"], source: row["source"], runID: row["run_id"],
        runLink: row["run_link"], createdAt: Timestamp(microseconds: row["created_at"]),
        updatedAt: Timestamp(microseconds: row["updated_at"]), tags: tags[model]?[number] ?? [:],
        aliases: (aliases[model] ?? [:]).filter { $0.value == number }.keys.sorted(),
        trained: try ModelVersionRecord.trained(row), isDefined: reading.defined.contains(model))
    }
  }

  private static func tags(
    _ db: Database, of model: String?
  ) throws -> [String: [Int64: [String: String]]] {
    let (clause, arguments) = restriction("model", model)
    let rows = try Row.fetchAll(db, sql: "SELECT * FROM model_tags \(clause)", arguments: arguments)
    return rows.reduce(into: [:]) { tags, row in
      let model: String = row["model"]
      let version: Int64 = row["version"]
      let key: String = row["key"]
      tags[model, default: [:]][version, default: [:]][key] = row["value"]
    }
  }

  private static func aliases(
    _ db: Database, _ reading: Reading, of model: String?
  ) throws -> [String: [String: Int64]] {
    let (clause, arguments) = restriction("model", model)
    let rows = try Row.fetchAll(
      db,
      sql: """
        SELECT model, alias, version FROM model_aliases \(clause) UNION ALL
        SELECT model, ?, version FROM model_versions
        \(clause.isEmpty ? "WHERE" : clause + " AND") stage = 'production' AND deleted_at IS NULL
        """, arguments: arguments + [reading.deployAlias] + arguments)
    return rows.reduce(into: [:]) { aliases, row in
      let model: String = row["model"]
      let alias: String = row["alias"]
      aliases[model, default: [:]][alias] = row["version"]
    }
  }

  private static func restriction(
    _ column: String, _ name: String?
  ) -> (clause: String, arguments: StatementArguments) {
    name.map { ("WHERE \(column) = ?", [$0]) } ?? ("", [])
  }

  // MARK: Writing

  static func exists(_ db: Database, _ name: String) throws -> Bool {
    try Bool.fetchOne(
      db, sql: "SELECT count(*) > 0 FROM registered_models WHERE name = ?", arguments: [name])
      ?? false
  }

  static func require(_ db: Database, _ name: String) throws {
    guard try exists(db, name) else { throw noModel(name) }
  }

  /// Adds models that are not there yet, as a definition or a publication brings them.
  static func ensure(_ db: Database, _ names: some Sequence<String>, at time: Timestamp) throws {
    for name in names {
      try db.execute(
        sql:
          "INSERT OR IGNORE INTO registered_models (name, created_at, updated_at) VALUES (?, ?, ?)",
        arguments: [name, time.microseconds, time.microseconds])
    }
  }

  /// Takes out models that only a definition had brought and of which nothing was ever published or noted.
  static func forget(_ db: Database, _ names: some Sequence<String>) throws {
    for name in names {
      try db.execute(
        sql: """
          DELETE FROM registered_models WHERE name = ? AND description IS NULL
            AND NOT EXISTS (SELECT * FROM model_versions WHERE model = name)
            AND NOT EXISTS (SELECT * FROM model_tags WHERE model = name)
          """, arguments: [name])
    }
  }

  static func touch(_ db: Database, _ name: String, at time: Timestamp) throws {
    try db.execute(
      sql: "UPDATE registered_models SET updated_at = ? WHERE name = ?",
      arguments: [time.microseconds, name])
  }

  static func set(_ db: Database, tag key: String, to value: String, on place: TagPlace) throws {
    try db.execute(
      sql: "INSERT OR REPLACE INTO model_tags (model, version, key, value) VALUES (?, ?, ?, ?)",
      arguments: [place.model, place.number, key, value])
    let count =
      try Int.fetchOne(
        db, sql: "SELECT count(*) FROM model_tags WHERE model = ? AND version = ?",
        arguments: [place.model, place.number]) ?? 0
    try checkRoom(count, "tags")
  }

  static func remove(_ db: Database, tag key: String, from place: TagPlace) throws {
    try db.execute(
      sql: "DELETE FROM model_tags WHERE model = ? AND version = ? AND key = ?",
      arguments: [place.model, place.number, key])
  }

  static func alias(_ db: Database, _ alias: String, of model: String) throws -> Int64? {
    try Int64.fetchOne(
      db, sql: "SELECT version FROM model_aliases WHERE model = ? AND alias = ?",
      arguments: [model, alias])
  }

  static func set(
    _ db: Database, alias: String, of model: String, to version: Int64
  ) throws {
    try db.execute(
      sql: "INSERT OR REPLACE INTO model_aliases (model, alias, version) VALUES (?, ?, ?)",
      arguments: [model, alias, version])
    let count =
      try Int.fetchOne(
        db, sql: "SELECT count(*) FROM model_aliases WHERE model = ?", arguments: [model]) ?? 0
    try checkRoom(count, "aliases")
  }

  static func remove(_ db: Database, alias: String, of model: String) throws {
    try db.execute(
      sql: "DELETE FROM model_aliases WHERE model = ? AND alias = ?", arguments: [model, alias])
  }

  private static func checkRoom(_ count: Int, _ what: String) throws {
    guard count <= Limits.registryNotes else {
      throw PlatformError(
        .invalidArgument,
        "there may be at most \(Limits.registryNotes) \(what) on one model or version; delete some first"
      )
    }
  }

  // MARK: What is not there

  static func noModel(_ name: String) -> PlatformError {
    PlatformError(
      .notFound, "there is no registered model '\(name)'",
      context: [RegistryMissing.key: RegistryMissing.model.rawValue])
  }

  static func noVersion(_ model: String, _ version: Int64, known: [Int64]) -> PlatformError {
    let list = known.prefix(12).map(String.init).joined(separator: ", ")
    return PlatformError(
      .notFound,
      known.isEmpty
        ? "model '\(model)' has no version \(version): it has none yet"
        : "model '\(model)' has no version \(version); its versions are \(list)",
      context: [RegistryMissing.key: RegistryMissing.version.rawValue])
  }

  static func noAlias(
    _ model: String, _ alias: String, known: some Sequence<String>
  )
    -> PlatformError
  {
    PlatformError(
      .notFound, "model '\(model)' has no alias '\(alias)'\(suggestion(for: alias, among: known))",
      context: [RegistryMissing.key: RegistryMissing.alias.rawValue])
  }
}

/// What a `not_found` of the registry is about, for transports that word it in their own way.
package enum RegistryMissing: String, Sendable {
  case model, version, alias

  static let key = "missing"

  package init?(_ error: PlatformError) {
    guard error.code == .notFound, let text = error.context[Self.key] else { return nil }
    self.init(rawValue: text)
  }
}
