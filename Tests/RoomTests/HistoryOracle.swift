import Core

/// The rules of semantics §2–§5 and §7 in plain loops over all events, for every row and feature.
struct HistoryOracle {
  let history: HistoryCase
  let mode: HistoryMode

  func value(_ name: FeatureName, row: Int) -> (value: Value, status: FeatureStatus) {
    guard let view = history.snapshot.project.view(name.view),
      let feature = view.feature(name.feature),
      let entity = history.snapshot.project.entity(view.entity),
      case .timestamp(let time)? = history.spine["t"]?[row]
    else { return (.null, .notFound) }
    let key = entity.key.map { history.spine[$0]?[row] ?? .null }
    guard !key.contains(.null) else { return (.null, .notFound) }
    let seen = history.events.filter { event in
      event.time <= time.microseconds
        && (mode == .asCorrected || event.created <= time.microseconds)
        && entity.key.map { (event.cells[$0] ?? nil) ?? .null } == key
    }
    switch feature.kind {
    case .latest(let column, let ttl): return latest(column, ttl, seen, time)
    case .window(let window):
      let value = aggregate(window, seen, time)
      return (value, seen.isEmpty ? .notFound : value.isNull ? .null : .present)
    case .derived:
      let first = self.value(FeatureName(view: name.view, feature: "w0"), row: row).value
      return (.double((first.number ?? 1) * 2), .present)
    }
  }

  private func latest(
    _ column: String, _ ttl: Span?, _ seen: [HistoryCase.Event], _ time: Timestamp
  ) -> (Value, FeatureStatus) {
    let observed = seen.filter { ($0.cells[column] ?? nil) != nil }
    guard
      let newest = observed.max(by: {
        ($0.time, $0.created, $0.sequence) < ($1.time, $1.created, $1.sequence)
      }), let value = newest.cells[column] ?? nil
    else { return (.null, .notFound) }
    if let ttl, newest.time < time.microseconds - ttl.microseconds { return (.null, .expired) }
    return (value, value.isNull ? .null : .present)
  }

  private func aggregate(
    _ window: WindowDefinition, _ seen: [HistoryCase.Event], _ time: Timestamp
  ) -> Value {
    let resolution = window.resolution.microseconds
    let tail = time.microseconds - window.length.microseconds
    // The greatest multiple of the resolution that is not above the tail.
    var start = tail / resolution * resolution
    if start > tail { start -= resolution }
    if resolution == 1 { start = tail + 1 }
    var observed: [Value] = []
    let ordered = seen.sorted {
      ($0.time, $0.created, $0.sequence) < ($1.time, $1.created, $1.sequence)
    }
    for event in ordered where event.time >= start {
      if let filter = window.filter, !passes(filter, event) { continue }
      guard let column = window.column else {
        observed.append(.int64(1))
        continue
      }
      let cell = (event.cells[column] ?? nil) ?? .null
      if !cell.isNull, cell.number?.isNaN != true { observed.append(cell) }
    }
    let numbers = observed.map { $0.number ?? 1 }
    switch window.function {
    case .count: return .int64(Int64(numbers.count))
    case .sum: return .double(numbers.reduce(0, +))
    case .mean:
      return numbers.isEmpty ? .null : .double(numbers.reduce(0, +) / Double(numbers.count))
    case .min: return numbers.min().map { .double($0) } ?? .null
    case .max: return numbers.max().map { .double($0) } ?? .null
    case .first: return observed.first ?? .null
    case .last: return observed.last ?? .null
    case .lastK: return HistoryOracle.list(observed.suffix(window.limit ?? 0).reversed())
    case .countDistinct:
      // Minus zero is zero.
      return .int64(Int64(Set(observed.map { $0 == .double(0) ? .double(0) : $0 }).count))
    case .variance, .stddev:
      guard let variance = variance(of: numbers) else { return .null }
      return .double(window.function == .stddev ? variance.squareRoot() : variance)
    case .quantile:
      let rank = (window.parameter ?? 0) * Double(numbers.count - 1)
      return numbers.isEmpty ? .null : .double(numbers.sorted()[Int(rank.rounded(.down))])
    }
  }

  private static func list(_ values: [Value]) -> Value {
    switch values.first {
    case .none: .null
    case .bool: .list(.bool(values.map { $0 == .bool(true) }))
    case .int64:
      .list(.int64(values.compactMap { if case .int64(let one) = $0 { one } else { nil } }))
    case .string:
      .list(.string(values.compactMap { if case .string(let one) = $0 { one } else { nil } }))
    case .timestamp:
      .list(
        .timestamp(
          values.compactMap { if case .timestamp(let one) = $0 { one.microseconds } else { nil } }))
    default: .list(.double(values.compactMap(\.number)))
    }
  }

  private func variance(of numbers: [Double]) -> Double? {
    guard numbers.count > 1, numbers.allSatisfy(\.isFinite) else { return nil }
    let mean = numbers.reduce(0, +) / Double(numbers.count)
    return numbers.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / Double(numbers.count - 1)
  }

  private func passes(_ filter: Expression, _ event: HistoryCase.Event) -> Bool {
    func cell(_ name: String) -> Value { (event.cells[name] ?? nil) ?? .null }
    let isPositive: Bool = if case .int64(let y) = cell("y") { y > 0 } else { false }
    let isFlagged = cell("flag") == .bool(true)
    let isSmall: Bool = if case .double(let x) = cell("x") { x < 1 } else { false }
    let isOther: Bool = if case .string(let text) = cell("text") { text != "t3" } else { false }
    switch filter.names {
    case ["y"]: return isPositive
    case ["flag"]: return isFlagged
    case ["text"]:
      guard case .string(let text) = cell("text") else { return false }
      return [Array("\u{E9}".utf8), Array("t1".utf8)].contains(Array(text.utf8))
    default: return isSmall && isOther
    }
  }
}

/// Whether two values are the same, sums to 1e-9 relative, or as near as `relative` asks.
func isSame(_ a: Value, _ b: Value, relative: Double? = nil) -> Bool {
  guard case .double(let x) = a, case .double(let y) = b else { return a == b }
  if x == y || (x.isNaN && y.isNaN) { return true }
  if let relative { return abs(x - y) <= relative * 1.000_001 * abs(y) }
  return abs(x - y) <= 1e-9 * max(abs(x), abs(y), 1)
}
