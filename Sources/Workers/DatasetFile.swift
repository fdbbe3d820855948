import Core
import Foundation
import SwiftProtobuf
import Wire

/// A training set on disk as workers read it: chunks of columns, each behind its length.
///
/// All batches have the same columns in the same order. `close` must be called; a file without it
/// may be incomplete.
package struct DatasetFile: ~Copyable {
  package static let chunkRows = 65_536

  private let handle: FileHandle
  package private(set) var rows = 0

  /// Creates the file, or empties the one that is there.
  package init(creatingAt path: String) throws {
    guard FileManager.default.createFile(atPath: path, contents: nil),
      let handle = FileHandle(forWritingAtPath: path)
    else {
      throw PlatformError(
        .storage, "cannot write the training set to \(path); check the folder and its permissions")
    }
    self.handle = handle
  }

  package mutating func append(_ batch: ColumnBatch) throws {
    var from = 0
    while from < batch.count {
      let to = min(from + Self.chunkRows, batch.count)
      let chunk = to - from == batch.count ? batch : batch.gather(Array(from..<to))
      let payload: Data = try WorkerColumns.packed(chunk).serializedBytes()
      var length = Data()
      withUnsafeBytes(of: UInt32(payload.count).littleEndian) { length.append(contentsOf: $0) }
      try handle.write(contentsOf: length)
      try handle.write(contentsOf: payload)
      from = to
    }
    rows += batch.count
  }

  package consuming func close() throws { try handle.close() }
}
