/// The type of one value, and of the elements of an array.
package enum ScalarType: String, Sendable, Codable, CaseIterable {
  case bool, int64, double, string, timestamp
}

/// The type of a column, a feature or a request input.
package enum ColumnType: Sendable, Hashable {
  case bool, int64, double, string, timestamp
  /// Values that are lists of elements, none of them null; `length` is how many each has, nil lets it vary.
  case array(of: ScalarType, length: Int?)

  /// The types that are not arrays.
  package static let scalars: [ColumnType] = ScalarType.allCases.map { ColumnType($0) }

  package init(_ scalar: ScalarType) {
    self =
      switch scalar {
      case .bool: .bool
      case .int64: .int64
      case .double: .double
      case .string: .string
      case .timestamp: .timestamp
      }
  }

  /// Of an array its elements' type, else the type itself.
  package var scalar: ScalarType {
    switch self {
    case .bool: .bool
    case .int64: .int64
    case .double: .double
    case .string: .string
    case .timestamp: .timestamp
    case .array(let element, _): element
    }
  }

  package var isNumeric: Bool { self == .int64 || self == .double }

  package var isArray: Bool { if case .array = self { true } else { false } }

  /// An array of bools or numbers of one length: what a model's vector can hold element by element.
  package var isFixedNumberArray: Bool {
    guard case .array(_, .some) = self else { return false }
    return hasNumberElements
  }

  /// Whether it is an array of bools or numbers.
  package var hasNumberElements: Bool {
    guard case .array(let element, _) = self else { return false }
    return element == .bool || element == .int64 || element == .double
  }
}

/// As text: `double`, `string[]`, `double[384]`.
extension ColumnType: Codable {
  package var rawValue: String {
    switch self {
    case .array(let element, nil): "\(element.rawValue)[]"
    case .array(let element, let length?): "\(element.rawValue)[\(length)]"
    case .bool, .int64, .double, .string, .timestamp: scalar.rawValue
    }
  }

  /// Nil for text that names no type, and for lengths outside 1…`Limits.fixedArrayElements`.
  package init?(rawValue text: String) {
    let parts = text.split(separator: "[", maxSplits: 1, omittingEmptySubsequences: false)
    guard let element = ScalarType(rawValue: String(parts[0])) else { return nil }
    guard parts.count == 2 else {
      self.init(element)
      return
    }
    guard parts[1].last == "]" else { return nil }
    let digits = parts[1].dropLast()
    if digits.isEmpty {
      self = .array(of: element, length: nil)
      return
    }
    guard digits.allSatisfy({ $0.isASCII && $0.isNumber }), let length = Int(digits),
      (1...Limits.fixedArrayElements).contains(length)
    else { return nil }
    self = .array(of: element, length: length)
  }

  package init(from decoder: any Decoder) throws {
    let container = try decoder.singleValueContainer()
    let text = try container.decode(String.self)
    guard let type = ColumnType(rawValue: text) else {
      throw DecodingError.dataCorruptedError(
        in: container, debugDescription: "'\(text)' is not the type of a column")
    }
    self = type
  }

  package func encode(to encoder: any Encoder) throws {
    var container = encoder.singleValueContainer()
    try container.encode(rawValue)
  }
}
