/// JSON text written straight to bytes: the only place that does, for answers, logs and quarantined records.
///
/// NaN and infinities, for which JSON has no numbers, become the strings "NaN", "Infinity" and "-Infinity", which
/// records may have in columns of doubles.
extension JSON {
  package var text: String { String(decoding: utf8, as: UTF8.self) }

  package var utf8: [UInt8] {
    var bytes: [UInt8] = []
    write(into: &bytes)
    return bytes
  }

  /// Appends the compact text of the value.
  package func write(into bytes: inout [UInt8]) {
    switch self {
    case .null: bytes.append(contentsOf: "null".utf8)
    case .bool(let value): JSON.write(value, into: &bytes)
    case .int(let value): JSON.write(value, into: &bytes)
    case .double(let value): JSON.write(value, into: &bytes)
    case .string(let value): JSON.write(value, into: &bytes)
    case .array(let items):
      bytes.append(UInt8(ascii: "["))
      for (index, item) in items.enumerated() {
        if index > 0 { bytes.append(UInt8(ascii: ",")) }
        item.write(into: &bytes)
      }
      bytes.append(UInt8(ascii: "]"))
    case .object(let members):
      bytes.append(UInt8(ascii: "{"))
      for (index, member) in members.enumerated() {
        if index > 0 { bytes.append(UInt8(ascii: ",")) }
        JSON.write(member.key, into: &bytes)
        bytes.append(UInt8(ascii: ":"))
        member.value.write(into: &bytes)
      }
      bytes.append(UInt8(ascii: "}"))
    }
  }

  /// A feature's or a column's value as the API shows it; times are ISO 8601 text.
  package static func write(_ value: Value, into bytes: inout [UInt8]) {
    switch value {
    case .null: bytes.append(contentsOf: "null".utf8)
    case .bool(let value): write(value, into: &bytes)
    case .int64(let value): write(value, into: &bytes)
    case .double(let value): write(value, into: &bytes)
    case .string(let value): write(value, into: &bytes)
    case .timestamp(let value): write(value.description, into: &bytes)
    case .list(let elements): write(elements, into: &bytes)
    }
  }

  private static func write(_ elements: ColumnValues, into bytes: inout [UInt8]) {
    func separated<T>(_ all: [T], _ write: (T, inout [UInt8]) -> Void) {
      for (index, one) in all.enumerated() {
        if index > 0 { bytes.append(UInt8(ascii: ",")) }
        write(one, &bytes)
      }
    }
    bytes.append(UInt8(ascii: "["))
    switch elements {
    case .double(let all): separated(all) { write($0, into: &$1) }
    case .int64(let all): separated(all) { $1.append(contentsOf: String($0).utf8) }
    case .string(let all): separated(all) { write($0, into: &$1) }
    case .bool, .timestamp, .list: separated(elements.scalars) { write($0, into: &$1) }
    }
    bytes.append(UInt8(ascii: "]"))
  }

  /// A member of the object at the end of `bytes`, with a comma unless it is the first.
  package static func writeMember(_ name: String, _ value: Value, into bytes: inout [UInt8]) {
    if bytes.last != UInt8(ascii: "{") { bytes.append(UInt8(ascii: ",")) }
    write(name, into: &bytes)
    bytes.append(UInt8(ascii: ":"))
    write(value, into: &bytes)
  }

  package static func write(_ value: Bool, into bytes: inout [UInt8]) {
    bytes.append(contentsOf: (value ? "true" : "false").utf8)
  }

  package static func write(_ value: Int64, into bytes: inout [UInt8]) {
    bytes.append(contentsOf: String(value).utf8)
  }

  package static func write(_ value: Double, into bytes: inout [UInt8]) {
    if value.isFinite {
      bytes.append(contentsOf: value.description.utf8)
    } else {
      write(value.isNaN ? "NaN" : value > 0 ? "Infinity" : "-Infinity", into: &bytes)
    }
  }

  package static func write(_ text: String, into bytes: inout [UInt8]) {
    var text = text
    bytes.append(UInt8(ascii: "\""))
    text.withUTF8 { text in
      // Runs without anything to escape are most of all text.
      var start = 0
      for position in 0..<text.count where needsEscape(text[position]) {
        bytes.append(contentsOf: UnsafeBufferPointer(rebasing: text[start..<position]))
        writeEscape(of: text[position], into: &bytes)
        start = position + 1
      }
      bytes.append(contentsOf: UnsafeBufferPointer(rebasing: text[start...]))
    }
    bytes.append(UInt8(ascii: "\""))
  }

  @inline(__always)
  private static func needsEscape(_ byte: UInt8) -> Bool {
    byte < 0x20 || byte == UInt8(ascii: "\"") || byte == UInt8(ascii: "\\")
  }

  private static func writeEscape(of byte: UInt8, into bytes: inout [UInt8]) {
    bytes.append(UInt8(ascii: "\\"))
    switch byte {
    case 8: bytes.append(UInt8(ascii: "b"))
    case 9: bytes.append(UInt8(ascii: "t"))
    case 10: bytes.append(UInt8(ascii: "n"))
    case 12: bytes.append(UInt8(ascii: "f"))
    case 13: bytes.append(UInt8(ascii: "r"))
    case 0..<0x20:
      bytes.append(contentsOf: "u00".utf8)
      bytes.append(byte < 16 ? UInt8(ascii: "0") : UInt8(ascii: "1"))
      let digit = byte & 15
      bytes.append(digit < 10 ? UInt8(ascii: "0") + digit : UInt8(ascii: "a") + digit - 10)
    default: bytes.append(byte)
    }
  }
}
