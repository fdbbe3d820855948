import Core
import Foundation

/// The text of a query that brings a spine, as it was uploaded.
enum SpineText {
  private static let maximumBytes = 1 << 20

  static func read(_ path: String) throws -> String {
    let bytes = FileManager.default.contents(atPath: path) ?? Data()
    guard !bytes.isEmpty, bytes.count <= maximumBytes,
      let text = String(data: bytes, encoding: .utf8)
    else {
      throw PlatformError(
        .invalidArgument,
        "a spine of format sql is the text of one query, in UTF-8 and of at most \(maximumBytes >> 20) MiB"
      )
    }
    return text.trimmingCharacters(in: .whitespacesAndNewlines)
  }
}
