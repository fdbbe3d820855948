import Core
import NIOCore

/// Reads replies out of the bytes that have arrived.
///
/// Pure. What is incomplete is left where it is and read from its beginning when more has arrived; replies are short
/// beside what arrives at once, so that little is read twice.
package struct RESPParser {
  private static let depthLimit = 8
  private static let lineBytes = 64 << 10

  private let bytes: UnsafeRawBufferPointer
  /// What binary strings are slices of.
  private let buffer: ByteBuffer
  private var position = 0

  /// The next whole reply, nil while it is incomplete.
  package static func next(in buffer: inout ByteBuffer) throws(RESPFault) -> RESPValue? {
    let read = buffer.withUnsafeReadableBytes {
      (bytes) -> Result<(value: RESPValue, count: Int)?, RESPFault> in
      var parser = RESPParser(bytes: bytes, buffer: buffer)
      do throws(RESPFault) {
        return .success(try parser.value(depth: 0).map { ($0, parser.position) })
      } catch {
        return .failure(error)
      }
    }
    guard let (value, count) = try read.get() else { return nil }
    buffer.moveReaderIndex(forwardBy: count)
    return value
  }

  private init(bytes: UnsafeRawBufferPointer, buffer: ByteBuffer) {
    self.bytes = bytes
    self.buffer = buffer
  }

  private mutating func value(depth: Int) throws(RESPFault) -> RESPValue? {
    guard depth < RESPParser.depthLimit else { throw RESPFault("a reply is nested too deeply") }
    guard position < bytes.count else { return nil }
    let kind = bytes[position]
    position += 1
    guard let line = try line() else { return nil }
    switch kind {
    case UInt8(ascii: "+"): return .simple(text(line))
    case UInt8(ascii: "-"): return .error(text(line))
    case UInt8(ascii: ":"): return .integer(try number(line))
    case UInt8(ascii: "$"): return try bulk(count: number(line))
    case UInt8(ascii: "*"): return try array(count: number(line), depth: depth)
    default: throw RESPFault("byte \(kind) begins no reply of RESP2; is this a Redis server?")
    }
  }

  private mutating func line() throws(RESPFault) -> Range<Int>? {
    let start = position
    var end = start
    while end < bytes.count, bytes[end] != 13 { end += 1 }
    guard end - start <= RESPParser.lineBytes else { throw RESPFault("a line has no end") }
    guard end + 1 < bytes.count else { return nil }
    guard bytes[end + 1] == 10 else { throw RESPFault("a line does not end in CR LF") }
    position = end + 2
    return start..<end
  }

  private func text(_ range: Range<Int>) -> String {
    String(decoding: UnsafeRawBufferPointer(rebasing: bytes[range]), as: UTF8.self)
  }

  private func number(_ range: Range<Int>) throws(RESPFault) -> Int64 {
    var digits = range
    let isNegative = !range.isEmpty && bytes[range.lowerBound] == UInt8(ascii: "-")
    if isNegative { digits = range.lowerBound + 1..<range.upperBound }
    // The magnitude of the least number has no positive counterpart: it is built below zero.
    var value: Int64 = 0
    guard !digits.isEmpty else { throw RESPFault("a number has no digits") }
    for index in digits {
      let digit = bytes[index] &- 48
      let (tens, first) = value.multipliedReportingOverflow(by: 10)
      let (next, second) = tens.subtractingReportingOverflow(Int64(digit))
      guard digit < 10, !first, !second else {
        throw RESPFault("'\(text(range))' is not a number of 64 bits")
      }
      value = next
    }
    guard isNegative || value != .min else { throw RESPFault("'\(text(range))' is too large") }
    return isNegative ? value : -value
  }

  private mutating func bulk(count: Int64) throws(RESPFault) -> RESPValue? {
    if count == -1 { return .null }
    guard count >= 0, count <= Int64(Limits.redisReplyBytes) else {
      throw RESPFault("a value of \(count) bytes; at most \(Limits.redisReplyBytes) are taken")
    }
    let end = position + Int(count)
    guard end + 2 <= bytes.count else { return nil }
    guard bytes[end] == 13, bytes[end + 1] == 10,
      let slice = buffer.getSlice(at: buffer.readerIndex + position, length: Int(count))
    else { throw RESPFault("a value does not end in CR LF") }
    position = end + 2
    return .bulk(slice)
  }

  private mutating func array(count: Int64, depth: Int) throws(RESPFault) -> RESPValue? {
    if count == -1 { return .null }
    guard count >= 0, count <= Int64(Limits.redisReplyBytes) else {
      throw RESPFault("a reply of \(count) parts")
    }
    var items: [RESPValue] = []
    // The count is the server's word; room for what has not come yet is not taken on it.
    items.reserveCapacity(min(Int(count), bytes.count - position))
    for _ in 0..<count {
      guard let item = try value(depth: depth + 1) else { return nil }
      items.append(item)
    }
    return .array(items)
  }
}
