import Core

/// The table `recomputations` and the tables that go with its rows.
struct Recomputations: Sendable {
  let warehouse: any Warehouse

  private static let selected =
    "SELECT number, source, job, transform, digest, made, columns, first_event, end_event, "
    + "through_sequence AS through, staged_through AS staged, rows, failed, in_force_since "
    + "FROM recomputations"

  /// Those in force, in the order in which they came; nil is of every source.
  func inForce(of sources: [String]? = nil) async throws -> [Recomputation] {
    let all = try await warehouse.query(
      Self.selected + " WHERE in_force_since IS NOT NULL ORDER BY number", as: Recomputation.self)
    return all.filter { sources?.contains($0.source) ?? true }
  }

  /// Those that are being made or were given up.
  func unfinished() async throws -> [Recomputation] {
    try await warehouse.query(
      Self.selected + " WHERE in_force_since IS NULL ORDER BY number", as: Recomputation.self)
  }

  /// Makes room for what will be staged; `draft` gets its number.
  func begin(_ draft: Recomputation, of source: SourceDefinition) async throws -> Recomputation {
    var made = draft
    let last = try await warehouse.query(
      "SELECT coalesce(max(number), 0) FROM recomputations", as: Int64.self)
    made.number = (last.first ?? 0) + 1
    let columns = source.columns.map { ", \(EventTable.quoted($0.name))" }.joined()
    let begun = made
    try await warehouse.transaction { appender in
      try appender.execute(
        "CREATE TABLE \(begun.stagedTable) AS SELECT sequence, false AS kept, ''::VARCHAR AS absent, "
          + "''::VARCHAR AS absent_before\(columns) "
          + "FROM \(EventTable.quoted(EventTable.name(for: source.name))) LIMIT 0", [])
      try appender.execute(
        "INSERT INTO recomputations VALUES (?, ?, ?, ?, ?, '[]', '[]', ?, ?, ?, ?, 0, 0, NULL)",
        [
          .int64(begun.number), .string(begun.source), .string(begun.job),
          .string(begun.version.transform), .string(begun.version.digest),
          begun.from.map { .timestamp($0) } ?? .null, begun.to.map { .timestamp($0) } ?? .null,
          .int64(begun.through), .int64(begun.staged),
        ])
    }
    return made
  }

  /// Stores a part of the cells together with how far it goes.
  func stage(_ rows: ColumnBatch, _ state: Recomputation) async throws {
    try await warehouse.transaction { appender in
      try appender.append(rows, to: state.stagedTable)
      try appender.execute(
        "UPDATE recomputations SET made = ?, columns = ?, staged_through = ?, rows = ?, failed = ? "
          + "WHERE number = ?",
        [
          .string(ColumnList.text(state.version.columns ?? [])),
          .string(ColumnList.text(state.columns)), .int64(state.staged), .int64(state.rows),
          .int64(state.failed), .int64(state.number),
        ])
    }
  }

  /// Puts the staged cells in force, what was there beside them, and in the same transaction the states that are made of them.
  ///
  /// - Parameter storages: the stored views of the new states.
  func finish(_ one: Recomputation, storages: [String], at time: Timestamp) async throws {
    let events = EventTable.quoted(EventTable.name(for: one.source))
    let columns = one.columns.map(EventTable.quoted)
    let (staged, replaced) = (one.stagedTable, one.replacedTable)
    try await warehouse.transaction { appender in
      // Also where the events were erased or dropped meanwhile: only what is still there is taken.
      try appender.execute(
        "CREATE TABLE \(replaced) AS SELECT e.sequence, unhex(s.absent_before) AS absent"
          + columns.map { ", e.\($0)" }.joined()
          + " FROM \(events) AS e JOIN \(staged) AS s ON s.sequence = e.sequence WHERE NOT s.kept",
        [])
      try appender.execute(
        "UPDATE \(events) SET absent = unhex(s.absent)"
          + columns.map { ", \($0) = s.\($0)" }.joined()
          + " FROM \(staged) AS s WHERE s.sequence = \(events).sequence AND NOT s.kept", [])
      try appender.execute(
        "UPDATE \(events) SET absent = unhex(s.absent) FROM \(staged) AS s "
          + "WHERE s.sequence = \(events).sequence AND s.kept", [])
      for name in one.version.columns ?? [] {
        try appender.execute(
          "UPDATE event_columns SET since = ? WHERE source = ? AND name = ?",
          [.int64(.min), .string(one.source), .string(name)])
      }
      try appender.execute("DROP TABLE \(staged)", [])
      try appender.execute(
        "UPDATE recomputations SET in_force_since = ? WHERE number = ?",
        [.timestamp(time), .int64(one.number)])
      for storage in storages {
        try appender.execute(
          "UPDATE view_builds SET state = 'done', changed_at = ? WHERE storage = ?",
          [.timestamp(time), .string(storage)])
      }
    }
  }

  /// Removes what one that is not in force has left.
  func abandon(_ one: Recomputation) async throws {
    try await warehouse.transaction { appender in
      try appender.execute("DROP TABLE IF EXISTS \(one.stagedTable)", [])
      try appender.execute(
        "DELETE FROM recomputations WHERE number = ? AND in_force_since IS NULL",
        [.int64(one.number)])
    }
  }

  /// Removes cells of events that are about to be deleted; to be called in the transaction that deletes.
  static func forget(
    _ condition: String, _ parameters: [Value], of source: String,
    on appender: any WarehouseAppender
  ) throws {
    let found = try appender.query(
      "SELECT number, in_force_since IS NULL AS staged FROM recomputations WHERE source = ?",
      [.string(source)])
    for row in 0..<found.count {
      guard case .int64(let number) = found.columns[0][row] else { continue }
      let table =
        found.columns[1][row] == .bool(true)
        ? Recomputation.stagedTable(number) : Recomputation.replacedTable(number)
      try appender.execute(
        "DELETE FROM \(table) WHERE sequence IN (SELECT sequence FROM "
          + "\(EventTable.quoted(EventTable.name(for: source))) WHERE \(condition))", parameters)
    }
  }
}
