import Core
import Crypto
import Foundation

/// The identity of a file's content.
package enum FileDigest {
  /// The SHA-256 of a file's bytes in hexadecimal, read in pieces away from the cooperative
  /// threads.
  package static func sha256(of path: String, name: String) async throws -> String {
    try await offPool { try read(path, name) }
  }

  private static func read(_ path: String, _ name: String) throws -> String {
    let file = open(path, O_RDONLY | O_CLOEXEC)
    guard file >= 0 else {
      let why = String(cString: strerror(errno))
      throw PlatformError(
        errno == ENOENT ? .notFound : .invalidArgument,
        "The file '\(name)' cannot be read: \(why). Check the path and its permissions.")
    }
    defer { close(file) }
    var hash = SHA256()
    var buffer = [UInt8](repeating: 0, count: 1 << 20)
    while true {
      let count = buffer.withUnsafeMutableBytes { Foundation.read(file, $0.baseAddress, $0.count) }
      if count == 0 { break }
      guard count > 0 else {
        if errno == EINTR { continue }
        throw PlatformError(
          .invalidArgument,
          "The file '\(name)' cannot be read: \(String(cString: strerror(errno))).")
      }
      buffer.withUnsafeBytes {
        hash.update(bufferPointer: UnsafeRawBufferPointer(rebasing: $0[..<count]))
      }
    }
    return hash.finalize().map { byte in
      String(UnicodeScalar(hexadecimalDigits[Int(byte >> 4)]))
        + String(UnicodeScalar(hexadecimalDigits[Int(byte & 15)]))
    }.joined()
  }
}

private let hexadecimalDigits = Array("0123456789abcdef".utf8)
