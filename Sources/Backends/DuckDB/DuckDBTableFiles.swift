import Core
import Foundation

/// Writes tables as files through a DuckDB of its own, in memory, apart from the warehouse.
package final class DuckDBTableFiles: TableFiles {
  private let threads: BlockingThreads<Void>
  private let options: DuckDBOptions

  package init(
    concurrentFiles: Int = 2, options: DuckDBOptions = DuckDBOptions(memoryLimitBytes: 1 << 30)
  ) {
    self.options = options
    threads = BlockingThreads(
      name: "table-files", limit: 64, resources: (0..<max(1, concurrentFiles)).map { _ in () },
      interrupt: { _ in })
  }

  package func write(_ batch: ColumnBatch, to path: String, format: FileFormat) async throws {
    var texts = batch
    if format == .csv { texts.columns = batch.columns.map(\.withListsAsText) }
    let batch = texts
    try await withConnection { connection, call in
      let columns = batch.columns.map { "\(EventTable.quoted($0.name)) \($0.type.stored)" }
      try connection.run("CREATE TABLE result (\(columns.joined(separator: ", ")))")
      let appender = DuckDBAppender(
        connection, tables: EventTables(), now: Timestamp(microseconds: 0), check: call)
      try appender.append(batch, to: "result")
      try appender.finish()
      do {
        // One thread: the same table gives the same file, byte for byte.
        try connection.run("SET threads = 1")
        let written = batch.columns.map(\.written).joined(separator: ", ")
        try connection.run(
          "COPY (SELECT \(written) FROM result) TO \(path.sqlLiteral) \(format == .csv ? "(FORMAT csv, HEADER)" : "(FORMAT parquet, COMPRESSION zstd)")"
        )
      } catch {
        try? FileManager.default.removeItem(atPath: path)
        throw error
      }
    }
  }

  private func withConnection<Output: Sendable>(
    _ body: @escaping @Sendable (DuckDBConnection, @escaping () throws -> Void) throws -> Output
  ) async throws -> Output {
    let settings = options.settings
    return try await threads.run { _, call in
      let database = try DuckDBDatabase(path: nil, settings: settings)
      let connection = try database.connect()
      try connection.run("SET TimeZone = 'UTC'")
      defer {
        connection.close()
        database.close()
      }
      return try body(connection) { try call.checkCancellation() }
    }
  }
}

extension Column {
  /// The column as a file takes it. Parquet has lists of one kind only, and of a null array of fixed length DuckDB
  /// 1.5 writes as many elements as it would have, which readers other than itself refuse.
  fileprivate var written: String {
    let name = EventTable.quoted(name)
    guard case .array(let element, .some) = type else { return name }
    return "\(name)::\(ColumnType(element).stored)[] AS \(name)"
  }

  /// Arrays as JSON text, the form in which CSV files bring them too.
  fileprivate var withListsAsText: Column {
    guard case .list(let lists) = values else { return self }
    let texts = (0..<count).map { row -> String in
      guard isPresent(row) else { return "" }
      var bytes: [UInt8] = []
      JSON.write(.list(lists[row]), into: &bytes)
      return String(decoding: bytes, as: UTF8.self)
    }
    return Column(name: name, values: .string(texts), presence: presence)
  }
}

extension ColumnType {
  /// The type's name in files: instants are written with their zone.
  fileprivate var stored: String {
    switch self {
    case .bool: "BOOLEAN"
    case .int64: "BIGINT"
    case .double: "DOUBLE"
    case .string: "VARCHAR"
    case .timestamp: "TIMESTAMPTZ"
    case .array(let element, let length):
      "\(ColumnType(element).stored)[\(length.map { "\($0)" } ?? "")]"
    }
  }
}
