/// A parsed JSON value; objects keep their order and, of repeated keys, the last.
package enum JSON: Sendable, Equatable {
  case null
  case bool(Bool)
  case int(Int64)
  case double(Double)
  case string(String)
  case array([JSON])
  case object([Member])

  package struct Member: Sendable, Equatable {
    package var key: String
    package var value: JSON

    package init(_ key: String, _ value: JSON) {
      self.key = key
      self.value = value
    }
  }

  package static func object(_ members: KeyValuePairs<String, JSON>) -> JSON {
    .object(members.map { Member($0.key, $0.value) })
  }

  package subscript(key: String) -> JSON? {
    guard case .object(let members) = self else { return nil }
    return members.last { $0.key == key }?.value
  }

  package var string: String? { if case .string(let value) = self { value } else { nil } }
  package var array: [JSON]? { if case .array(let value) = self { value } else { nil } }
  package var bool: Bool? { if case .bool(let value) = self { value } else { nil } }
  package var int: Int64? { if case .int(let value) = self { value } else { nil } }

  package var number: Double? {
    switch self {
    case .int(let value): Double(value)
    case .double(let value): value
    default: nil
    }
  }

  /// The scalar as a value; nil for arrays and objects.
  package var scalar: Value? {
    switch self {
    case .null: .null
    case .bool(let value): .bool(value)
    case .int(let value): .int64(value)
    case .double(let value): .double(value)
    case .string(let value): .string(value)
    case .array, .object: nil
    }
  }

  package init(_ value: Value) {
    switch value {
    case .null: self = .null
    case .bool(let value): self = .bool(value)
    case .int64(let value): self = .int(value)
    case .double(let value): self = .double(value)
    case .string(let value): self = .string(value)
    case .timestamp(let value): self = .string(value.description)
    }
  }
}

extension JSON {
  private static let depthLimit = 64

  /// Reads one JSON text (RFC 8259, UTF-8); an error names the byte.
  package init(parsing bytes: UnsafeBufferPointer<UInt8>) throws(PlatformError) {
    var reader = Reader(bytes: bytes)
    self = try reader.value(depth: 0)
    reader.skipBlanks()
    guard reader.position == bytes.count else {
      throw reader.fault("text after the end of the JSON value")
    }
  }

  package init(parsing bytes: [UInt8]) throws {
    self = try bytes.withUnsafeBufferPointer { try JSON(parsing: $0) }
  }

  private struct Reader {
    let bytes: UnsafeBufferPointer<UInt8>
    var position = 0

    init(bytes: UnsafeBufferPointer<UInt8>) { self.bytes = bytes }

    func fault(_ what: String) -> PlatformError {
      PlatformError(.invalidArgument, "not valid JSON at byte \(position): \(what)")
    }

    mutating func skipBlanks() {
      while position < bytes.count {
        switch bytes[position] {
        case 0x20, 0x09, 0x0A, 0x0D: position += 1
        default: return
        }
      }
    }

    mutating func value(depth: Int) throws(PlatformError) -> JSON {
      guard depth < depthLimit else { throw fault("nested deeper than \(depthLimit) levels") }
      skipBlanks()
      guard position < bytes.count else { throw fault("the text ends here") }
      switch bytes[position] {
      case UInt8(ascii: "{"): return try object(depth: depth)
      case UInt8(ascii: "["): return try array(depth: depth)
      case UInt8(ascii: "\""): return .string(try text())
      case UInt8(ascii: "t"): return try word("true", .bool(true))
      case UInt8(ascii: "f"): return try word("false", .bool(false))
      case UInt8(ascii: "n"): return try word("null", .null)
      default: return try number()
      }
    }

    mutating func word(_ word: StaticString, _ value: JSON) throws(PlatformError) -> JSON {
      let count = word.utf8CodeUnitCount
      guard position + count <= bytes.count else { throw fault("expected \(word)") }
      for index in 0..<count where bytes[position + index] != word.utf8Start[index] {
        throw fault("expected \(word)")
      }
      position += count
      return value
    }

