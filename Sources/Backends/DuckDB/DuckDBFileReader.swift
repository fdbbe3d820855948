import Core
import Foundation
import Synchronization

/// Reads CSV and JSONL itself and Parquet through a DuckDB of its own, in memory, apart from the warehouse.
package final class DuckDBFileReader: FileReader {
  private let threads: BlockingThreads<Void>
  private let settings: [String: String]
  /// Made when the first Parquet file comes.
  private let database = Mutex<DuckDBDatabase?>(nil)

  /// - Parameter concurrentFiles: how many `read` calls run at the same time; more wait.
  package init(
    concurrentFiles: Int = 2, options: DuckDBOptions = DuckDBOptions(memoryLimitBytes: 512 << 20)
  ) {
    settings = options.settings
    threads = BlockingThreads(
      name: "file-reader", limit: 256,
      resources: (0..<max(1, concurrentFiles)).map { _ in () }, interrupt: { _ in })
  }

  @discardableResult
  package func read(
    _ request: FileRequest, _ body: @escaping @Sendable (RawRows) throws -> Void
  ) async throws -> FileSummary {
    try await threads.run { [self] _, call in
      try scan(request) { rows in
        try call.checkCancellation()
        try body(rows)
      }
    }
  }

  @discardableResult
  package func scan(_ request: FileRequest, _ body: (RawRows) throws -> Void) throws -> FileSummary
  {
    switch request.format {
    case .csv:
      var reader = CSVReader(request)
      return try reader.read(body)
    case .jsonl: return try TextFile.readLines(request, body)
    case .parquet: return try scanParquet(request, body)
    }
  }

  private func connect() throws -> DuckDBConnection {
    try database.withLock { database in
      let open = try database ?? DuckDBDatabase(path: nil, settings: settings)
      database = open
      return try open.connect()
    }
  }
}

// MARK: - Parquet

extension DuckDBFileReader {
  private struct FileColumn: Decodable {
    var name: String
    var type: String

    var isList: Bool { type.hasSuffix("]") }

    /// The type without the brackets of a list.
    var element: String {
      guard isList, let bracket = type.lastIndex(of: "[") else { return type }
      return String(type[..<bracket])
    }

    /// As it is; a list with a null element as null.
    var selected: String {
      let cell = EventTable.quoted(name)
      guard isList else { return cell }
      return "CASE WHEN len(\(cell)) = list_count(\(cell)) THEN \(cell) END AS \(cell)"
    }

    /// The JSON text of lists with a null element, null for all others.
    static func brokenList(_ name: String) -> String {
      let cell = EventTable.quoted(name)
      return
        "CASE WHEN len(\(cell)) <> list_count(\(cell)) THEN CAST(to_json(\(cell)) AS VARCHAR) END"
    }
  }

  private func scanParquet(
    _ request: FileRequest, _ body: (RawRows) throws -> Void
  ) throws
    -> FileSummary
  {
    try checkParquet(request)
    let connection = try connect()
    let table =
      "read_parquet(\(Self.literal(request.path)), hive_partitioning = false, binary_as_string = true, "
      + "file_row_number = true)"
    let found = try readable(request) {
      try connection.query(
        "SELECT column_name AS name, column_type AS type "
          + "FROM (DESCRIBE SELECT * EXCLUDE file_row_number FROM \(table))", as: FileColumn.self)
    }
    let total = try readable(request) {
      try connection.query(
        "SELECT sum(num_rows)::BIGINT FROM parquet_file_metadata(\(Self.literal(request.path)))",
        as: Int64?.self)
    }
    let columns = try FileColumns(request, found: found.map(\.name))
    let present = columns.present.map { found[$0.position] }
    try refuseNested(present, request)
    let localTimes = Set(
      present.filter { Self.localTypes.contains($0.element) }.map(\.name))
    let lists = present.filter(\.isList).map(\.name)
    var summary = FileSummary(missingColumns: columns.missing, ignoredColumns: columns.ignored)
    let rowCount = Double(max(1, (total.first ?? nil) ?? 1))
    let names = (present.map(\.selected) + lists.map(FileColumn.brokenList)).joined(
      separator: ", ")
    var thrown: (any Error)?
    try readable(request) {
      try connection.stream("SELECT file_row_number, \(names) FROM \(table)", []) { batch in
        var cells = batch.columns
        guard case .int64(let numbers) = cells.removeFirst().values else { return }
        summary.rows += Int64(batch.count)
        let broken = cells.suffix(lists.count).map(\.presentTexts)
        cells.removeLast(lists.count)
        do {
          try body(
            RawRows(
              columns: cells, rowNumbers: numbers.map { $0 + 1 }, localTimes: localTimes,
              brokenLists: Dictionary(uniqueKeysWithValues: zip(lists, broken)).filter {
                !$0.value.isEmpty
              },
              progress: min(1, Double(summary.rows) / rowCount)))
        } catch {
          thrown = error
          throw error
        }
      }
    } unless: {
      thrown
    }
    return summary
  }

