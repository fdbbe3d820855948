import Core

/// Which part of a source's history is wanted.
package struct HistoryRequest: Sendable {
  package var source: SourceDefinition
  /// Columns of the source, without repeats.
  package var columns: [String]
  /// Whether to tell absent cells from null ones.
  package var withAbsent: Bool
  /// Bounds of event_timestamp, both inside.
  package var from: Timestamp?
  package var through: Timestamp
  /// The last created_at that is wanted.
  package var knownThrough: Timestamp?
  /// The last sequence that is wanted.
  package var throughSequence: Int64?
  /// The last recomputation of transform columns that counts; nil is all of them.
  package var recomputed: Int64?
}

/// Reads the events of a source once, in batches, in no particular order.
///
/// Batches have the wanted columns and `event_timestamp`, `created_at` and `sequence`. Where
/// absence is asked for, cells that their records
/// did not have are absent; else they are null.
package struct HistoryScan: Sendable {
  package typealias Body = @Sendable (borrowing ColumnBatch) throws -> Void

  /// Whether some wanted event does not have all of the wanted columns.
  package var hasAbsentCells: @Sendable (HistoryRequest) async throws -> Bool
  package var stream: @Sendable (HistoryRequest, @escaping Body) async throws -> Void
  /// The recomputations of transform columns of some sources that are in force, in their order.
  package var recomputations: @Sendable ([String]) async throws -> [Recomputation]

  package init(
    hasAbsentCells: @escaping @Sendable (HistoryRequest) async throws -> Bool,
    stream: @escaping @Sendable (HistoryRequest, @escaping Body) async throws -> Void,
    recomputations: @escaping @Sendable ([String]) async throws -> [Recomputation] = { _ in [] }
  ) {
    self.hasAbsentCells = hasAbsentCells
    self.stream = stream
    self.recomputations = recomputations
  }

  /// The history that is stored in a warehouse, in the tables `events_<source>`.
  package init(_ warehouse: any Warehouse) {
    recomputations = { try await Recomputations(warehouse: warehouse).inForce(of: $0) }
    hasAbsentCells = { try await HistoryScan.hasAbsentCells($0, in: warehouse) }
    stream = { request, body in
      let (condition, parameters) = request.condition
      let absence = request.withAbsent ? try await AbsenceMap(request.source, in: warehouse) : nil
      let names =
        request.columns + ["event_timestamp", "created_at", "sequence"]
        + (request.withAbsent ? ["absent"] : [])
      let table = try await request.table(in: warehouse)
      // The product with one row frees DuckDB from the order in which rows were inserted, which no caller needs and which
      // has one core wait for the other.
      let sql =
        "SELECT \(names.map(quoted).joined(separator: ", ")) FROM \(table) "
        + "CROSS JOIN (VALUES (1)) AS in_any_order(one) WHERE "
      try await warehouse.stream(sql + condition, parameters) { batch in
        guard let absence, let bitmaps = batch["absent"],
          case .int64(let sequences)? = batch["sequence"]?.values
        else { return try body(batch) }
        var marked = copy batch
        absence.mark(&marked.columns, bitmaps: bitmaps, sequences: sequences)
        try body(marked)
      }
    }
  }

  private static func hasAbsentCells(
    _ request: HistoryRequest, in warehouse: any Warehouse
  ) async throws -> Bool {
    let found = HistoryFlag()
    try await warehouse.stream(
      "SELECT name FROM event_columns WHERE source = ? AND since > ?",
      [.string(request.source.name), .int64(.min)]
    ) { batch in
      for row in 0..<batch.count {
        if case .string(let name) = batch.columns[0][row], request.columns.contains(name) {
          found.raise()
        }
      }
    }
    if found.isRaised { return true }
    let (condition, parameters) = request.condition
    let table = try await request.table(in: warehouse)
    try await warehouse.stream(
      "SELECT 1 FROM \(table) WHERE absent IS NOT NULL AND \(condition) LIMIT 1", parameters
    ) { batch in
      if batch.count > 0 { found.raise() }
    }
    return found.isRaised
  }
}

extension HistoryRequest {
  fileprivate func table(in warehouse: any Warehouse) async throws -> String {
    try await StoredCells(of: source.name, asOf: recomputed, in: warehouse).table
  }

  fileprivate var condition: (sql: String, parameters: [Value]) {
    var sql = "event_timestamp <= ?"
    var parameters: [Value] = [.timestamp(through)]
    if let from {
      sql += " AND event_timestamp >= ?"
      parameters.append(.timestamp(from))
    }
    if let knownThrough {
      sql += " AND created_at <= ?"
      parameters.append(.timestamp(knownThrough))
    }
    if let throughSequence {
      sql += " AND sequence <= ?"
      parameters.append(.int64(throughSequence))
    }
    return (sql, parameters)
  }
}

/// A name as SQL takes it, whatever characters it has.
func quoted(_ name: String) -> String {
  "\"" + name.replacing("\"", with: "\"\"") + "\""
}
