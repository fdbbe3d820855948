/// A parsed JSON value; objects keep their order and, of repeated keys, the last. Texts are compared by their bytes.
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

    package static func == (a: Member, b: Member) -> Bool {
      a.key.hasSameBytes(as: b.key) && a.value == b.value
    }
  }

  package static func == (a: JSON, b: JSON) -> Bool {
    switch (a, b) {
    case (.null, .null): true
    case (.bool(let a), .bool(let b)): a == b
    case (.int(let a), .int(let b)): a == b
    case (.double(let a), .double(let b)): a == b
    case (.string(let a), .string(let b)): a.hasSameBytes(as: b)
    case (.array(let a), .array(let b)): a == b
    case (.object(let a), .object(let b)): a == b
    default: false
    }
  }

  package static func object(_ members: KeyValuePairs<String, JSON>) -> JSON {
    .object(members.map { Member($0.key, $0.value) })
  }

  package subscript(key: String) -> JSON? {
    guard case .object(let members) = self else { return nil }
    return members.last { $0.key.hasSameBytes(as: key) }?.value
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

  /// The JSON as a value: a scalar, or an array of scalars of one kind without null (numbers are int64 where all are
  /// whole); nil for anything else.
  package var value: Value? {
    guard case .array(let items) = self else { return scalar }
    switch items.first {
    case .bool:
      let all = items.compactMap(\.bool)
      return all.count == items.count ? .list(.bool(all)) : nil
    case .string:
      let all = items.compactMap(\.string)
      if all.count == items.count { return .list(.string(all)) }
    default: break
    }
    let whole = items.compactMap(\.int)
    if whole.count == items.count { return .list(.int64(whole)) }
    let numbers = items.compactMap(\.extendedNumber)
    return numbers.count == items.count ? .list(.double(numbers)) : nil
  }

  /// A number, or the text that stands for one that JSON cannot write.
  private var extendedNumber: Double? {
    switch self {
    case .string("NaN"): .nan
    case .string("Infinity"): .infinity
    case .string("-Infinity"): -.infinity
    default: number
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
    case .list(let elements): self = .array(elements.scalars.map { JSON($0) })
    }
  }
}

extension JSON {
  /// Reads one JSON text (RFC 8259, UTF-8); an error names the byte.
  package init(parsing bytes: UnsafeBufferPointer<UInt8>) throws(PlatformError) {
    var scanner = JSONScanner(bytes)
    do throws(JSONFault) {
      self = try JSON(&scanner, depth: 0)
      scanner.skipBlanks()
      guard scanner.isAtEnd else {
        throw JSONFault("text after the end of the JSON value", at: scanner.position)
      }
    } catch {
      throw PlatformError(
        .invalidArgument, "not valid JSON at byte \(error.offset): \(error.message)")
    }
  }

  package init(parsing bytes: [UInt8]) throws {
    self = try bytes.withUnsafeBufferPointer { try JSON(parsing: $0) }
  }

  /// The value at the scanner's position as a tree.
  private init(_ scanner: inout JSONScanner, depth: Int) throws(JSONFault) {
    try scanner.checkDepth(depth)
    scanner.skipBlanks()
    switch try scanner.kind() {
    case .object: self = try JSON.object(&scanner, depth: depth)
    case .array: self = try JSON.array(&scanner, depth: depth)
    case .string: self = .string(try scanner.text(try scanner.string()))
    case .bool: self = .bool(try scanner.bool())
    case .null:
      try scanner.null()
      self = .null
    case .number:
      let number = try scanner.number()
      self = number.int64.map { .int($0) } ?? .double(number.double)
    }
  }

  private static func object(_ scanner: inout JSONScanner, depth: Int) throws(JSONFault) -> JSON {
    var members: [Member] = []
    try scanner.expect(UInt8(ascii: "{"))
    scanner.skipBlanks()
    if scanner.take(UInt8(ascii: "}")) { return .object(members) }
    repeat {
      scanner.skipBlanks()
      let key = try scanner.text(try scanner.string())
      scanner.skipBlanks()
      try scanner.expect(UInt8(ascii: ":"))
      members.append(Member(key, try JSON(&scanner, depth: depth + 1)))
      scanner.skipBlanks()
    } while scanner.take(UInt8(ascii: ","))
    try scanner.expect(UInt8(ascii: "}"))
    return .object(members)
  }

  private static func array(_ scanner: inout JSONScanner, depth: Int) throws(JSONFault) -> JSON {
    var items: [JSON] = []
    try scanner.expect(UInt8(ascii: "["))
    scanner.skipBlanks()
    if scanner.take(UInt8(ascii: "]")) { return .array(items) }
    repeat {
      items.append(try JSON(&scanner, depth: depth + 1))
      scanner.skipBlanks()
    } while scanner.take(UInt8(ascii: ","))
    try scanner.expect(UInt8(ascii: "]"))
    return .array(items)
  }
}
