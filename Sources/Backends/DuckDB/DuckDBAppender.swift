import Core

/// The appends of one transaction: a chunk writer per table, each handed over when `finish` is called.
final class DuckDBAppender: WarehouseAppender {
  private let connection: DuckDBConnection
  private let tables: EventTables
  private let now: Timestamp
  private let check: () throws -> Void
  private var writers: [Target: ChunkWriter] = [:]

  private struct Target: Hashable {
    var table: String
    var columns: [String]
  }

  /// - Parameter check: throws when the transaction is no longer wanted; called before every append.
  init(
    _ connection: DuckDBConnection, tables: EventTables, now: Timestamp,
    check: @escaping () throws -> Void
  ) {
    self.connection = connection
    self.tables = tables
    self.now = now
    self.check = check
  }

  func append(_ events: EventBatch) throws {
    let table = try tables.table(of: events.source)
    var columns: [ColumnCells] = []
    var names: [String] = []
    for known in table.columns {
      guard let column = events[known.name] else { continue }
      names.append(known.name)
      columns.append(.column(column))
    }
    for column in events.columns where !names.contains(column.name) {
      throw PlatformError(
        .failedPrecondition,
        "Source '\(events.source)' has no column '\(column.name)' in the warehouse; apply the definitions first."
      )
    }
    names += EventTable.platformColumns
    columns += [
      .timestamps(events.eventTimestamps), .timestamps(events.createdAt),
      .strings(events.eventIDs), .int64(events.sequences), absence(of: events, in: table),
    ]
    try append(columns, names, count: events.count, to: EventTable.name(for: events.source))
  }

  func append(_ records: [QuarantinedRecord], at time: Timestamp?) throws {
    try noteReasons(records.filter { $0.replayOf != nil })
    let new = records.filter { $0.replayOf == nil }
    var columns: [ColumnCells] = [
      .strings(new.map(\.source)), .strings(new.map(\.record)), .strings(new.map(\.reason)),
      .strings(new.map(\.kind.rawValue)), .strings(new.map(\.position)),
      .strings(new.map(\.eventID)),
      .timestamps([Int64](repeating: (time ?? now).microseconds, count: new.count)),
    ]
    var names = ["source", "record", "reason", "kind", "position", "event_id", "quarantined_at"]
    if new.contains(where: { $0.raw != nil }) {
      columns.append(.blobs(new.map(\.raw)))
      names.append("raw")
    }
    try append(columns, names, count: new.count, to: "quarantine")
  }

  /// Gives records that were tried again their new reasons, many in one statement.
  private func noteReasons(_ records: [QuarantinedRecord]) throws {
    for start in stride(from: 0, to: records.count, by: Self.rowsAtOnce) {
      let some = records[start..<min(start + Self.rowsAtOnce, records.count)]
      let rows = some.map { _ in "(?::BIGINT, ?, ?)" }.joined(separator: ", ")
      try execute(
        "UPDATE quarantine SET reason = n.reason, kind = n.kind, attempts = attempts + 1 "
          + "FROM (VALUES \(rows)) AS n(id, reason, kind) WHERE quarantine.id = n.id",
        some.flatMap { record -> [Value] in
          [.int64(record.replayOf ?? 0), .string(record.reason), .string(record.kind.rawValue)]
        })
    }
  }

  private static let rowsAtOnce = 500

  /// Notes that the events of quarantined records are stored.
  func settle(_ replayed: [Int64], at time: Timestamp?) throws {
    guard !replayed.isEmpty else { return }
    try execute(
      "UPDATE quarantine SET status = 'replayed', settled_at = ?, attempts = attempts + 1 "
        + "WHERE id IN (\(replayed.map(String.init).joined(separator: ", ")))",
      [.timestamp(time ?? now)])
  }

  @discardableResult
  func execute(_ sql: String, _ parameters: [Value]) throws -> Int {
    try check()
    return try connection.execute(sql, parameters)
  }

  func query(_ sql: String, _ parameters: [Value]) throws -> ColumnBatch {
    try check()
    var found = ColumnBatch(columns: [])
    try connection.stream(sql, parameters) { found.append(contentsOf: $0) }
    return found
  }

  func append(_ batch: ColumnBatch, to table: String) throws {
    try append(
      batch.columns.map { .column($0) }, batch.columns.map(\.name), count: batch.count, to: table)
  }

  /// Hands the rows of all tables over to the transaction.
  func finish() throws {
    for writer in writers.values { try writer.finish() }
    writers = [:]
  }

  private func append(
    _ columns: [ColumnCells], _ names: [String], count: Int, to table: String
  )
    throws
  {
    try check()
    guard count > 0 else { return }
    let target = Target(table: table, columns: names)
    let writer: ChunkWriter
    if let open = writers[target] {
      writer = open
    } else {
      writer = try ChunkWriter(table: table, columns: names, on: connection)
      writers[target] = writer
    }
    try writer.append(columns, count: count)
  }

  /// The bitmaps of cells that the records did not have, by the table's column positions.
  private func absence(of events: EventBatch, in table: EventTable) -> ColumnCells {
    var everywhere = [UInt8](repeating: 0, count: (table.columns.count + 7) / 8)
    var somewhere: [(position: Int, presence: [UInt8])] = []
    for known in table.columns {
      guard let column = events[known.name] else {
        everywhere[known.position / 8] |= 1 << (known.position % 8)
        continue
      }
      if let presence = column.presence, presence.contains(Presence.absent.rawValue) {
        somewhere.append((known.position, presence))
      }
    }
    let always = everywhere.contains { $0 != 0 }
    if !always && somewhere.isEmpty { return .noBlobs }
    return .blobs(
      (0..<events.count).map { row in
        var bits = everywhere
        var any = always
        for (position, presence) in somewhere where presence[row] == Presence.absent.rawValue {
          bits[position / 8] |= 1 << (position % 8)
          any = true
        }
        return any ? bits : nil
      })
  }
}
