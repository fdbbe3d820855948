import NIOCore

/// One command with its arguments.
package struct RedisRequest: Sendable, Equatable {
  package var arguments: [[UInt8]]
  /// A key of the command, which tells the node of a Cluster; nil where any node will do. All keys of a command are of one slot.
  package var key: [UInt8]?

  package init(_ arguments: [[UInt8]], key: [UInt8]? = nil) {
    self.arguments = arguments
    self.key = key
  }

  package init(_ arguments: String..., key: [UInt8]? = nil) {
    self.init(arguments.map { Array($0.utf8) }, key: key)
  }

  /// Writes the command as an array of binary strings.
  package func write(into buffer: inout ByteBuffer) {
    RedisRequest.write(UInt8(ascii: "*"), arguments.count, into: &buffer)
    for argument in arguments {
      RedisRequest.write(UInt8(ascii: "$"), argument.count, into: &buffer)
      buffer.writeBytes(argument)
      buffer.writeInteger(0x0D0A as UInt16)
    }
  }

  private static func write(_ kind: UInt8, _ count: Int, into buffer: inout ByteBuffer) {
    buffer.writeInteger(kind)
    if count < 10 {
      buffer.writeInteger(UInt8(48 + count))
    } else {
      buffer.writeString(String(count))
    }
    buffer.writeInteger(0x0D0A as UInt16)
  }

  package static func encoded(_ requests: some Sequence<RedisRequest>) -> ByteBuffer {
    var buffer = ByteBuffer()
    for request in requests { request.write(into: &buffer) }
    return buffer
  }
}
