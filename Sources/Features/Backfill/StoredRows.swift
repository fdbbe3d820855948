import Core
import Synchronization

/// Stored events of one source with every column that it declares, and what tells their raw cells from made ones.
package struct StoredRows: Sendable {
  var sequences: [Int64]
  var eventIDs: [String]
  var eventTimestamps: [Int64]
  /// In the order of the source's definition, with absent cells marked.
  var columns: [Column]
  /// In hexadecimal; empty for a record that had every column.
  var bitmaps: [String]
  /// By earlier recomputation, whether it wrote the event's cells.
  var recomputed: [[Bool]]

  var count: Int { sequences.count }

  /// Reads what `StoredRows.query` selects.
  package init(
    _ batch: ColumnBatch, source: SourceDefinition, earlier: Int, absence: AbsenceMap
  ) throws {
    let cells = source.columns.count
    guard batch.columns.count == cells + 4 + earlier,
      case .int64(let sequences) = batch.columns[0].values,
      case .string(let ids) = batch.columns[1].values,
      case .timestamp(let times) = batch.columns[3].values
    else {
      throw PlatformError(
        .storage, "the table of source '\(source.name)' is not as it was made; see `martlet doctor`"
      )
    }
    self.sequences = sequences
    eventIDs = ids
    eventTimestamps = times
    columns = Array(batch.columns[4..<(4 + cells)])
    for (index, column) in source.columns.enumerated() { columns[index].name = column.name }
    absence.mark(&columns, bitmaps: batch.columns[2], sequences: sequences)
    var bitmaps = [String](repeating: "", count: sequences.count)
    if case .string(let texts) = batch.columns[2].values {
      for row in texts.indices where batch.columns[2].isPresent(row) { bitmaps[row] = texts[row] }
    }
    self.bitmaps = bitmaps
    recomputed = batch.columns[(4 + cells)...].map { column in
      if case .bool(let flags) = column.values { return flags }
      return [Bool](repeating: false, count: sequences.count)
    }
  }

  /// The events that meet a condition, in their order.
  static func read(
    _ source: SourceDefinition, earlier: [Recomputation], condition: String, _ parameters: [Value],
    in warehouse: any Warehouse
  ) async throws -> StoredRows {
    let found = Mutex(ColumnBatch(columns: []))
    try await warehouse.stream(
      query(source, earlier: earlier, condition: condition), parameters
    ) { batch in
      let batch = copy batch
      found.withLock { $0.append(contentsOf: batch) }
    }
    let all = found.withLock { $0 }
    if all.columns.isEmpty { return StoredRows(emptyOf: source) }
    return try await StoredRows(
      all, source: source, earlier: earlier.count,
      absence: AbsenceMap(source, in: warehouse))
  }

  private init(emptyOf source: SourceDefinition) {
    (sequences, eventIDs, eventTimestamps, bitmaps, recomputed) = ([], [], [], [], [])
    columns = source.columns.map { Column(name: $0.name, values: ColumnValues(empty: $0.type)) }
  }

  private static func query(
    _ source: SourceDefinition, earlier: [Recomputation], condition: String
  ) -> String {
    let cells = source.columns.map { ", e.\(EventTable.quoted($0.name))" }.joined()
    let flags = earlier.indices.map { ", (r\($0).sequence IS NOT NULL) AS was\($0)" }.joined()
    let joins = earlier.enumerated().map { index, one in
      " LEFT JOIN \(one.replacedTable) AS r\(index) ON r\(index).sequence = e.sequence"
    }
    return "SELECT e.sequence, e.event_id, e.absent, e.event_timestamp\(cells)\(flags) "
      + "FROM \(EventTable.quoted(EventTable.name(for: source.name))) AS e\(joins.joined()) "
      + "WHERE \(condition) ORDER BY e.sequence"
  }

  func keeping(_ rows: [Int]) -> StoredRows {
    var kept = self
    kept.sequences = rows.map { sequences[$0] }
    kept.eventIDs = rows.map { eventIDs[$0] }
    kept.eventTimestamps = rows.map { eventTimestamps[$0] }
    kept.columns = columns.map { $0.gather(rows) }
    kept.bitmaps = rows.map { bitmaps[$0] }
    kept.recomputed = recomputed.map { flags in rows.map { flags[$0] } }
    return kept
  }
}
