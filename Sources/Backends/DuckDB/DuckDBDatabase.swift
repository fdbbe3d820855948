import CDuckDB
import Core
import Foundation
import Synchronization

/// An open DuckDB database; the last connection to go closes it.
///
/// Opening a file twice in one process is refused here: the lock that DuckDB takes on it only keeps other processes away.
final class DuckDBDatabase: @unchecked Sendable {
  // `duckdb_connect` may be called from any thread; `close` only when nothing else uses the handle.
  private var handle: duckdb_database?
  private var isClosed = false
  let path: String?
  private let settings: [String: String]
  private let registeredPath: String?

  private static let openPaths = Mutex<Set<String>>([])

  init(path: String?, settings: [String: String]) throws {
    self.path = path
    var settings = settings
    // Everything needed is built into the library; nothing is ever fetched from the network.
    settings["autoinstall_known_extensions"] = "false"
    settings["autoload_known_extensions"] = "false"
    // DuckDB's own folding of the log happens inside a commit and, where it fails, fails a commit that is already durable;
    // `WarehouseWriter` folds after the commit instead.
    settings["checkpoint_threshold"] = "1TB"
    self.settings = settings
    registeredPath = try path.map(Self.register)
    do {
      handle = try Self.open(path, settings)
    } catch {
      Self.unregister(registeredPath)
      throw error
    }
  }

  deinit { close() }

  /// Folds the log into the file and releases it.
  func close() {
    guard !isClosed else { return }
    isClosed = true
    duckdb_close(&handle)
    handle = nil
    Self.unregister(registeredPath)
  }

  /// Opens the file once more after DuckDB has stopped; all connections must be closed by now, and connect anew.
  ///
  /// The old instance goes first: a process loses its lock on a file when it closes any descriptor of it.
  func reopen() throws {
    guard path != nil else {
      throw PlatformError(
        .storage,
        "The warehouse in memory has stopped and cannot be opened again; restart the platform.")
    }
    duckdb_close(&handle)
    handle = nil
    handle = try Self.open(path, settings)
  }

  func connect() throws -> DuckDBConnection {
    DuckDBConnection(try newHandle(), of: self)
  }

  func newHandle() throws -> duckdb_connection {
    guard let handle else {
      throw PlatformError(.unavailable, "The warehouse is not open; see the log for why.")
    }
    var connection: duckdb_connection?
    guard duckdb_connect(handle, &connection) == DuckDBSuccess, let connection else {
      throw PlatformError(.storage, "DuckDB gave no connection; see the log for why.")
    }
    return connection
  }

  private static func open(_ path: String?, _ settings: [String: String]) throws -> duckdb_database
  {
    var configuration: duckdb_config?
    defer { duckdb_destroy_config(&configuration) }
    guard duckdb_create_config(&configuration) == DuckDBSuccess else {
      throw PlatformError(.storage, "DuckDB could not be configured; the machine is out of memory.")
    }
    for (name, value) in settings
    where name != readableDirectories
      && duckdb_set_config(configuration, name, value) != DuckDBSuccess
    {
      throw PlatformError(
        .invalidConfiguration,
        "DuckDB does not accept '\(value)' for \(name); correct the warehouse section.")
    }
    var database: duckdb_database?
    var message: UnsafeMutablePointer<CChar>?
    defer { duckdb_free(message) }
    guard duckdb_open_ext(path, &database, configuration, &message) == DuckDBSuccess, let database
    else {
      throw openError(path, message.map { String(cString: $0) } ?? "no reason given")
    }
    useUTC(database)
    if let folders = settings[readableDirectories] { try restrict(database, to: folders) }
    return database
  }

  /// The setting that closes the machine's files to queries, save those of some folders; it can only be made on an open database.
  static let readableDirectories = "allowed_directories"

  private static func restrict(_ database: duckdb_database, to folders: String) throws {
    var connection: duckdb_connection?
    defer { duckdb_disconnect(&connection) }
    guard duckdb_connect(database, &connection) == DuckDBSuccess,
      duckdb_query(connection, "SET allowed_directories = \(folders)", nil) == DuckDBSuccess,
      duckdb_query(connection, "SET enable_external_access = false", nil) == DuckDBSuccess
    else {
      throw PlatformError(
        .storage,
        "DuckDB could not be kept from reading other files; check its version with `martlet doctor`"
      )
    }
  }

