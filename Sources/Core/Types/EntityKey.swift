/// One column of an entity key; texts are compared by their bytes, as the warehouse does.
package enum KeyPart: Hashable, Sendable, Codable {
  case int64(Int64)
  case string(String)

  package init?(_ value: Value) {
    switch value {
    case .int64(let value): self = .int64(value)
    case .string(let value): self = .string(value)
    default: return nil
    }
  }

  package var value: Value {
    switch self {
    case .int64(let value): .int64(value)
    case .string(let value): .string(value)
    }
  }

  package static func == (a: KeyPart, b: KeyPart) -> Bool {
    switch (a, b) {
    case (.int64(let a), .int64(let b)): a == b
    case (.string(let a), .string(let b)): a.hasSameBytes(as: b)
    default: false
    }
  }

  package func hash(into hasher: inout Hasher) {
    switch self {
    case .int64(let value): hasher.combine(value)
    case .string(let value): value.hashBytes(into: &hasher)
    }
  }
}

/// The value of an entity's key columns, in the entity's column order.
///
/// Composite keys stay composite: (1, 23) and (12, 3) differ in every form, in memory and as text. Texts are compared by
/// their bytes, as the warehouse does.
package enum EntityKey: Hashable, Sendable {
  case int64(Int64)
  case string(String)
  case composite([KeyPart])

  /// Nil when a part is null or of a type that cannot be a key.
  package init?(_ values: [Value]) {
    if values.count == 1 {
      switch values[0] {
      case .int64(let value): self = .int64(value)
      case .string(let value): self = .string(value)
      default: return nil
      }
      return
    }
    var parts = [KeyPart](reserving: values.count)
    for value in values {
      guard let part = KeyPart(value) else { return nil }
      parts.append(part)
    }
    self = .composite(parts)
  }

  package var parts: [KeyPart] {
    switch self {
    case .int64(let value): [.int64(value)]
    case .string(let value): [.string(value)]
    case .composite(let parts): parts
    }
  }

  package static func == (a: EntityKey, b: EntityKey) -> Bool {
    switch (a, b) {
    case (.int64(let a), .int64(let b)): a == b
    case (.string(let a), .string(let b)): a.hasSameBytes(as: b)
    case (.composite(let a), .composite(let b)): a == b
    default: false
    }
  }

  /// A view's keys are all of one case, so that the case needs no hash of its own.
  package func hash(into hasher: inout Hasher) {
    switch self {
    case .int64(let value): hasher.combine(value)
    case .string(let value): value.hashBytes(into: &hasher)
    case .composite(let parts): for part in parts { part.hash(into: &hasher) }
    }
  }
}

extension EntityKey: CustomStringConvertible {
  /// Parts joined by `|`; a `|` or `\` inside a part is written with a `\` before it.
  package var description: String {
    parts.map { part in
      switch part {
      case .int64(let value): String(value)
      case .string(let value): value.escaping("\\|", with: "\\")
      }
    }.joined(separator: "|")
  }
}

extension EntityKey {
  /// The keys of every row of the key columns; nil where a part is null.
  package static func keys(of columns: [Column], count: Int) -> [EntityKey?] {
    if columns.count == 1, columns[0].presence == nil {
      switch columns[0].values {
      case .int64(let values): return values.map { .int64($0) }
      case .string(let values): return values.map { .string($0) }
      default: break
      }
    }
    return (0..<count).map { row in EntityKey(columns.map { $0[row] }) }
  }
}
