import NIOCore

/// One reply of a server in RESP2, the Redis serialization protocol
/// (https://redis.io/docs/latest/develop/reference/protocol-spec).
package enum RESPValue: Sendable, Equatable {
  case simple(String)
  /// What the server refused, beginning with a word in capitals such as `ERR` or `MOVED`.
  case error(String)
  case integer(Int64)
  case bulk(ByteBuffer)
  case null
  case array([RESPValue])

  /// The text of a simple or binary string.
  package var text: String? {
    switch self {
    case .simple(let text): text
    case .bulk(let bytes): String(buffer: bytes)
    default: nil
    }
  }

  package var array: [RESPValue]? { if case .array(let items) = self { items } else { nil } }
  package var integer: Int64? { if case .integer(let value) = self { value } else { nil } }

  /// Whether it is an error that begins with this word.
  package func isError(_ word: String) -> Bool {
    guard case .error(let text) = self else { return false }
    return text == word || text.hasPrefix(word + " ")
  }
}

/// The bytes are not RESP2, or beyond a limit: the connection has to be closed.
package struct RESPFault: Error, Equatable, CustomStringConvertible {
  package var description: String

  package init(_ description: String) { self.description = description }
}