    mutating func object(depth: Int) throws(PlatformError) -> JSON {
      position += 1
      var members: [Member] = []
      skipBlanks()
      if take(UInt8(ascii: "}")) { return .object(members) }
      while true {
        skipBlanks()
        guard position < bytes.count, bytes[position] == UInt8(ascii: "\"") else {
          throw fault("expected a key in double quotes")
        }
        let key = try text()
        skipBlanks()
        guard take(UInt8(ascii: ":")) else { throw fault("expected ':' after the key '\(key)'") }
        members.append(Member(key, try value(depth: depth + 1)))
        skipBlanks()
        if take(UInt8(ascii: ",")) { continue }
        guard take(UInt8(ascii: "}")) else { throw fault("expected ',' or '}'") }
        return .object(members)
      }
    }

    mutating func array(depth: Int) throws(PlatformError) -> JSON {
      position += 1
      var items: [JSON] = []
      skipBlanks()
      if take(UInt8(ascii: "]")) { return .array(items) }
      while true {
        items.append(try value(depth: depth + 1))
        skipBlanks()
        if take(UInt8(ascii: ",")) { continue }
        guard take(UInt8(ascii: "]")) else { throw fault("expected ',' or ']'") }
        return .array(items)
      }
    }

    mutating func take(_ byte: UInt8) -> Bool {
      guard position < bytes.count, bytes[position] == byte else { return false }
      position += 1
      return true
    }

    mutating func text() throws(PlatformError) -> String {
      position += 1
      let start = position
      while position < bytes.count {
        let byte = bytes[position]
        if byte == UInt8(ascii: "\"") {
          let piece = UnsafeBufferPointer(rebasing: bytes[start..<position])
          guard let text = String(validating: piece, as: UTF8.self) else {
            throw fault("a string that is not UTF-8")
          }
          position += 1
          return text
        }
        if byte == UInt8(ascii: "\\") { return try escapedText(from: start) }
        guard byte >= 0x20 else { throw fault("a control character in a string") }
        position += 1
      }
      throw fault("a string without its closing quote")
    }

    mutating func escapedText(from start: Int) throws(PlatformError) -> String {
      var content = Array(bytes[start..<position])
      while position < bytes.count {
        let byte = bytes[position]
        position += 1
        switch byte {
        case UInt8(ascii: "\""):
          guard let text = String(validating: content, as: UTF8.self) else {
            throw fault("a string that is not UTF-8")
          }
          return text
        case UInt8(ascii: "\\"): try escape(into: &content)
        case 0..<0x20: throw fault("a control character in a string")
        default: content.append(byte)
        }
      }
      throw fault("a string without its closing quote")
    }

    mutating func escape(into content: inout [UInt8]) throws(PlatformError) {
      guard position < bytes.count else { throw fault("an escape without its letter") }
      let byte = bytes[position]
      position += 1
      switch byte {
      case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): content.append(byte)
      case UInt8(ascii: "b"): content.append(8)
      case UInt8(ascii: "f"): content.append(12)
      case UInt8(ascii: "n"): content.append(10)
      case UInt8(ascii: "r"): content.append(13)
      case UInt8(ascii: "t"): content.append(9)
      case UInt8(ascii: "u"):
        var code = try hexadecimal()
        if (0xD800..<0xDC00).contains(code) {
          guard take(UInt8(ascii: "\\")), take(UInt8(ascii: "u")) else {
            throw fault("half of a surrogate pair")
          }
          let low = try hexadecimal()
          guard (0xDC00..<0xE000).contains(low) else { throw fault("half of a surrogate pair") }
          code = 0x10000 + (code - 0xD800) << 10 + (low - 0xDC00)
        }
        guard let scalar = Unicode.Scalar(code) else { throw fault("half of a surrogate pair") }
        content.append(contentsOf: Array(String(Character(scalar)).utf8))
      default: throw fault("an unknown escape")
      }
    }

    mutating func hexadecimal() throws(PlatformError) -> UInt32 {
      guard position + 4 <= bytes.count else { throw fault("\\u needs four hexadecimal digits") }
      var code: UInt32 = 0
      for _ in 0..<4 {
        guard let digit = Character(Unicode.Scalar(bytes[position])).hexDigitValue else {
          throw fault("\\u needs four hexadecimal digits")
        }
        code = code << 4 + UInt32(digit)
        position += 1
      }
      return code
    }

