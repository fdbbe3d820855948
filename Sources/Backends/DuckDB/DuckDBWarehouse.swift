import CDuckDB
import Core
import Foundation
import Logging
import Synchronization

/// How a DuckDB warehouse uses the machine.
package struct DuckDBOptions: Sendable, Equatable {
  /// Bytes that DuckDB may hold in memory; nil leaves it DuckDB's own default (80 % of the machine).
  package var memoryLimitBytes: Int?
  /// Threads of one query; nil takes one per core.
  package var threads: Int?
  /// Queries that may run at the same time.
  package var readers: Int
  /// Where queries that outgrow the memory limit spill; nil is beside the file.
  package var temporaryDirectory: String?
  /// The only folders whose files a query may read; nil lets queries read and write any file of the machine.
  package var readableDirectories: [String]?

  package init(
    memoryLimitBytes: Int? = nil, threads: Int? = nil, readers: Int = 4,
    temporaryDirectory: String? = nil, readableDirectories: [String]? = nil
  ) {
    self.readableDirectories = readableDirectories
    self.memoryLimitBytes = memoryLimitBytes
    self.threads = threads
    self.readers = readers
    self.temporaryDirectory = temporaryDirectory
  }

  var settings: [String: String] {
    var settings: [String: String] = [:]
    settings["memory_limit"] = memoryLimitBytes.map { "\($0)B" }
    settings["threads"] = threads.map { "\(max(1, $0))" }
    settings["temp_directory"] = temporaryDirectory
    if let readableDirectories {
      let list = readableDirectories.map(\.sqlLiteral)
      settings[DuckDBDatabase.readableDirectories] = "[\(list.joined(separator: ", "))]"
    }
    return settings
  }
}

