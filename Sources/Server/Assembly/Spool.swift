import Core
import Foundation
import Hummingbird
import NIOCore

/// Files on their way through: uploads until they are ingested, answers until they are sent.
///
/// Emptied at start, so that an interrupted upload leaves nothing behind.
package struct Spool: Sendable {
  private let folder: String

  init(folder: String) throws {
    self.folder = folder
    try? FileManager.default.removeItem(atPath: folder)
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
  }

  func newPath() -> String { folder + "/" + UUID().uuidString.lowercased() }

  func remove(_ path: String) { try? FileManager.default.removeItem(atPath: path) }

  /// Gives `body` a path of its own and removes what it left there.
  func withFile<Result>(_ body: (String) async throws -> Result) async throws -> Result {
    let path = newPath()
    defer { remove(path) }
    return try await body(path)
  }

  /// Writes a request's body; a body that is cut off leaves no file.
  func write(_ body: RequestBody, to path: String) async throws {
    do {
      var writer = try SpoolWriter(path: path)
      for try await piece in body { try writer.write(Data(piece.readableBytesView)) }
      try writer.close()
    } catch {
      remove(path)
      throw error
    }
  }
}

/// Appends to a new file.
struct SpoolWriter: Sendable {
  private let handle: FileHandle

  init(path: String) throws {
    guard FileManager.default.createFile(atPath: path, contents: nil),
      let handle = FileHandle(forWritingAtPath: path)
    else {
      throw PlatformError(
        .storage, "cannot write \(path); check that the data directory is writable and has room")
    }
    self.handle = handle
  }

  mutating func write(_ bytes: Data) throws {
    do {
      try handle.write(contentsOf: bytes)
    } catch {
      throw PlatformError(
        .storage, "the upload could not be written; check the room on the data directory's disk",
        cause: error)
    }
  }

  func close() throws { try handle.close() }
}
