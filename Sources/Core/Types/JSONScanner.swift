import Foundation

/// Why bytes are not JSON, and at which byte.
public struct JSONFault: Error, Equatable {
  public var message: String
  public var offset: Int

  public init(_ message: String, at offset: Int) {
    self.message = message
    self.offset = offset
  }
}

/// A strict forward reader of JSON (RFC 8259) over UTF-8 bytes; it makes no tree and copies
/// nothing it is not asked for. `JSON` makes a tree of what it reads, `RecordParser` columns.
///
/// It is `public` so that the parser of records can inline it: without that ingest is a tenth
/// slower (decision 0016).
///
/// Guarantees: nesting is bounded by `maximumDepth`; strings are checked for control characters,
/// escapes and UTF-8 when they are decoded or skipped.
public struct JSONScanner {
  public enum Kind { case string, number, bool, null, object, array }

  public static let maximumDepth = 64

  @usableFromInline let bytes: UnsafePointer<UInt8>
  @usableFromInline let end: Int
  /// The byte that is read next.
  public var position: Int

  public init(_ buffer: UnsafeBufferPointer<UInt8>) {
    // The pointer of an empty buffer is never read.
    bytes = buffer.baseAddress ?? UnsafePointer(bitPattern: 1).unsafelyUnwrapped
    end = buffer.count
    position = 0
  }

  @inlinable public var isAtEnd: Bool { position >= end }

  @inlinable public func slice(_ range: Range<Int>) -> UnsafeBufferPointer<UInt8> {
    UnsafeBufferPointer(start: bytes + range.lowerBound, count: range.count)
  }

  @inlinable @inline(__always)
  public mutating func skipBlanks() {
    while position < end {
      let byte = bytes[position]
      guard byte <= 32, byte == 32 || byte == 10 || byte == 13 || byte == 9 else { return }
      position += 1
    }
  }

  /// The byte at the position, 0 at the end.
  @inlinable @inline(__always)
  public var current: UInt8 { position < end ? bytes[position] : 0 }

  @inlinable @inline(__always)
  public mutating func take(_ byte: UInt8) -> Bool {
    guard position < end, bytes[position] == byte else { return false }
    position += 1
    return true
  }

  @inlinable public mutating func expect(_ byte: UInt8) throws(JSONFault) {
    guard take(byte) else {
      throw JSONFault("expected '\(Character(UnicodeScalar(byte)))'\(found)", at: position)
    }
  }

  @usableFromInline var found: String {
    position < end
      ? " but found '\(String(decoding: [bytes[position]], as: UTF8.self))'" : " but the text ends"
  }

  @inlinable public func kind() throws(JSONFault) -> Kind {
    switch current {
    case UInt8(ascii: "\""): return .string
    case UInt8(ascii: "{"): return .object
    case UInt8(ascii: "["): return .array
    case UInt8(ascii: "t"), UInt8(ascii: "f"): return .bool
    case UInt8(ascii: "n"): return .null
    case UInt8(ascii: "-"), UInt8(ascii: "0")...UInt8(ascii: "9"): return .number
    default: throw JSONFault("expected a value\(found)", at: position)
    }
  }

  // MARK: Values

  /// The bytes between the quotes, and whether they hold escapes or anything but ASCII.
  @inlinable @inline(__always)
  public mutating func string() throws(JSONFault) -> (range: Range<Int>, isPlain: Bool) {
    try expect(UInt8(ascii: "\""))
    let start = position
    var isPlain = true
    while position < end {
      let byte = bytes[position]
      if byte == UInt8(ascii: "\"") {
        position += 1
        return (start..<position - 1, isPlain)
      }
      if byte == UInt8(ascii: "\\") {
        isPlain = false
        position += 2
        continue
      }
      if byte < 32 { throw JSONFault("a control character in a string", at: position) }
      if byte >= 128 { isPlain = false }
      position += 1
    }
    position = end
    throw JSONFault("a string without its closing quote", at: start - 1)
  }

  /// The text of a string's bytes.
  @inlinable public func text(
    _ string: (range: Range<Int>, isPlain: Bool)
  ) throws(JSONFault) -> String {
    if string.isPlain { return String(decoding: slice(string.range), as: UTF8.self) }
    return try decoded(string.range)
  }

  @usableFromInline
  func decoded(_ range: Range<Int>) throws(JSONFault) -> String {
    let raw = slice(range)
    if !raw.contains(UInt8(ascii: "\\")) {
      guard let text = String(validating: raw, as: UTF8.self) else {
        throw JSONFault("a string that is not UTF-8", at: range.lowerBound)
      }
      return text
    }
    let decoded = try unescaped(range)
    guard let text = String(validating: decoded, as: UTF8.self) else {
      throw JSONFault("a string that is not UTF-8", at: range.lowerBound)
    }
    return text
  }

