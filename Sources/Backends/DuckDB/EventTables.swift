import Core

/// The event tables as the writer knows them, kept so that an append needs no look into the catalog.
struct EventTables {
  private(set) var tables: [String: EventTable] = [:]
  private var types: [String: [String: ColumnType]] = [:]

  private struct Row: Decodable {
    var source: String
    var name: String
    var position: Int
    var type: ColumnType
    var since: Int64
  }

  /// Of a database without event tables.
  init() {}

  /// Reads what the database has.
  init(_ connection: DuckDBConnection) throws {
    let rows = try connection.query(
      "SELECT source, name, position, type, since FROM event_columns ORDER BY source, position",
      as: Row.self)
    for row in rows {
      let column = EventTable.Column(name: row.name, position: row.position, since: row.since)
      tables[row.source, default: EventTable(source: row.source, columns: [])].columns.append(
        column)
      types[row.source, default: [:]][row.name] = row.type
    }
    // A source without columns of its own still has a table.
    let bare = try connection.query(
      "SELECT table_name FROM duckdb_tables() WHERE table_name LIKE 'events\\_%' ESCAPE '\\'",
      as: String.self)
    for name in bare {
      let source = String(name.dropFirst("events_".count))
      if tables[source] == nil { tables[source] = EventTable(source: source, columns: []) }
    }
  }

  func table(of source: String) throws -> EventTable {
    guard let table = tables[source] else {
      throw PlatformError(
        .failedPrecondition,
        "The warehouse has no table for source '\(source)'; apply the definitions first.")
    }
    return table
  }

  /// Creates or widens the table of a source; run inside a transaction.
  mutating func prepare(_ source: SourceDefinition, on connection: DuckDBConnection) throws {
    try refuse(source)
    let name = EventTable.quoted(EventTable.name(for: source.name))
    if tables[source.name] == nil {
      let declared = source.columns.map {
        "\(EventTable.quoted($0.name)) \(Self.sqlType($0.type)), "
      }
      try connection.run(
        "CREATE TABLE \(name) (\(declared.joined())event_timestamp TIMESTAMP NOT NULL, "
          + "created_at TIMESTAMP NOT NULL, event_id VARCHAR NOT NULL, sequence BIGINT NOT NULL, absent BLOB)",
        doing: "Creating the table of source '\(source.name)'")
      tables[source.name] = EventTable(source: source.name, columns: [])
      for column in source.columns {
        try add(column, to: source.name, since: .min, on: connection)
      }
      return
    }
    let known = types[source.name] ?? [:]
    for column in source.columns where known[column.name].map({ $0 != column.type }) ?? false {
      try retype(column, of: source.name, on: connection)
    }
    let new = source.columns.filter { known[$0.name] == nil }
    guard !new.isEmpty else { return }
    let newest = try connection.query("SELECT max(sequence) FROM \(name)", as: Int64?.self)
    for column in new {
      try connection.run(
        "ALTER TABLE \(name) ADD COLUMN \(EventTable.quoted(column.name)) \(Self.sqlType(column.type))",
        doing: "Adding column '\(column.name)' to source '\(source.name)'")
      try add(column, to: source.name, since: (newest.first ?? nil) ?? .min, on: connection)
    }
  }

  private func refuse(_ source: SourceDefinition) throws {
    for column in source.columns where EventTable.platformColumns.contains(column.name) {
      throw PlatformError(
        .invalidArgument,
        "Source '\(source.name)': the column name '\(column.name)' belongs to the platform; choose another."
      )
    }
  }

  /// Gives a column another type, which only the column of a table without events can have.
  private mutating func retype(
    _ column: ColumnDefinition, of source: String, on connection: DuckDBConnection
  ) throws {
    let table = EventTable.quoted(EventTable.name(for: source))
    let events = try connection.query("SELECT count(*) FROM \(table)", as: Int.self).first ?? 0
    guard events == 0 else {
      throw PlatformError(
        .failedPrecondition,
        "Source '\(source)': column '\(column.name)' is stored as \(types[source]?[column.name]?.rawValue ?? "another type") "
          + "in \(events) events and cannot become \(column.type.rawValue). Keep its type, or declare a column of another name."
      )
    }
    let type = Self.sqlType(column.type)
    try connection.run(
      "ALTER TABLE \(table) ALTER COLUMN \(EventTable.quoted(column.name)) SET DATA TYPE \(type) USING NULL::\(type)",
      doing: "Changing the type of column '\(column.name)' of source '\(source)'")
    try connection.execute(
      "UPDATE event_columns SET type = ? WHERE source = ? AND name = ?",
      [.string(column.type.rawValue), .string(source), .string(column.name)])
    types[source]?[column.name] = column.type
  }

