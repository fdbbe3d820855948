/// One typed value; `null` is an observation of nothing. Texts are compared by their bytes, as the warehouse does.
package enum Value: Hashable, Sendable {
  case null
  case bool(Bool)
  case int64(Int64)
  case double(Double)
  case string(String)
  case timestamp(Timestamp)
  /// An array: its elements, which are scalars of one type and never null.
  case list(ColumnValues)

  package static func == (a: Value, b: Value) -> Bool {
    switch (a, b) {
    case (.null, .null): true
    case (.bool(let a), .bool(let b)): a == b
    case (.int64(let a), .int64(let b)): a == b
    case (.double(let a), .double(let b)): a == b
    case (.string(let a), .string(let b)): a.hasSameBytes(as: b)
    case (.timestamp(let a), .timestamp(let b)): a == b
    case (.list(let a), .list(let b)): a == b
    default: false
    }
  }

  package func hash(into hasher: inout Hasher) {
    hasher.combine(type)
    switch self {
    case .null: break
    case .bool(let value): hasher.combine(value)
    case .int64(let value): hasher.combine(value)
    case .double(let value): hasher.combine(value)
    case .string(let value): value.hashBytes(into: &hasher)
    case .timestamp(let value): hasher.combine(value)
    case .list(let elements): hasher.combine(elements.count)
    }
  }

  package var isNull: Bool { if case .null = self { true } else { false } }

  /// Of a list the array of any length.
  package var type: ColumnType? {
    switch self {
    case .null: nil
    case .bool: .bool
    case .int64: .int64
    case .double: .double
    case .string: .string
    case .timestamp: .timestamp
    case .list(let elements): .array(of: elements.type.scalar, length: nil)
    }
  }

  /// The number this value stands for (true is 1), nil for null, text, times and arrays.
  package var number: Double? {
    switch self {
    case .bool(let value): value ? 1 : 0
    case .int64(let value): Double(value)
    case .double(let value): value
    case .null, .string, .timestamp, .list: nil
    }
  }
}

/// Why a feature has the value it has; one is never given for another (semantics §8).
package enum FeatureStatus: String, Sendable, Codable {
  case present, null
  case notFound = "not_found"
  case expired
}
