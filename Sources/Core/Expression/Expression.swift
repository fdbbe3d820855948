/// The expression language of `where`, `derived` and label values (semantics §5), as a tree.
package indirect enum Expression: Sendable, Hashable, Codable {
  case literal(Literal)
  /// A column, feature or request input; `view.feature` keeps its dot.
  case name(String)
  case unary(UnaryOperator, Expression)
  case binary(BinaryOperator, Expression, Expression)
  /// A function by its lower-case name: `if`, `coalesce`, `abs`, …
  case call(String, [Expression])
  /// `x in (a, b)`.
  case membership(Expression, [Expression])

  package enum Literal: Sendable, Hashable, Codable {
    case null
    case bool(Bool)
    case int64(Int64)
    case double(Double)
    case string(String)

    /// Texts are equal where their bytes are, so that filters that differ in them stay two filters.
    package static func == (a: Literal, b: Literal) -> Bool {
      switch (a, b) {
      case (.null, .null): true
      case (.bool(let a), .bool(let b)): a == b
      case (.int64(let a), .int64(let b)): a == b
      case (.double(let a), .double(let b)): a == b
      case (.string(let a), .string(let b)): a.hasSameBytes(as: b)
      default: false
      }
    }

    package func hash(into hasher: inout Hasher) {
      switch self {
      case .null: hasher.combine(0)
      case .bool(let value): hasher.combine(value)
      case .int64(let value): hasher.combine(value)
      case .double(let value): hasher.combine(value)
      case .string(let value): value.hashBytes(into: &hasher)
      }
    }
  }

  package enum UnaryOperator: String, Sendable, Codable { case negate, not }

  package enum BinaryOperator: String, Sendable, Codable {
    case add, subtract, multiply, divide, modulo
    case equal, notEqual, less, lessOrEqual, greater, greaterOrEqual
    case and, or
  }

  /// Every name that the expression reads, without repeats, in order of first use.
  package var names: [String] {
    var found: [String] = []
    collectNames(into: &found)
    return found
  }

  private func collectNames(into found: inout [String]) {
    switch self {
    case .literal: break
    case .name(let name): if !found.contains(name) { found.append(name) }
    case .unary(_, let operand): operand.collectNames(into: &found)
    case .binary(_, let left, let right):
      left.collectNames(into: &found)
      right.collectNames(into: &found)
    case .call(_, let arguments): for one in arguments { one.collectNames(into: &found) }
    case .membership(let operand, let members):
      operand.collectNames(into: &found)
      for one in members { one.collectNames(into: &found) }
    }
  }
}

/// What is wrong with an expression and at which character (0-based) of its text.
package struct ExpressionError: Error, Equatable, Sendable {
  package var message: String
  package var offset: Int

  package init(_ message: String, at offset: Int = 0) {
    self.message = message
    self.offset = offset
  }
}
