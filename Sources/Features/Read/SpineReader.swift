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

  package init(warehouse: any Warehouse) { self.warehouse = warehouse }

  /// - Parameters:
  ///   - time: the name of the time column.
  ///   - features: what will be joined to it; their entities' keys tell the types.
  ///   - zone: the IANA zone of times without one.
  /// - Throws: `.invalidArgument` that names the column and the row at fault.
  package func read(
    _ path: String, format: FileFormat, time: String, features: [FeatureName], snapshot: Snapshot,
    zone: String? = nil
  ) async throws -> ColumnBatch {
    let table = try table(path, format)
    let isLocal = try await localTimes(in: table)
    let batches = Mutex<(all: [ColumnBatch], rows: Int)>(([], 0))
    try await warehouse.stream("SELECT * FROM \(table)", []) { batch in
      let batch = copy batch
      let rows = batches.withLock { batches in
        batches.all.append(batch)
        batches.rows += batch.count
        return batches.rows
      }
      guard rows <= SpineReader.maximumRows else {
        throw PlatformError(
          .invalidArgument,
          "the spine \(path) has more than \(SpineReader.maximumRows) rows; split it into several files"
        )
      }
    }
    guard var spine = ColumnBatch(joining: batches.withLock { $0.all }) else {
      throw PlatformError(.invalidArgument, "the spine \(path) has no rows; give it at least one")
    }
    guard let index = spine.columns.firstIndex(where: { $0.name == time }) else {
      // Whoever joins it says so, with the nearest name.
      return spine
    }
    spine.columns[index] = try instants(
      spine.columns[index], isLocal: isLocal.contains(time), zone: zone, path: path)
    for (name, type) in try keyTypes(features, snapshot) where type == .int64 && format == .csv {
      guard let index = spine.columns.firstIndex(where: { $0.name == name }) else { continue }
      spine.columns[index] = try wholeNumbers(spine.columns[index], path: path)
    }
    return spine
  }

  private func table(_ path: String, _ format: FileFormat) throws -> String {
    let text = path.sqlLiteral
    switch format {
    case .parquet: return "read_parquet(\(text))"
    case .csv: return "read_csv(\(text), header = true, all_varchar = true)"
    case .jsonl:
      throw PlatformError(
        .invalidArgument, "a spine is a Parquet or CSV file, \(path) is JSON lines; convert it")
    }
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
    _ column: Column, isLocal: Bool, zone: String?, path: String
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
        "\(path): the time in column '\(column.name)', row \(row + 1), has no zone; write it with Z or an offset, or give the zone"
      )
    }
    switch column.values {
    case .timestamp(let all):
      guard isLocal else { return column }
      guard var reader = offsets?.reader() else { throw withoutZone(0) }
      return Column(
        name: column.name, values: .timestamp(all.map { reader.instant(ofLocal: $0) }),
        presence: column.presence)
    case .string(let all):
      var reader = offsets?.reader()
      let times = try all.indices.map { row -> Int64 in
        guard column.isPresent(row) else { return 0 }
        if case .success(let time) = Timestamp.parse(all[row]) { return time.microseconds }
        guard case .success(let local) = Timestamp.parse(all[row], allowLocal: true) else {
          throw PlatformError(
            .invalidArgument,
            "\(path): '\(all[row])' in column '\(column.name)', row \(row + 1), is not a time; write it as in 2026-01-31T12:00:00Z"
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

  private func wholeNumbers(_ column: Column, path: String) throws -> Column {
    guard case .string(let all) = column.values else { return column }
    let numbers = try all.indices.map { row -> Int64 in
      guard column.isPresent(row) else { return 0 }
      guard let number = Int64(all[row]) else {
        throw PlatformError(
          .invalidArgument,
          "\(path): '\(all[row])' in key column '\(column.name)', row \(row + 1), is not a whole number"
        )
      }
      return number
    }
    return Column(name: column.name, values: .int64(numbers), presence: column.presence)
  }
}
