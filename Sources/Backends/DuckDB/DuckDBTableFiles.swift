import Core
import Foundation

/// Reads and writes tables as files through a DuckDB of its own, in memory, apart from the warehouse.
package final class DuckDBTableFiles: TableFiles {
  private let threads: BlockingThreads<Void>
  private let options: DuckDBOptions

  /// Rows that one spine may have.
  private static let maximumRows = 20_000_000

  package init(
    concurrentFiles: Int = 2, options: DuckDBOptions = DuckDBOptions(memoryLimitBytes: 1 << 30)
  ) {
    self.options = options
    threads = BlockingThreads(
      name: "table-files", limit: 64, resources: (0..<max(1, concurrentFiles)).map { _ in () },
      interrupt: { _ in })
  }

  package func read(_ path: String, format: FileFormat) async throws -> ColumnBatch {
    try await withConnection { connection, call in
      let source = try Self.scan(path, format)
      let columns = try connection.query(
        "SELECT column_name AS name, column_type AS type FROM (DESCRIBE SELECT * FROM \(source))",
        [],
        as: Described.self)
      for column in columns where column.type == "TIMESTAMP" || column.type == "DATE" {
        throw PlatformError(
          .invalidArgument,
          "column '\(column.name)' has times without a zone; write them with Z or an offset (CSV), or as timestamp with time zone UTC (Parquet)"
        )
      }
      var batch = ColumnBatch(columns: [])
      try connection.stream("SELECT * FROM \(source)", [], onlyReading: true) { part in
        try call()
        batch.append(contentsOf: part)
        guard batch.count <= Self.maximumRows else {
          throw PlatformError(
            .invalidArgument, "the file has more than \(Self.maximumRows) rows; split it")
        }
      }
      if batch.columns.isEmpty {
        throw PlatformError(.invalidArgument, "the file has no rows; give it at least one")
      }
      return batch
    }
  }

  package func write(_ batch: ColumnBatch, to path: String, format: FileFormat) async throws {
    try await withConnection { connection, call in
      let columns = batch.columns.map { "\(EventTable.quoted($0.name)) \($0.type.stored)" }
      try connection.run("CREATE TABLE result (\(columns.joined(separator: ", ")))")
      let appender = DuckDBAppender(
        connection, tables: EventTables(), now: Timestamp(microseconds: 0), check: call)
      try appender.append(batch, to: "result")
      try appender.finish()
      do {
        try connection.run(
          "COPY result TO \(path.sqlLiteral) \(format == .csv ? "(FORMAT csv, HEADER)" : "(FORMAT parquet, COMPRESSION zstd)")"
        )
      } catch {
        try? FileManager.default.removeItem(atPath: path)
        throw error
      }
    }
  }

  private struct Described: Decodable, Sendable {
    var name: String
    var type: String
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

  private static func scan(_ path: String, _ format: FileFormat) throws -> String {
    switch format {
    case .parquet: "read_parquet(\(path.sqlLiteral))"
    case .csv: "read_csv(\(path.sqlLiteral), header = true, sample_size = -1)"
    case .jsonl:
      throw PlatformError(.invalidArgument, "a table file is csv or parquet, not jsonl")
    }
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
    }
  }
}