/// The warehouse in one DuckDB file (or in memory): one writer connection and a pool of readers.
///
/// Guarantees beyond the port's: every call runs on a thread of the warehouse, never on the cooperative pool. A cancelled read is interrupted; a
/// cancelled commit or transaction either never began, or ends before its next append and leaves nothing, or is
/// stored as a whole. After a failed write the writer is ready for the next one.
package final class DuckDBWarehouse: FeatureTablePublishing, ReclaimingWarehouse,
  CopyableWarehouse, SharedWarehouse, ExportingWarehouse
{
  private let database: DuckDBDatabase
  private let writer: BlockingThreads<WarehouseWriter>
  private let readers: BlockingThreads<DuckDBConnection>
  private let recovery: WarehouseRecovery
  private let statements: StatementGuard
  private let closed = Mutex(false)
  private let path: String?
  private let copying = WarehouseCopy()

  /// Opens the file, or an empty database in memory where `path` is nil, and brings its schema up to date.
  ///
  /// Blocks while it reads the file's log; from a task use `open`. Throws `.unavailable` where a process holds the file,
  /// `.failedPrecondition` where a newer Martlet wrote it, `.storage` where it cannot be read.
  package init(
    path: String?, options: DuckDBOptions = DuckDBOptions(), clock: any WallClock = SystemClock(),
    logger: Logger = Logger(label: "warehouse")
  ) throws {
    self.path = path
    database = try DuckDBDatabase(path: path, settings: options.settings)
    let writing = try database.connect()
    try WarehouseSchema.migrate(writing, path: path, now: clock.now)
    let reading = try (0..<max(1, options.readers)).map { [database] _ in try database.connect() }
    recovery = WarehouseRecovery(database: database, writer: writing, readers: reading)
    statements = try StatementGuard(writing)
    writer = BlockingThreads(
      name: "warehouse-writer", limit: 4_096,
      resources: [
        WarehouseWriter(
          writing, tables: try EventTables(writing), clock: clock, recovery: recovery,
          logger: logger)
      ],
      interrupt: { $0.connection.interrupt() })
    readers = BlockingThreads(
      name: "warehouse-reader", limit: 1_024, resources: reading, interrupt: { $0.interrupt() })
  }

  /// Like `init`, on a thread of its own.
  package static func open(
    path: String?, options: DuckDBOptions = DuckDBOptions(), clock: any WallClock = SystemClock(),
    logger: Logger = Logger(label: "warehouse")
  ) async throws -> DuckDBWarehouse {
    let opener = BlockingThreads<Void>(
      name: "warehouse-open", limit: 1, resources: [()], interrupt: { _ in })
    return try await opener.run { _, _ in
      try DuckDBWarehouse(path: path, options: options, clock: clock, logger: logger)
    }
  }

  package func prepare(_ sources: [SourceDefinition]) async throws {
    try await write { writer, _ in try writer.prepare(sources) }
  }

  /// Replaces the view `features_table` by one over the latest-value columns of these layouts.
  package func publishFeatures(_ layouts: [ViewLayout]) async throws {
    try await write { writer, _ in
      try writer.reread()
      try writer.connection.run(
        writer.tables.featuresView(layouts), doing: "Defining features_table")
    }
  }

  package func commit(_ commit: WarehouseCommit) async throws {
    try await write { writer, call in
      try writer.transaction(check: call.checkCancellation) { appender in
        try writer.advance(commit.advances)
        for batch in commit.events { try appender.append(batch) }
        try appender.append(commit.quarantined, at: commit.at)
        try appender.settle(commit.replayed, at: commit.at)
        for (table, batch) in commit.rows { try appender.append(batch, to: table) }
      }
    }
  }

  package func transaction<Output: Sendable>(
    _ body: @escaping @Sendable (any WarehouseAppender) throws -> Output
  ) async throws -> Output {
    try await write { writer, call in
      try writer.transaction(check: call.checkCancellation, body)
    }
  }

  package func execute(_ sql: String, _ parameters: [Value]) async throws {
    try await write(interruptible: true) { writer, call in
      try Self.cancellable(call) {
        try writer.connection.transaction { _ = try writer.connection.execute(sql, parameters) }
      }
    }
  }

  package func reclaim() async throws {
    try await write { writer, _ in
      try writer.connection.run("CHECKPOINT", doing: "Giving room of the warehouse back")
    }
  }

  package func copy(to destination: String) async throws {
    guard let path else {
      throw PlatformError(.failedPrecondition, "a warehouse in memory has no file to copy")
    }
    try await write { [copying] writer, _ in
      try writer.connection.run("CHECKPOINT", doing: "Folding the log in before a copy")
      try copying.copy(path, to: destination)
    }
  }

  package func stream(
    _ sql: String, _ parameters: [Value],
    _ body: @escaping @Sendable (borrowing ColumnBatch) throws -> Void
  ) async throws {
    try await stream(sql, parameters, check: { try Self.checkReading($0, sql) }, body)
  }

  package func export(_ sql: String, to path: String, format: FileFormat) async throws -> Int {
    try await readers.run { [recovery] connection, call in
      try recovery.reading {
        var rows = 0
        try Self.cancellable(call) {
          try connection.transaction(readOnly: true) {
            rows = try QueryExport(connection: connection, sql: sql).run(to: path, format: format)
          }
        }
        return rows
      }
    }
  }

  package func read(
    _ sql: String, _ parameters: [Value],
    _ body: @escaping @Sendable (borrowing ColumnBatch) throws -> Void
  ) async throws {
    try statements.check(sql, for: .reading)
    try await stream(
      sql, parameters, check: { try StatementGuard.check($0, for: .reading) }, body)
  }

  package func apply(_ jobs: [WriteJob]) async throws -> [WriteOutcome] {
    guard !jobs.isEmpty else { return [] }
    return try await write { [statements] writer, _ in
      try AppliedJobs(writer: writer, statements: statements).apply(jobs)
    }
  }

  package func forgetJobs(keeping count: Int) async throws {
    try await write { [statements] writer, _ in
      try AppliedJobs(writer: writer, statements: statements).forget(keeping: count)
    }
  }

  private static func checkReading(_ kind: duckdb_statement_type, _ sql: String) throws {
    // EXPLAIN ANALYZE runs what it explains, and a COPY to a file is no change of the database.
    let isRun = kind == DUCKDB_STATEMENT_TYPE_EXPLAIN && sql.lowercased().contains("copy")
    guard kind == DUCKDB_STATEMENT_TYPE_SELECT || kind == DUCKDB_STATEMENT_TYPE_EXPLAIN, !isRun
    else {
      throw PlatformError(
        .invalidArgument,
        "Only queries can be run here (SELECT, WITH, FROM, DESCRIBE, SUMMARIZE, EXPLAIN), not statements that change something."
      )
    }
  }

  private func stream(
    _ sql: String, _ parameters: [Value],
    check: @escaping @Sendable (duckdb_statement_type) throws -> Void,
    _ body: @escaping @Sendable (borrowing ColumnBatch) throws -> Void
  ) async throws {
    let begun = Atomic(false)
    let read: @Sendable (DuckDBConnection, BlockingCall<DuckDBConnection>) throws -> Void = {
      [recovery] connection, call in
      try recovery.reading {
        try Self.cancellable(call) {
          try connection.transaction(readOnly: true) {
            try connection.stream(sql, parameters, check: check) { batch in
              try call.checkCancellation()
              begun.store(true, ordering: .relaxed)
              try body(batch)
            }
          }
        }
      }
    }
    do {
      try await readers.run(read)
    } catch let error as PlatformError where error.meansReopening {
      // The writer opens the file again, where it has not yet; nothing was delivered, so the query can be put once more.
      try await write { _, _ in }
      guard !begun.load(ordering: .relaxed) else { throw error }
      try await readers.run(read)
    }
  }

  package func close() async throws {
    let first = closed.withLock { closed in
      defer { closed = true }
      return !closed
    }
    guard first else { return }
    // Readers first: the log can only be folded in wholly when no query still needs what it replaces.
    await readers.stop()
    let folded: Result<Void, any Error>
    do {
      try await writer.run(interruptible: false) { writer, _ in
        try writer.connection.run("CHECKPOINT", doing: "Closing the warehouse")
      }
      folded = .success(())
    } catch {
      folded = .failure(error)
    }
    await writer.stop()
    recovery.close()
    copying.close()
    try folded.get()
  }

  /// Runs on the writer's thread, with the file opened again first where DuckDB has stopped.
  private func write<Output: Sendable>(
    interruptible: Bool = false,
    _ body: @escaping @Sendable (WarehouseWriter, BlockingCall<WarehouseWriter>) throws -> Output
  ) async throws -> Output {
    let foldLog: @Sendable (WarehouseWriter) -> Void = { $0.foldLog() }
    return try await writer.run(interruptible: interruptible, afterwards: foldLog) { writer, call in
      try writer.ensureOpen()
      do {
        return try body(writer, call)
      } catch let error as PlatformError {
        writer.recover(from: error)
        throw error
      }
    }
  }

  /// An interrupt that the caller's cancellation caused is reported as what it is.
  private static func cancellable<Resource>(
    _ call: BlockingCall<Resource>, _ body: () throws -> Void
  ) throws {
    do {
      try body()
    } catch let error as PlatformError where error.code == .cancelled {
      try call.checkCancellation()
      throw PlatformError(
        .unavailable, "The query was interrupted because the warehouse is opened again; retry.",
        cause: error)
    }
  }
}