  /// Timestamps that Parquet does not mark as UTC.
  private static let localTypes: Set<String> = [
    "TIMESTAMP", "TIMESTAMP_S", "TIMESTAMP_MS", "TIMESTAMP_NS", "DATE",
  ]

  private func checkParquet(_ request: FileRequest) throws {
    var window = try FileWindow(path: request.path, name: request.displayName)
    try window.readMore()
    func refuse(_ text: String) -> PlatformError { PlatformError(.invalidRecord, text) }
    guard window.size > 0 else {
      throw refuse("The file \(request.displayName) is empty; check that its writer finished.")
    }
    let magic = Array("PAR1".utf8)
    guard window.bytes.starts(with: magic) else {
      throw refuse(
        "The file \(request.displayName) is not Parquet; say its format or write it again.")
    }
    let handle = FileHandle(forReadingAtPath: request.path)
    defer { try? handle?.close() }
    try? handle?.seek(toOffset: UInt64(max(0, window.size - 4)))
    guard window.size >= 12, let tail = try? handle?.readToEnd(), tail.elementsEqual(magic) else {
      throw refuse(
        "The Parquet file \(request.displayName) is truncated: it ends without its footer. Copy it again, whole."
      )
    }
  }

  private func refuseNested(_ columns: [FileColumn], _ request: FileRequest) throws {
    for column in columns {
      let type = column.element
      let nested = ["STRUCT", "MAP", "UNION", "TIME", "INTERVAL", "BIT", "VARIANT", "GEOMETRY"]
      let isTime = type.hasPrefix("TIMESTAMP")
      guard type.hasSuffix("]") || (!isTime && nested.contains { type.hasPrefix($0) }) else {
        continue
      }
      throw PlatformError(
        .invalidRecord,
        "Column '\(column.name)' of \(request.displayName) has the type \(column.type), which no column of a source can hold; "
          + "write it as text or numbers.")
    }
  }

  /// Turns DuckDB's complaints about the file into one that names it; errors of the caller's own (`unless`) go through.
  private func readable<Output>(
    _ request: FileRequest, _ body: () throws -> Output, unless own: () -> (any Error)? = { nil }
  ) throws -> Output {
    do {
      return try body()
    } catch let error as PlatformError where own() == nil && error.code != .overloaded {
      throw PlatformError(
        .invalidRecord,
        "The Parquet file \(request.displayName) cannot be read: it is damaged or uses something unknown. Write it again.",
        cause: error)
    }
  }

  /// The path as an SQL string in which nothing is taken for a pattern.
  private static func literal(_ path: String) -> String {
    var text = ""
    for character in path {
      switch character {
      case "*", "?", "[": text += "[\(character)]"
      case "'": text += "''"
      default: text.append(character)
      }
    }
    return "'\(text)'"
  }
}

extension Column {
  /// The texts that are there, by row.
  fileprivate var presentTexts: [Int: String] {
    guard case .string(let all) = values else { return [:] }
    return Dictionary(
      uniqueKeysWithValues: all.indices.filter { isPresent($0) }.map { ($0, all[$0]) })
  }
}
