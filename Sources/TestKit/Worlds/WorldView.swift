import Core

/// A view of a world.
package struct WorldView: Sendable, Equatable, CustomStringConvertible {
  package var entity: String
  package var features: [WorldFeature]

  package var name: String { "of_\(entity)" }

  package func definition() throws -> ViewDefinition {
    ViewDefinition(
      name: name, entity: entity, source: World.source.name,
      features: try features.map { try $0.definition() })
  }

  package var description: String {
    (["view \(name)"] + features.map { "  \($0.name): \($0.kind)" }).joined(separator: "\n")
  }
}

package struct WorldFeature: Sendable, Equatable {
  package enum Kind: Sendable, Equatable {
    case latest(column: String, ttl: Int64?)
    case window(Window)
    case derived(Derivation)
  }

  package struct Window: Sendable, Equatable {
    package var function: AggregateFunction
    /// Nil counts events.
    package var column: String?
    package var filter: Filter?
    package var length: Int64
    /// 1 is exact.
    package var resolution: Int64
    package var share: Double?
    package var limit: Int?
  }

  package var name: String
  package var kind: Kind

  package var type: ColumnType {
    func type(of column: String) -> ColumnType { World.source.column(column)?.type ?? .double }
    switch kind {
    case .latest(let column, _): return type(of: column)
    case .window(let window):
      return window.function.type(over: window.column.map(type) ?? .double)
    case .derived(let derivation): return derivation.type
    }
  }

  func definition() throws -> FeatureDefinition {
    let definition: FeatureKind =
      switch kind {
      case .latest(let column, let ttl):
        .latest(column: column, ttl: ttl.map { Span(microseconds: $0) })
      case .window(let window):
        .window(
          WindowDefinition(
            function: window.function, column: window.column,
            filter: try window.filter.map { try Expression.parse($0.rawValue) },
            length: Span(microseconds: window.length),
            resolution: Span(microseconds: window.resolution), parameter: window.share,
            limit: window.limit))
      case .derived(let derivation): .derived(try Expression.parse(derivation.text))
      }
    return FeatureDefinition(name: name, kind: definition, type: type)
  }
}

/// The filters of a world, as the language has them and as plain code does.
package enum Filter: String, Sendable, CaseIterable {
  case positive = "y > 0"
  case flagged = "flag"
  case small = "x < 1 and text != 't3'"
  /// Of two texts that look alike only the one of a single scalar passes.
  case accented = "text in ('\u{E9}', 't1')"
  case late = "not flag or y % 2 = 1 or when is null"

  func passes(_ event: World.Event) -> Bool {
    let flag: Bool? = if case .bool(let flag) = event.cell("flag") { flag } else { nil }
    let y: Int64? = if case .int64(let y) = event.cell("y") { y } else { nil }
    let text: String? = if case .string(let text) = event.cell("text") { text } else { nil }
    switch self {
    case .positive: return y.map { $0 > 0 } ?? false
    case .flagged: return flag ?? false
    case .small:
      guard case .double(let x) = event.cell("x"), let text else { return false }
      return x < 1 && Array(text.utf8) != Array("t3".utf8)
    case .accented:
      let texts = ["\u{E9}", "t1"].map { Array($0.utf8) }
      return text.map { texts.contains(Array($0.utf8)) } ?? false
    case .late:
      // A remainder has the sign of its left side.
      return flag == false || y.map { $0 > 0 && $0 & 1 == 1 } ?? false
        || event.cell("when").isNull
    }
  }
}

/// Derived features: an expression, and what it must be given its parts (nil is null).
package enum Derivation: Sendable, Equatable {
  case doubled(String)
  case ratio(String, String)
  case signed(String)
  case either(String, String)
  case clipped(String, String)
  case size(String)

  var text: String {
    switch self {
    case .doubled(let a): "coalesce(\(a), 1) * 2.0"
    case .ratio(let a, let b): "\(a) / \(b)"
    case .signed(let a): "if(\(a) > 0, 1.0, \(a) + 0.5)"
    case .either(let a, let b): "\(a) > 0 or \(b) is null"
    case .clipped(let a, let b): "clip(\(a) + 0.0, -2.0, max(\(b), 1.5))"
    case .size(let a): "coalesce(len(\(a)), -1)"
    }
  }

  package var operands: [String] {
    switch self {
    case .doubled(let a), .signed(let a), .size(let a): [a]
    case .ratio(let a, let b), .either(let a, let b), .clipped(let a, let b): a == b ? [a] : [a, b]
    }
  }

  var type: ColumnType {
    switch self {
    case .either: .bool
    case .size: .int64
    case .doubled, .ratio, .signed, .clipped: .double
    }
  }

  /// Plain code; `part` gives the value of an operand.
  func value(_ part: (String) -> Value) -> Value {
    func number(_ name: String) -> Double? { part(name).number }
    func value(_ number: Double?) -> Value { number.map { .double($0) } ?? .null }
    switch self {
    case .doubled(let a): return .double((number(a) ?? 1) * 2)
    case .ratio(let a, let b):
      guard let x = number(a), let y = number(b), y != 0 else { return .null }
      return .double(x / y)
    case .signed(let a):
      if let x = number(a), x > 0 { return .double(1) }
      return value(number(a).map { $0 + 0.5 })
    case .either(let a, let b):
      if part(b).isNull { return .bool(true) }
      return number(a).map { .bool($0 > 0) } ?? .null
    case .clipped(let a, let b):
      guard let x = number(a), let high = number(b) else { return .null }
      if x.isNaN || high.isNaN { return .double(.nan) }
      let raised = x < -2 ? -2 : x
      let bound = high > 1.5 ? high : 1.5
      return .double(raised > bound ? bound : raised)
    case .size(let a):
      guard case .list(let elements) = part(a) else { return .int64(-1) }
      return .int64(Int64(elements.count))
    }
  }
}
