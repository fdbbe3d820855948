import Core
import Foundation
import HTTPTypes
import Hummingbird
import NIOCore
import NIOPosix

/// A file as an answer, sent piece by piece, so that it may be of any size.
enum FileResponse {
  private static let pieceBytes = 1 << 20

  /// The file is opened now: it may lose its name before the answer is sent.
  static func make(
    path: String, format: FileFormat, headers more: HTTPFields = [:]
  ) throws -> Response {
    try make(
      path: path, contentType: format == .csv ? "text/csv" : "application/vnd.apache.parquet",
      headers: more)
  }

  static func make(
    path: String, contentType: String, headers more: HTTPFields = [:]
  ) throws -> Response {
    guard let file = FileHandle(forReadingAtPath: path) else {
      throw PlatformError(.storage, "the answer's file \(path) is gone; ask again")
    }
    let size = try file.seekToEnd()
    try file.seek(toOffset: 0)
    var headers = more
    headers[.contentType] = contentType
    return Response(
      status: .ok, headers: headers,
      body: ResponseBody(contentLength: Int(size)) { writer in
        while let piece = try await piece(of: file) { try await writer.write(piece) }
        try await writer.finish(nil)
      })
  }

  private static func piece(of file: FileHandle) async throws -> ByteBuffer? {
    try await NIOThreadPool.singleton.runIfActive {
      guard let bytes = try file.read(upToCount: pieceBytes), !bytes.isEmpty else { return nil }
      return ByteBuffer(bytes: bytes)
    }
  }
}
