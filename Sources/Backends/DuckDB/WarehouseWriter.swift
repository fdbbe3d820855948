import Core
import Foundation
import Logging

/// The writer connection with what it knows of the event tables; used on its thread only.
final class WarehouseWriter: @unchecked Sendable {
  let connection: DuckDBConnection
  private(set) var tables: EventTables
  let clock: any WallClock
  private let recovery: WarehouseRecovery
  private let logger: Logger
  /// Why the file could not be opened again, nil while it is open.
  private var stopped: PlatformError?
  /// Bytes of the log at which it is folded into the file next.
  private var foldAt = WarehouseWriter.logBytes

  /// A log of this size is read back in about half a second at the next start.
  private static let logBytes: Int64 = 16 << 20

  init(
    _ connection: DuckDBConnection, tables: EventTables, clock: any WallClock,
    recovery: WarehouseRecovery, logger: Logger
  ) {
    self.connection = connection
    self.tables = tables
    self.clock = clock
    self.recovery = recovery
    self.logger = logger
  }

  func prepare(_ sources: [SourceDefinition]) throws {
    var prepared = tables
    try connection.transaction {
      for source in sources { try prepared.prepare(source, on: connection) }
    }
    tables = prepared
  }

  /// Takes over what statements have changed in the notes of columns.
  func reread() throws { tables = try EventTables(connection) }

  func transaction<Output>(
    check: @escaping () throws -> Void = {}, _ body: (DuckDBAppender) throws -> Output
  ) throws -> Output {
    try connection.transaction {
      let appender = DuckDBAppender(connection, tables: tables, now: clock.now, check: check)
      let output = try body(appender)
      try check()
      try appender.finish()
      return output
    }
  }

  // MARK: - The log

  /// Folds the log into the file once it has grown; a failure costs nothing that was committed.
  func foldLog() {
    guard stopped == nil, let size = recovery.logBytes ?? (foldAt == 0 ? 0 : nil) else { return }
    guard size >= foldAt else {
      if size < Self.logBytes { foldAt = Self.logBytes }
      return
    }
    do {
      try connection.run("CHECKPOINT", doing: "Folding the warehouse's log into its file")
      foldAt = Self.logBytes
    } catch let error as PlatformError {
      // Not again before the log has grown by as much: a full disk does not get better with every commit.
      foldAt = size + Self.logBytes
      logger.warning("\(error)")
      if error.meansReopening { reopen(after: error) }
    } catch {
      foldAt = size + Self.logBytes
    }
  }

  // MARK: - Opening again

  /// Makes ready for the next write after one has failed.
  func recover(from error: PlatformError) {
    if error.meansReopening { return reopen(after: error) }
    // What was rolled back still takes room at the end of the file; folding the log gives it back.
    if error.meansFullDisk { foldAt = 0 }
  }

  func ensureOpen() throws {
    guard let stopped else { return }
    reopen(after: stopped)
    if let stopped = self.stopped { throw stopped }
  }

  /// DuckDB stops altogether after some failures (a full disk while folding the log, say); its file is whole, so open it again.
  func reopen(after error: PlatformError) {
    logger.warning("The warehouse stopped and is opened again: \(error)")
    do {
      try recovery.reopen()
      stopped = nil
    } catch let failure as PlatformError {
      stopped = failure
      logger.error("The warehouse could not be opened again: \(failure)")
    } catch {
      stopped = PlatformError(.storage, "The warehouse could not be opened again.", cause: error)
    }
  }
}

/// All connections of a warehouse, for the moment when they must be replaced together.
final class WarehouseRecovery: @unchecked Sendable {
  private let database: DuckDBDatabase
  private let writer: DuckDBConnection
  private let readers: [DuckDBConnection]
  /// Held for reading by every query, for writing while the file is opened again.
  private let lock: UnsafeMutablePointer<pthread_rwlock_t>

  init(database: DuckDBDatabase, writer: DuckDBConnection, readers: [DuckDBConnection]) {
    self.database = database
    self.writer = writer
    self.readers = readers
    lock = .allocate(capacity: 1)
    pthread_rwlock_init(lock, nil)
  }

  deinit {
    pthread_rwlock_destroy(lock)
    lock.deallocate()
  }

  func reading<Output>(_ body: () throws -> Output) rethrows -> Output {
    pthread_rwlock_rdlock(lock)
    defer { pthread_rwlock_unlock(lock) }
    return try body()
  }

  /// Ends all queries, closes the file and opens it with new connections; called on the writer's thread.
  func reopen() throws {
    for reader in readers { reader.interrupt() }
    pthread_rwlock_wrlock(lock)
    defer { pthread_rwlock_unlock(lock) }
    let connections = [writer] + readers
    for connection in connections { connection.close() }
    try database.reopen()
    for connection in connections { try connection.renew() }
  }

  /// Closes everything; only when no thread uses it any more.
  func close() {
    for connection in [writer] + readers { connection.close() }
    database.close()
  }

  /// The size of the write-ahead log, nil where there is none.
  var logBytes: Int64? {
    guard let path = database.path else { return nil }
    var status = stat()
    return stat(path + ".wal", &status) == 0 ? Int64(status.st_size) : nil
  }
}
