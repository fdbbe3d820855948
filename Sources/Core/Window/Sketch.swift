/// Which sketch a window function is read from.
package enum SketchKind: Sendable, Hashable, Codable {
  /// `variance` and `stddev`.
  case moments
  /// `count_distinct`.
  case distinct
  /// `quantile`, whichever is asked for.
  case quantile
  case first
  /// `last` is the last 1, `last_k` the last k.
  case last(Int)
}

/// A partial aggregate that takes more than the five numbers of a `Partial`; mergeable in any order.
package enum Sketch: Sendable, Equatable {
  case moments(Moments)
  case distinct(DistinctValues)
  case quantile(QuantileSketch)
  case ordered(OrderedValues)

  package init(_ kind: SketchKind) {
    self =
      switch kind {
      case .moments: .moments(Moments())
      case .distinct: .distinct(DistinctValues())
      case .quantile: .quantile(QuantileSketch())
      case .first: .ordered(OrderedValues(limit: 1, keepsNewest: false))
      case .last(let limit): .ordered(OrderedValues(limit: limit, keepsNewest: true))
      }
  }

  /// Takes one observation in; null and NaN are skipped by the caller.
  package mutating func add(_ value: Value, _ mark: EventMark) {
    // What the case holds is taken out while it changes, so that it is not copied.
    switch self {
    case .moments(var moments):
      if let number = value.number { moments.add(number) }
      self = .moments(moments)
    case .distinct(var values):
      self = .moments(Moments())
      values.add(value)
      self = .distinct(values)
    case .quantile(var sketch):
      self = .moments(Moments())
      if let number = value.number { sketch.add(number) }
      self = .quantile(sketch)
    case .ordered(var values):
      self = .moments(Moments())
      values.add(value, mark)
      self = .ordered(values)
    }
  }

  /// Merges a sketch of the same kind.
  package mutating func merge(_ other: Sketch) {
    switch (self, other) {
    case (.moments(var mine), .moments(let theirs)):
      mine.merge(theirs)
      self = .moments(mine)
    case (.distinct(var mine), .distinct(let theirs)):
      self = .moments(Moments())
      mine.merge(theirs)
      self = .distinct(mine)
    case (.quantile(var mine), .quantile(let theirs)):
      self = .moments(Moments())
      mine.merge(theirs)
      self = .quantile(mine)
    case (.ordered(var mine), .ordered(let theirs)):
      self = .moments(Moments())
      mine.merge(theirs)
      self = .ordered(mine)
    default: assertionFailure("sketches of two kinds")
    }
  }

  /// The answer of a window function, null over no observations.
  package func value(of window: WindowDefinition) -> Value {
    switch self {
    case .moments(let moments):
      let variance = moments.variance
      let number = window.function == .stddev ? variance?.squareRoot() : variance
      return number.map { .double($0) } ?? .null
    case .distinct(let values): return .int64(values.count)
    case .quantile(let sketch):
      return sketch.quantile(window.parameter ?? 0.5).map { .double($0) } ?? .null
    case .ordered(let values):
      return window.function == .lastK ? values.list : values.entries.first?.value ?? .null
    }
  }
}