    mutating func number() throws(PlatformError) -> JSON {
      let start = position
      var isInteger = true
      if position < bytes.count, bytes[position] == UInt8(ascii: "-") { position += 1 }
      let digits = position
      var magnitude: UInt64 = 0
      var overflow = false
      while position < bytes.count, bytes[position] &- 48 < 10 {
        let (product, first) = magnitude.multipliedReportingOverflow(by: 10)
        let (sum, second) = product.addingReportingOverflow(UInt64(bytes[position] - 48))
        magnitude = sum
        overflow = overflow || first || second
        position += 1
      }
      guard position > digits else { throw fault("expected a value") }
      guard bytes[digits] != 48 || position == digits + 1 else {
        throw fault("a number with a leading zero")
      }
      if take(UInt8(ascii: ".")) {
        isInteger = false
        try requireDigits()
      }
      if take(UInt8(ascii: "e")) || take(UInt8(ascii: "E")) {
        isInteger = false
        if !take(UInt8(ascii: "+")) { _ = take(UInt8(ascii: "-")) }
        try requireDigits()
      }
      if isInteger, !overflow, magnitude <= UInt64(Int64.max) {
        return .int(start == digits ? Int64(magnitude) : -Int64(magnitude))
      }
      let text = String(
        decoding: UnsafeBufferPointer(rebasing: bytes[start..<position]), as: UTF8.self)
      guard let value = Double(text) else { throw fault("'\(text)' is not a number") }
      return .double(value)
    }

    mutating func requireDigits() throws(PlatformError) {
      let start = position
      while position < bytes.count, bytes[position] &- 48 < 10 { position += 1 }
      guard position > start else { throw fault("a number that ends too early") }
    }
  }
}

extension JSON {
  /// Compact JSON text; NaN and infinities, which JSON cannot write, become the strings "NaN", "Infinity", "-Infinity".
  package var text: String { String(decoding: utf8, as: UTF8.self) }

  package var utf8: [UInt8] {
    var bytes: [UInt8] = []
    write(into: &bytes)
    return bytes
  }

  package func write(into bytes: inout [UInt8]) {
    switch self {
    case .null: bytes.append(contentsOf: "null".utf8)
    case .bool(let value): bytes.append(contentsOf: (value ? "true" : "false").utf8)
    case .int(let value): bytes.append(contentsOf: String(value).utf8)
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

  package static func write(_ value: Double, into bytes: inout [UInt8]) {
    if value.isFinite {
      bytes.append(contentsOf: value.description.utf8)
    } else {
      write(value.isNaN ? "NaN" : value > 0 ? "Infinity" : "-Infinity", into: &bytes)
    }
  }

  package static func write(_ text: String, into bytes: inout [UInt8]) {
    bytes.append(UInt8(ascii: "\""))
    for byte in text.utf8 {
      switch byte {
      case UInt8(ascii: "\""), UInt8(ascii: "\\"):
        bytes.append(UInt8(ascii: "\\"))
        bytes.append(byte)
      case 10: bytes.append(contentsOf: "\\n".utf8)
      case 13: bytes.append(contentsOf: "\\r".utf8)
      case 9: bytes.append(contentsOf: "\\t".utf8)
      case 0..<0x20:
        let hex = String(byte, radix: 16)
        bytes.append(contentsOf: ("\\u00" + (hex.count == 1 ? "0" : "") + hex).utf8)
      default: bytes.append(byte)
      }
    }
    bytes.append(UInt8(ascii: "\""))
  }

  /// A feature's value as the API shows it.
  package static func write(_ value: Value, into bytes: inout [UInt8]) {
    switch value {
    case .null: bytes.append(contentsOf: "null".utf8)
    case .bool(let value): bytes.append(contentsOf: (value ? "true" : "false").utf8)
    case .int64(let value): bytes.append(contentsOf: String(value).utf8)
    case .double(let value): write(value, into: &bytes)
    case .string(let value): write(value, into: &bytes)
    case .timestamp(let value): write(value.description, into: &bytes)
    }
  }
}
