import Core
import Synchronization

/// Reads a spine from a Parquet or CSV file.
///
/// Key columns come in the types that sources declare, the time column as instants; all other
/// columns pass through as they are (text
/// in CSV). A time needs a zone: an offset or `Z` in text, UTC-adjusted in Parquet; times without
/// one are read in `zone`, and refused
/// where none is given.
package struct SpineReader: Sendable {
  /// Rows that a spine may have: they are held in memory.
  package static let maximumRows = 20_000_000

  private let warehouse: any Warehouse
  private let files: any FileReader

  /// - Parameters:
  ///   - warehouse: reads Parquet, whose columns keep their types.
  ///   - files: reads CSV, and refuses a damaged line by its number.
  package init(warehouse: any Warehouse, files: any FileReader) {
    self.warehouse = warehouse
    self.files = files
  }

  /// - Parameters:
  ///   - name: what messages call the file, which may lie under a name that its owner has never seen.
  ///   - time: the name of the time column.
  ///   - features: what will be joined to it; their entities' keys tell the types.
  ///   - zone: the IANA zone of times without one.
  /// - Throws: `.invalidArgument` that names the column and the row at fault.
  package func read(
    _ path: String, called name: String = "the spine", format: FileFormat, time: String,
    features: [FeatureName], snapshot: Snapshot, zone: String? = nil
  ) async throws -> ColumnBatch {
    do {
      switch format {
      case .csv:
        let text = "read_csv(\(path.sqlLiteral), all_varchar = true, header = true)"
        return try typed(
          try await joined(try await readText(path, name), of: text), name, localTimes: [],
          isText: true, time, features, snapshot, zone)
      case .parquet:
        let table = "read_parquet(\(path.sqlLiteral))"
        let localTimes = try await localTimes(in: table)
        return try typed(
          try await joined(try await readTable(table, name), of: table), name,
          localTimes: localTimes, isText: false, time, features, snapshot, zone)
      case .jsonl:
        throw PlatformError(
          .invalidArgument, "a spine is a Parquet or CSV file, \(name) is JSON lines; convert it")
      }
    } catch let error as PlatformError {
      throw error.calling(path, name)
    }
  }

  /// The rows of a read-only query over the warehouse as a spine, in the order that it gives; its times are UTC, as all stored ones.
  ///
  /// - Throws: as `read` does, and what the query itself is refused with.
  package func read(
    sql: String, time: String, features: [FeatureName], snapshot: Snapshot
  ) async throws -> ColumnBatch {
    let name = "the spine's query"
    let batches = SpineBatches(name)
    do {
      try await warehouse.stream(sql, []) { try batches.append(copy $0) }
      return try typed(
        try await joined(batches.all, of: "(\(Self.single(sql))\n)"), name, localTimes: [],
        isText: false, time, features, snapshot, nil)
    } catch let error as PlatformError {
      throw error.calling("", name)
    }
  }

  /// All cells of a CSV file as text; a line that is no record ends the reading.
  private func readText(_ path: String, _ name: String) async throws -> [ColumnBatch] {
    let batches = SpineBatches(name)
    let request = FileRequest(path: path, format: .csv, columns: nil, displayName: name)
    try await files.read(request) { rows in
      if let reject = rows.rejects.first {
        throw PlatformError(
          .invalidArgument,
          "row \(reject.rowNumber) of \(name) is no record: \(reject.reason) Mend the row; a spine is read wholly or not at all."
        )
      }
      try batches.append(ColumnBatch(columns: rows.columns, count: rows.count))
    }
    return batches.all
  }

  private func readTable(_ table: String, _ name: String) async throws -> [ColumnBatch] {
    let batches = SpineBatches(name)
    try await warehouse.stream("SELECT * FROM \(table)", []) { try batches.append(copy $0) }
    return batches.all
  }

  /// A query without the semicolon at its end.
  private static func single(_ sql: String) -> String {
    var sql = Substring(sql)
    while let last = sql.last, last == ";" || last.isWhitespace { sql.removeLast() }
    return String(sql)
  }

  /// All rows; of a spine without any, its columns.
  private func joined(
    _ batches: [ColumnBatch], of relation: String
  ) async throws -> ColumnBatch {
    if let all = ColumnBatch(joining: batches), all.count > 0 { return all }
    let columns = Mutex<[Column]>([])
    // One row of nulls has the types of the columns.
    try await warehouse.stream(
      "SELECT s.* FROM (SELECT 1) LEFT JOIN \(relation) AS s ON true LIMIT 1", []
    ) { batch in
      let empty = batch.columns.map { $0.gather([]) }
      columns.withLock { $0 = empty }
    }
    return ColumnBatch(columns: columns.withLock { $0 }, count: 0)
  }

  private func typed(
    _ batch: ColumnBatch, _ name: String, localTimes: Set<String>, isText: Bool, _ time: String,
    _ features: [FeatureName], _ snapshot: Snapshot, _ zone: String?
  ) throws -> ColumnBatch {
    var spine = batch
    guard let index = spine.columns.firstIndex(where: { $0.name == time }) else {
      // Whoever joins it says so, with the nearest name.
      return spine
    }
    spine.columns[index] = try instants(
      spine.columns[index], isLocal: localTimes.contains(time), zone: zone, file: name)
    for (key, type) in try keyTypes(features, snapshot) where type == .int64 && isText {
      guard let index = spine.columns.firstIndex(where: { $0.name == key }) else { continue }
      spine.columns[index] = try wholeNumbers(spine.columns[index], file: name)
    }
    return spine
  }

  /// Columns whose times have no zone.
  private func localTimes(in table: String) async throws -> Set<String> {
    let found = Mutex<Set<String>>([])
    try await warehouse.stream(
      "SELECT column_name, column_type FROM (DESCRIBE SELECT * FROM \(table))", []
    ) {
      batch in
      for row in 0..<batch.count {
        guard case .string(let name) = batch.columns[0][row],
          case .string(let type) = batch.columns[1][row]
        else { continue }
        let isLocal =
          type == "DATE" || (type.hasPrefix("TIMESTAMP") && !type.hasSuffix("WITH TIME ZONE"))
        if isLocal { found.withLock { _ = $0.insert(name) } }
      }
    }
    return found.withLock { $0 }
  }

  private func keyTypes(
    _ features: [FeatureName], _ snapshot: Snapshot
  ) throws -> [String: ColumnType] {
    var types: [String: ColumnType] = [:]
    for view in try PointInTimeJoinPlan(features, snapshot: snapshot).views {
      for (name, type) in zip(view.layout.keyColumns, view.layout.keyTypes) { types[name] = type }
    }
    return types
  }

  private func instants(
    _ column: Column, isLocal: Bool, zone: String?, file: String
  ) throws -> Column {
    let offsets = try zone.map { zone in
      guard let offsets = ZoneOffsets.of(zone) else {
        throw PlatformError(
          .invalidArgument, "unknown zone '\(zone)'; write an IANA name such as America/New_York")
      }
      return offsets
    }
    func withoutZone(_ row: Int) -> PlatformError {
      PlatformError(
        .invalidArgument,
        "\(file): the time in column '\(column.name)', row \(row + 1), has no zone; write it with Z or an offset, or give the zone"
      )
    }
    switch column.values {
    case .timestamp(let all):
      guard isLocal else { return column }
      guard var reader = offsets?.reader() else { throw withoutZone(0) }
      return Column(
        name: column.name,
        values: .timestamp(
          all.map { Timestamp.bounds.contains($0) ? reader.instant(ofLocal: $0) : $0 }),
        presence: column.presence)
    case .string(let all):
      var reader = offsets?.reader()
      let times = try all.indices.map { row -> Int64 in
        guard column.isPresent(row) else { return 0 }
        if case .success(let time) = Timestamp.parse(all[row]) { return time.microseconds }
        guard case .success(let local) = Timestamp.parse(all[row], allowLocal: true) else {
          throw PlatformError(
            .invalidArgument,
            "\(file): '\(all[row])' in column '\(column.name)', row \(row + 1), is not a time; write it as in 2026-01-31T12:00:00Z"
          )
        }
        guard let time = reader?.instant(ofLocal: local.microseconds) else {
          throw withoutZone(row)
        }
        return time
      }
      return Column(name: column.name, values: .timestamp(times), presence: column.presence)
    default: return column
    }
  }

  private func wholeNumbers(_ column: Column, file: String) throws -> Column {
    guard case .string(let all) = column.values else { return column }
    let numbers = try all.indices.map { row -> Int64 in
      guard column.isPresent(row) else { return 0 }
      guard let number = Int64(all[row]) else {
        throw PlatformError(
          .invalidArgument,
          "\(file): '\(all[row])' in key column '\(column.name)', row \(row + 1), is not a whole number"
        )
      }
      return number
    }
    return Column(name: column.name, values: .int64(numbers), presence: column.presence)
  }
}

extension PlatformError {
  /// The same error as a fault of the request, with a file's path replaced by the name that its owner knows.
  fileprivate func calling(_ path: String, _ name: String) -> PlatformError {
    var error = self
    if error.code == .invalidRecord { error.code = .invalidArgument }
    // The excerpt of a query of ours that DuckDB ends its messages with tells the caller nothing.
    let end = message.firstRange(of: "\n\nLINE 1:")?.lowerBound ?? message.endIndex
    error.message = String(message[..<end])
    if path.isEmpty { return error }
    error.message = error.message.replacing(path, with: name)
    error.cause = cause?.replacing(path, with: name)
    return error
  }
}
