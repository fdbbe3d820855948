import CZlib
import Core
import HTTPTypes
import Hummingbird
import NIOCore

/// Bodies that travel compressed: `gzip` and `deflate` of HTTP, by zlib.
package enum BodyCoding: String {
  case gzip, deflate

  /// Answers below this are sent as they are: they would hardly shrink, and the caller would wait for it.
  private static let smallestDeflated = 1_024
  private static let chunk = 64 << 10

  /// zlib's own window; 32 more recognises the header of gzip or zlib when reading, 16 more writes gzip.
  private var writeWindow: Int32 { self == .gzip ? 31 : 15 }

  /// - Throws: `invalid_argument` for bytes that are not so compressed, and for more than a body may have.
  package static func inflate(_ bytes: UnsafeRawBufferPointer) throws -> ByteBuffer {
    var stream = z_stream()
    guard
      inflateInit2_(&stream, 15 + 32, ZLIB_VERSION, Int32(MemoryLayout<z_stream>.size)) == Z_OK
    else { throw PlatformError(.internalError, "zlib does not start") }
    defer { inflateEnd(&stream) }
    var whole = ByteBuffer()
    stream.next_in = UnsafeMutablePointer(
      mutating: bytes.bindMemory(to: UInt8.self).baseAddress)
    stream.avail_in = UInt32(clamping: bytes.count)
    var status = Z_OK
    while status != Z_STREAM_END {
      let written = whole.writeWithUnsafeMutableBytes(minimumWritableBytes: chunk) { room in
        stream.next_out = room.bindMemory(to: UInt8.self).baseAddress
        stream.avail_out = UInt32(clamping: room.count)
        let before = Int(stream.avail_out)
        status = CZlib.inflate(&stream, Z_NO_FLUSH)
        return before - Int(stream.avail_out)
      }
      guard status == Z_OK || status == Z_STREAM_END, written > 0 || status == Z_STREAM_END else {
        throw PlatformError(
          .invalidArgument,
          "the body is not compressed as Content-Encoding says, or is cut short: \(stream.total_in) of \(bytes.count) bytes could be read"
        )
      }
      guard whole.readableBytes <= Limits.requestBytes else {
        throw PlatformError(
          .invalidArgument,
          "the body is larger than \(Limits.requestBytes >> 20) MiB when it is decompressed; send it in parts"
        )
      }
    }
    guard stream.avail_in == 0 else {
      throw PlatformError(
        .invalidArgument, "\(stream.avail_in) bytes follow the compressed body")
    }
    return whole
  }

  /// The bytes in a coding that the caller accepts, and its name; as they are where there is none or they are few.
  package static func deflated(
    _ bytes: [UInt8], accepted: String?
  ) throws -> (body: ByteBuffer, coding: String?) {
    guard bytes.count >= smallestDeflated, let coding = accepted.flatMap(BodyCoding.init(accepted:))
    else { return (ByteBuffer(bytes: bytes), nil) }
    return (try coding.deflate(bytes), coding.rawValue)
  }

  /// The first that the caller lists and does not refuse with `q=0`.
  private init?(accepted: String) {
    for part in accepted.split(separator: ",") {
      let fields = part.split(separator: ";").map { $0.filter { $0 != " " } }
      guard let name = fields.first, let coding = BodyCoding(rawValue: name.lowercased()) else {
        continue
      }
      let refused = fields.dropFirst().contains {
        $0.hasPrefix("q=") && Double($0.dropFirst(2)) == 0
      }
      if refused { continue }
      self = coding
      return
    }
    return nil
  }

  private func deflate(_ bytes: [UInt8]) throws -> ByteBuffer {
    var stream = z_stream()
    guard
      deflateInit2_(
        &stream, Z_BEST_SPEED, Z_DEFLATED, writeWindow, 8, Z_DEFAULT_STRATEGY, ZLIB_VERSION,
        Int32(MemoryLayout<z_stream>.size)) == Z_OK
    else { throw PlatformError(.internalError, "zlib does not start") }
    defer { deflateEnd(&stream) }
    var whole = ByteBuffer()
    let bound = Int(deflateBound(&stream, UInt(bytes.count)))
    var status = Z_OK
    bytes.withUnsafeBytes { bytes in
      stream.next_in = UnsafeMutablePointer(
        mutating: bytes.bindMemory(to: UInt8.self).baseAddress)
      stream.avail_in = UInt32(clamping: bytes.count)
      _ = whole.writeWithUnsafeMutableBytes(minimumWritableBytes: bound) { room in
        stream.next_out = room.bindMemory(to: UInt8.self).baseAddress
        stream.avail_out = UInt32(clamping: room.count)
        let before = Int(stream.avail_out)
        status = CZlib.deflate(&stream, Z_FINISH)
        return before - Int(stream.avail_out)
      }
    }
    guard status == Z_STREAM_END else {
      throw PlatformError(.internalError, "an answer could not be compressed")
    }
    return whole
  }
}

extension Request {
  /// The whole body, decompressed where `Content-Encoding` says that it is compressed.
  func inflated() async throws -> ByteBuffer {
    let body = try await collected()
    guard let coding = headers[.contentEncoding]?.lowercased(), coding != "identity", coding != ""
    else { return body }
    guard BodyCoding(rawValue: coding) != nil else {
      throw PlatformError(
        .invalidArgument,
        "the Content-Encoding '\(coding)' is not known; send gzip, deflate, or none")
    }
    return try body.withUnsafeReadableBytes { try BodyCoding.inflate($0) }
  }
}