  private mutating func add(
    _ column: ColumnDefinition, to source: String, since: Int64, on connection: DuckDBConnection
  ) throws {
    let position = tables[source]?.columns.count ?? 0
    try connection.execute(
      "INSERT INTO event_columns VALUES (?, ?, ?, ?, ?)",
      [
        .string(source), .string(column.name), .int64(Int64(position)),
        .string(column.type.rawValue),
        .int64(since),
      ])
    tables[source]?.columns.append(
      EventTable.Column(name: column.name, position: position, since: since))
    types[source, default: [:]][column.name] = column.type
  }

  static func sqlType(_ type: ColumnType) -> String {
    switch type {
    case .bool: "BOOLEAN"
    case .int64: "BIGINT"
    case .double: "DOUBLE"
    case .string: "VARCHAR"
    case .timestamp: "TIMESTAMP"
    case .array(let element, let length):
      "\(sqlType(ColumnType(element)))[\(length.map { "\($0)" } ?? "")]"
    }
  }
}

extension EventTables {
  /// The statement that makes `features_table`: every observation of every latest-value column, in one long table.
  ///
  /// `value` is the number (true is 1, a time is its seconds since the epoch), `value_text` the cell as text.
  func featuresView(_ layouts: [ViewLayout]) -> String {
    var parts: [String] = []
    for layout in layouts {
      guard let table = tables[layout.source] else { continue }
      let key =
        layout.keyColumns.isEmpty
        ? "''" : layout.keyColumns.map(Self.keyPart).joined(separator: " || '|' || ")
      let hasKey = layout.keyColumns.map { "AND \(EventTable.quoted($0)) IS NOT NULL" }
      for (name, _, reader) in layout.readers {
        guard case .latest(let index, _) = reader, layout.latestColumns.indices.contains(index)
        else { continue }
        let column = layout.latestColumns[index]
        guard table.columns.contains(where: { $0.name == column.name }) else { continue }
        let cell = EventTable.quoted(column.name)
        let feature = "\(layout.view).\(name)".replacing("'", with: "''")
        parts.append(
          """
          SELECT \(key) AS entity_id, '\(feature)' AS feature_name, \(Self.number(cell, column.type)) AS value, \
          CAST(\(cell) AS VARCHAR) AS value_text, event_timestamp, created_at \
          FROM \(EventTable.quoted(EventTable.name(for: layout.source))) WHERE NOT \(table.isAbsent(column.name)) \
          \(hasKey.joined(separator: " "))
          """)
      }
    }
    if parts.isEmpty {
      parts = [
        "SELECT NULL::VARCHAR AS entity_id, NULL::VARCHAR AS feature_name, NULL::DOUBLE AS value, "
          + "NULL::VARCHAR AS value_text, NULL::TIMESTAMP AS event_timestamp, NULL::TIMESTAMP AS created_at WHERE false"
      ]
    }
    return "CREATE OR REPLACE VIEW features_table AS " + parts.joined(separator: " UNION ALL ")
  }

  /// As `EntityKey` writes it: `|` and `\` inside a part have a `\` before them.
  private static func keyPart(_ column: String) -> String {
    "replace(replace(CAST(\(EventTable.quoted(column)) AS VARCHAR), '\\', '\\\\'), '|', '\\|')"
  }

  private static func number(_ cell: String, _ type: ColumnType) -> String {
    switch type {
    case .bool, .int64, .double: "CAST(\(cell) AS DOUBLE)"
    case .string, .array: "NULL::DOUBLE"
    case .timestamp: "epoch_us(\(cell)) / 1e6"
    }
  }
}