  /// Times become text in UTC wherever the machine is.
  private static func useUTC(_ database: duckdb_database) {
    var connection: duckdb_connection?
    guard duckdb_connect(database, &connection) == DuckDBSuccess else { return }
    // A library without zones has no such setting and needs none.
    duckdb_query(connection, "SET GLOBAL TimeZone = 'UTC'", nil)
    duckdb_disconnect(&connection)
  }

  private static func openError(_ path: String?, _ message: String) -> PlatformError {
    guard let path else { return PlatformError(.storage, "DuckDB did not start: \(message)") }
    if message.contains("Could not set lock") || message.contains("Conflicting lock") {
      let holder = LockHolder(in: message, path: path)
      return PlatformError(
        .unavailable,
        "The warehouse file \(path) is held by \(holder?.description ?? "another process"). Stop that process, or use "
          + "another data directory; only one process can own the file.",
        context: holder.map { ["pid": "\($0.pid)"] } ?? [:], retryable: true)
    }
    if message.contains("No such file or directory") || message.contains("Permission denied") {
      return PlatformError(
        .storage,
        "The warehouse file \(path) cannot be opened: \(firstLine(message)). Check that its folder exists and is writable."
      )
    }
    return PlatformError(
      .storage,
      "The warehouse file \(path) cannot be read: \(firstLine(message)). It is damaged or not a DuckDB file of this "
        + "version; restore it from a backup, or move it away to start with an empty warehouse.")
  }

  private static func firstLine(_ message: String) -> String {
    String(message.split(separator: "\n").first ?? "").trimmingCharacters(in: .whitespaces)
  }

  private static func register(_ path: String) throws -> String {
    let folder = (path as NSString).deletingLastPathComponent
    let resolved = URL(fileURLWithPath: folder.isEmpty ? "." : folder).resolvingSymlinksInPath()
      .appendingPathComponent((path as NSString).lastPathComponent).resolvingSymlinksInPath().path
    guard openPaths.withLock({ $0.insert(resolved).inserted }) else {
      throw PlatformError(
        .unavailable,
        "The warehouse file \(path) is held by this process (pid \(getpid())) already; close it there first.",
        context: ["pid": "\(getpid())"])
    }
    return resolved
  }

  private static func unregister(_ path: String?) {
    if let path { openPaths.withLock { _ = $0.remove(path) } }
  }
}

/// The process that keeps a database file locked.
private struct LockHolder: CustomStringConvertible {
  var pid: Int32
  var command: String?

  var description: String {
    "process \(pid)" + (command.map { " (\($0))" } ?? "")
  }

  /// From DuckDB's message, which names the PID, or else from the kernel's list of locks.
  init?(in message: String, path: String) {
    guard let pid = Self.named(in: message) ?? Self.locking(path) else { return nil }
    self.pid = pid
    let bytes = FileManager.default.contents(atPath: "/proc/\(pid)/cmdline") ?? Data()
    let words = String(decoding: bytes, as: UTF8.self).split(separator: "\0").joined(separator: " ")
    command = words.isEmpty ? nil : String(words.prefix(120))
  }

  private static func named(in message: String) -> Int32? {
    guard let mark = message.range(of: "PID ") else { return nil }
    return Int32(message[mark.upperBound...].prefix { $0.isNumber })
  }

  private static func locking(_ path: String) -> Int32? {
    var status = stat()
    guard stat(path, &status) == 0,
      let locks = FileManager.default.contents(atPath: "/proc/locks")
    else { return nil }
    for line in String(decoding: locks, as: UTF8.self).split(separator: "\n") {
      // 1: POSIX  ADVISORY  WRITE 1234 fe:00:5678 0 EOF
      let fields = line.split(separator: " ")
      if fields.count > 5, fields[5].hasSuffix(":\(status.st_ino)") { return Int32(fields[4]) }
    }
    return nil
  }
}
