import Core

/// The entity key that is erased.
package struct ErasureSubject: Sendable, Equatable {
  package var entity: String
  package var columns: [String]
  package var key: EntityKey

  /// Reads a key as a request names it: its parts in the order of the entity's columns, or by column name.
  package init(
    entity name: String, key json: JSON, project: ProjectDefinition
  ) throws(PlatformError) {
    guard let entity = project.entity(name) else {
      throw PlatformError(
        .notFound,
        "there is no entity '\(name)'\(suggestion(for: name, among: project.entities.map(\.name)))")
    }
    if entity.key.isEmpty {
      throw PlatformError(
        .invalidArgument,
        "entity '\(name)' has no key columns: every event is about it; erase a key of another entity, or give the source a retention"
      )
    }
    let given: [JSON]
    switch json {
    case .array(let parts): given = parts
    case .object(let members):
      if let unknown = members.first(where: { !entity.key.contains($0.key) }) {
        throw PlatformError(
          .invalidArgument,
          "'\(unknown.key)' is no key column of entity '\(name)'"
            + suggestion(for: unknown.key, among: entity.key))
      }
      given = entity.key.compactMap { json[$0] }
    default: given = [json]
    }
    guard given.count == entity.key.count else {
      throw PlatformError(
        .invalidArgument,
        "entity '\(name)' has the key (\(entity.key.joined(separator: ", "))); give a value for each"
      )
    }
    var parts: [Value] = []
    for (column, part) in zip(entity.key, given) {
      parts.append(try Self.part(part, of: column, in: project))
    }
    guard let key = EntityKey(parts) else {
      throw PlatformError(.invalidArgument, "no part of a key can be null")
    }
    self.entity = name
    columns = entity.key
    self.key = key
  }

  /// As stored while an erasure is under way.
  init(entity: String, columns: [String], key: EntityKey) {
    self.entity = entity
    self.columns = columns
    self.key = key
  }

  private static func part(
    _ json: JSON, of column: String, in project: ProjectDefinition
  ) throws(PlatformError) -> Value {
    let type = project.sources.compactMap { $0.column(column)?.type }.first ?? .string
    let value: Value? =
      switch (json, type) {
      case (.int(let number), .int64): .int64(number)
      case (.string(let text), .int64): Int64(text).map { .int64($0) }
      case (.string(let text), .string): .string(text)
      case (.int(let number), .string): .string(String(number))
      default: nil
      }
    guard let value else {
      throw PlatformError(
        .invalidArgument,
        "key column '\(column)' is \(type.rawValue); the value that was given is not one")
    }
    return value
  }

  /// Each part as text.
  var texts: [String] {
    key.parts.map { part in
      switch part {
      case .int64(let number): String(number)
      case .string(let text): text
      }
    }
  }

  /// An SQL condition on a column of JSON objects: that all key columns have these values, as text or as numbers.
  package func isNamed(in column: String) -> (sql: String, parameters: [Value]) {
    let parts = columns.map { name in
      "json_extract_string(\(column), '$.\"\(name.replacing("'", with: "''"))\"') = ?"
    }
    return (
      "CASE WHEN json_valid(\(column)) THEN \(parts.joined(separator: " AND ")) ELSE false END",
      texts.map { .string($0) }
    )
  }
}

/// A place that holds something of entity keys beside the event tables and the online state.
///
/// Whatever comes to keep keys (saved training sets, say) is one more of these, in the list of the composition root.
package protocol ErasureTarget: Sendable {
  /// What the receipt calls it.
  var name: String { get }
  /// Removes the key; may be called again after a crash. Returns how many rows went.
  func erase(_ subject: ErasureSubject) async throws -> Int
}