  private func unescaped(_ range: Range<Int>) throws(JSONFault) -> [UInt8] {
    var decoded: [UInt8] = []
    decoded.reserveCapacity(range.count)
    var at = range.lowerBound
    while at < range.upperBound {
      let byte = bytes[at]
      guard byte == UInt8(ascii: "\\") else {
        decoded.append(byte)
        at += 1
        continue
      }
      let escape = bytes[at + 1]
      at += 2
      switch escape {
      case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): decoded.append(escape)
      case UInt8(ascii: "b"): decoded.append(8)
      case UInt8(ascii: "f"): decoded.append(12)
      case UInt8(ascii: "n"): decoded.append(10)
      case UInt8(ascii: "r"): decoded.append(13)
      case UInt8(ascii: "t"): decoded.append(9)
      case UInt8(ascii: "u"):
        let scalar = try scalar(at: &at, before: range.upperBound)
        decoded.append(contentsOf: Array(String(Character(scalar)).utf8))
      default: throw JSONFault("an unknown escape in a string", at: at - 2)
      }
    }
    return decoded
  }

  /// The scalar of `\uXXXX`, or of a surrogate pair of them; `at` stands after the `u`.
  private func scalar(at: inout Int, before limit: Int) throws(JSONFault) -> UnicodeScalar {
    let start = at
    let first = try hexadecimal(&at, before: limit)
    if let scalar = UnicodeScalar(first) { return scalar }
    guard first < 0xDC00, at + 1 < limit, bytes[at] == UInt8(ascii: "\\"),
      bytes[at + 1] == UInt8(ascii: "u")
    else { throw JSONFault("half of a surrogate pair in a string", at: start) }
    at += 2
    let second = try hexadecimal(&at, before: limit)
    guard (0xDC00...0xDFFF).contains(second),
      let scalar = UnicodeScalar(0x10000 + (first - 0xD800) << 10 + (second - 0xDC00))
    else { throw JSONFault("half of a surrogate pair in a string", at: start) }
    return scalar
  }

  private func hexadecimal(_ at: inout Int, before limit: Int) throws(JSONFault) -> UInt32 {
    guard at + 4 <= limit else { throw JSONFault("an unfinished \\u escape", at: at) }
    var value: UInt32 = 0
    for index in at..<at + 4 {
      guard let digit = Character(UnicodeScalar(bytes[index])).hexDigitValue else {
        throw JSONFault("an unfinished \\u escape", at: at)
      }
      value = value << 4 + UInt32(digit)
    }
    at += 4
    return value
  }

  /// A number by the grammar of JSON.
  @inlinable @inline(__always)
  public mutating func number() throws(JSONFault) -> DecimalNumber {
    let start = position
    guard let number = DecimalNumber(json: bytes, &position, end) else {
      throw JSONFault("a malformed number", at: start)
    }
    return number
  }

  @inlinable public mutating func bool() throws(JSONFault) -> Bool {
    if word("true") { return true }
    if word("false") { return false }
    throw JSONFault("expected true or false", at: position)
  }

  @inlinable public mutating func null() throws(JSONFault) {
    guard word("null") else { throw JSONFault("expected null", at: position) }
  }

  @inlinable @inline(__always)
  mutating func word(_ word: StaticString) -> Bool {
    let count = word.utf8CodeUnitCount
    guard position + count <= end, memcmp(bytes + position, word.utf8Start, count) == 0 else {
      return false
    }
    position += count
    return true
  }

  public func checkDepth(_ depth: Int) throws(JSONFault) {
    guard depth < JSONScanner.maximumDepth else {
      throw JSONFault("values nested deeper than \(JSONScanner.maximumDepth) levels", at: position)
    }
  }

  /// Passes over any value, checking its form.
  public mutating func skipValue(depth: Int = 0) throws(JSONFault) {
    try checkDepth(depth)
    switch try kind() {
    case .string:
      let string = try string()
      if !string.isPlain { _ = try text(string) }
    case .number: _ = try number()
    case .bool: _ = try bool()
    case .null: try null()
    case .array:
      position += 1
      skipBlanks()
      if take(UInt8(ascii: "]")) { return }
      repeat {
        skipBlanks()
        try skipValue(depth: depth + 1)
        skipBlanks()
      } while take(UInt8(ascii: ","))
      try expect(UInt8(ascii: "]"))
    case .object:
      position += 1
      skipBlanks()
      if take(UInt8(ascii: "}")) { return }
      repeat {
        skipBlanks()
        let name = try string()
        if !name.isPlain { _ = try text(name) }
        skipBlanks()
        try expect(UInt8(ascii: ":"))
        skipBlanks()
        try skipValue(depth: depth + 1)
        skipBlanks()
      } while take(UInt8(ascii: ","))
      try expect(UInt8(ascii: "}"))
    }
  }
}
