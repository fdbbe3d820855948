import Core
import Foundation
import Synchronization

/// Copies a database file that this process holds.
///
/// The file is opened once and stays open: a process loses its lock on a file as soon as it closes any descriptor of it.
final class WarehouseCopy: Sendable {
  private static let pieceBytes = 4 << 20

  private let source = Mutex<FileHandle?>(nil)

  /// To be called on the writer's thread, with the log folded in as far as it can be; what is left of it is copied too.
  func copy(_ path: String, to destination: String) throws {
    try source.withLock { source in
      let handle = try source ?? Self.open(path)
      source = handle
      try handle.seek(toOffset: 0)
      try Self.copy(handle, to: destination)
    }
    let log = path + ".wal"
    let size = try? FileManager.default.attributesOfItem(atPath: log)[.size] as? NSNumber
    guard (size?.int64Value ?? 0) > 0 else { return }
    let handle = try Self.open(log)
    try Self.copy(handle, to: destination + ".wal")
    try handle.close()
  }

  /// The database is closed.
  func close() { source.withLock { try? $0.take()?.close() } }

  private static func open(_ path: String) throws -> FileHandle {
    guard let handle = FileHandle(forReadingAtPath: path) else {
      throw PlatformError(.storage, "the warehouse file \(path) cannot be read to be copied")
    }
    return handle
  }

  private static func copy(_ source: FileHandle, to path: String) throws {
    guard FileManager.default.createFile(atPath: path, contents: nil),
      let target = FileHandle(forWritingAtPath: path)
    else {
      throw PlatformError(.storage, "cannot write \(path); check its folder and the room there")
    }
    do {
      while let piece = try source.read(upToCount: pieceBytes), !piece.isEmpty {
        try target.write(contentsOf: piece)
      }
      try target.synchronize()
      try target.close()
    } catch {
      throw PlatformError(
        .storage, "the copy \(path) could not be written; check the room on its disk", cause: error)
    }
  }
}
