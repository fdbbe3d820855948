import Core

/// The rules of semantics §1–§5, §7 and §8 in plain loops over everything that ever arrived; it shares no code with the engine.
package struct WorldOracle: Sendable {
  package let world: World
  private let stored: [World.Stored]
  private let features: [String: WorldFeature]

  package init(_ world: World) {
    self.world = world
    var seen: Set<Int> = []
    stored = world.stored { seen.insert($0).inserted }.flatMap { $0 }
      .sorted {
        ($0.event.time, $0.created, $0.sequence) < ($1.event.time, $1.created, $1.sequence)
      }
    features = Dictionary(
      uniqueKeysWithValues: world.views.flatMap { view in
        view.features.map { ("\(view.name).\($0.name)", $0) }
      })
  }

  /// What a feature must be for a question.
  package func value(
    of name: FeatureName, _ probe: World.Probe, _ mode: HistoryMode
  ) -> FeatureValue {
    let nothing = FeatureValue(value: .null, status: .notFound)
    guard let feature = features[name.description], let time = probe.time,
      let columns = World.keys[String(name.view.dropFirst(3))]
    else { return nothing }
    let key = columns.map { $0 == "k" ? probe.number : probe.name }
    guard !key.contains(.null) else { return nothing }
    if case .derived(let derivation) = feature.kind {
      return derived(derivation, of: name.view, probe, mode)
    }
    let known = stored.filter { one in
      one.event.time <= time && (mode == .asCorrected || one.created <= time)
        && columns.map { one.event.cell($0) } == key
    }
    switch feature.kind {
    case .latest(let column, let ttl): return latest(column, ttl, known, time)
    case .window(let window):
      let value = aggregate(window, known, time)
      let status: FeatureStatus = known.isEmpty ? .notFound : value.isNull ? .null : .present
      return FeatureValue(
        value: value, status: status,
        eventTimestamp: known.last.map { Timestamp(microseconds: $0.event.time) })
    case .derived: return nothing
    }
  }

  private func latest(
    _ column: String, _ ttl: Int64?, _ known: [World.Stored], _ time: Int64
  ) -> FeatureValue {
    guard let newest = known.last(where: { ($0.event.cells[column] ?? nil) != nil }) else {
      return FeatureValue(value: .null, status: .notFound)
    }
    let when = Timestamp(microseconds: newest.event.time)
    if let ttl, newest.event.time < time - ttl {
      return FeatureValue(value: .null, status: .expired, eventTimestamp: when)
    }
    let value = newest.event.cell(column)
    return FeatureValue(
      value: value, status: value.isNull ? .null : .present, eventTimestamp: when)
  }

  private func derived(
    _ derivation: Derivation, of view: String, _ probe: World.Probe, _ mode: HistoryMode
  ) -> FeatureValue {
    func part(_ operand: String) -> FeatureValue {
      let name = FeatureName(operand) ?? FeatureName(view: view, feature: operand)
      return self.value(of: name, probe, mode)
    }
    let parts = derivation.operands.map(part)
    let result = derivation.value { part($0).value }
    let status: FeatureStatus =
      if parts.allSatisfy({ $0.status == .notFound }) { .notFound } else if !result.isNull {
        .present
      } else if parts.contains(where: { $0.status == .expired }) { .expired } else { .null }
    return FeatureValue(
      value: result, status: status, eventTimestamp: parts.compactMap(\.eventTimestamp).max())
  }

  // MARK: Windows

  private func aggregate(
    _ window: WorldFeature.Window, _ known: [World.Stored], _ time: Int64
  ) -> Value {
    let tail = time - window.length
    // The greatest multiple of the resolution that is not above the tail.
    var start = tail / window.resolution * window.resolution
    if start > tail { start -= window.resolution }
    if window.resolution == 1 { start = tail + 1 }
    var observed: [Value] = []
    for one in known where one.event.time >= start {
      if let filter = window.filter, !filter.passes(one.event) { continue }
      guard let column = window.column else {
        observed.append(.int64(1))
        continue
      }
      let cell = one.event.cell(column)
      if !cell.isNull, cell.number?.isNaN != true { observed.append(cell) }
    }
    return WorldOracle.aggregate(window, observed)
  }

  private static func aggregate(_ window: WorldFeature.Window, _ observed: [Value]) -> Value {
    let numbers = observed.map { $0.number ?? 1 }
    func value(_ number: Double?) -> Value { number.map { .double($0) } ?? .null }
    switch window.function {
    case .count: return .int64(Int64(observed.count))
    case .sum: return .double(numbers.reduce(0, +))
    case .mean:
      return numbers.isEmpty ? .null : .double(numbers.reduce(0, +) / Double(numbers.count))
    case .min: return value(numbers.min())
    case .max: return value(numbers.max())
    case .first: return observed.first ?? .null
    case .last: return observed.last ?? .null
    case .lastK: return list(observed.suffix(window.limit ?? 0).reversed())
    case .countDistinct:
      // Minus zero is zero.
      return .int64(Int64(Set(observed.map { $0 == .double(0) ? .double(0) : $0 }).count))
    case .variance: return value(variance(of: numbers))
    case .stddev: return value(variance(of: numbers)?.squareRoot())
    case .quantile:
      let rank = (window.share ?? 0) * Double(numbers.count - 1)
      return numbers.isEmpty ? .null : .double(numbers.sorted()[Int(rank.rounded(.down))])
    }
  }

  private static func variance(of numbers: [Double]) -> Double? {
    guard numbers.count > 1, numbers.allSatisfy(\.isFinite) else { return nil }
    let mean = numbers.reduce(0, +) / Double(numbers.count)
    return numbers.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / Double(numbers.count - 1)
  }

  private static func list(_ values: [Value]) -> Value {
    var bools: [Bool] = []
    var whole: [Int64] = []
    var doubles: [Double] = []
    var texts: [String] = []
    var times: [Int64] = []
    for value in values {
      switch value {
      case .bool(let one): bools.append(one)
      case .int64(let one): whole.append(one)
      case .double(let one): doubles.append(one)
      case .string(let one): texts.append(one)
      case .timestamp(let one): times.append(one.microseconds)
      case .null, .list: return .null
      }
    }
    if !bools.isEmpty { return .list(.bool(bools)) }
    if !whole.isEmpty { return .list(.int64(whole)) }
    if !doubles.isEmpty { return .list(.double(doubles)) }
    if !texts.isEmpty { return .list(.string(texts)) }
    return times.isEmpty ? .null : .list(.timestamp(times))
  }

  // MARK: Comparing

  /// Whether a value is the expected one: equal, sums and what is made of them to 1e-9 relative, a quantile to its stated error.
  package func isSame(_ found: Value, _ expected: Value, as name: FeatureName) -> Bool {
    guard case .double(let a) = found, case .double(let b) = expected else {
      return found == expected
    }
    if a == b || a.isNaN && b.isNaN { return true }
    if case .window(let window)? = features[name.description]?.kind, window.function == .quantile {
      return abs(a - b) <= 0.01 * 1.000_001 * abs(b)
    }
    return abs(a - b) <= 1e-9 * max(abs(a), abs(b), 1)
  }
}
