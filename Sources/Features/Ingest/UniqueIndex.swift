import Core

/// The values that a `unique` check has seen, each with its event times; bounded.
///
/// Kept by stretches of event time a quarter as long as the check's, so that what is forgotten is the oldest stretch as a whole.
/// Exact from `horizon` on, up to a collision of 127-bit hashes; before it nothing is known.
package struct UniqueIndex: Sendable {
  /// What the index says of a value at a time.
  package enum Answer: Equatable {
    case unique, repeated
    /// The time is too old: its neighbours may have been forgotten.
    case unknown
  }

  package let within: Span
  private let capacity: Int
  private let stretch: Int64
  private var stretches: [Int64: [EventIDHash: [Int64]]] = [:]
  private var count = 0
  /// From this time on every value that was inserted is known.
  package private(set) var horizon = Int64.min

  package init(within: Span, capacity: Int = Limits.uniqueValues) {
    self.within = within
    self.capacity = max(1, capacity)
    stretch = max(1, (within.microseconds + 3) / 4)
  }

  /// Whether the value is in no event that is less than `within` away.
  package func look(for value: EventIDHash, at time: Int64) -> Answer {
    let time = Self.clamped(time)
    let first = floorMultiple(time - within.microseconds, stretch) / stretch
    let last = floorMultiple(time + within.microseconds, stretch) / stretch
    for index in first...last {
      guard let times = stretches[index]?[value] else { continue }
      if times.contains(where: { abs($0 - time) < within.microseconds }) { return .repeated }
    }
    return time - within.microseconds < horizon ? .unknown : .unique
  }

  package mutating func insert(_ value: EventIDHash, at time: Int64) {
    let time = Self.clamped(time)
    guard time >= horizon else { return }
    stretches[floorMultiple(time, stretch) / stretch, default: [:]][value, default: []].append(time)
    count += 1
    if count > capacity { forgetOldest() }
  }

  package mutating func remove(_ value: EventIDHash, at time: Int64) {
    let time = Self.clamped(time)
    let index = floorMultiple(time, stretch) / stretch
    guard let place = stretches[index]?[value]?.lastIndex(of: time) else { return }
    stretches[index]?[value]?.remove(at: place)
    if stretches[index]?[value]?.isEmpty ?? false { stretches[index]?[value] = nil }
    if stretches[index]?.isEmpty ?? false { stretches[index] = nil }
    count -= 1
  }

  /// Times that only a damaged file has are moved to where sums with them do not overflow.
  private static func clamped(_ time: Int64) -> Int64 { min(max(time, -(1 << 60)), 1 << 60) }

  /// Says that what is before a time was not read.
  package mutating func begin(at time: Int64) { horizon = max(horizon, time) }

  /// Makes room for many values at once, since finding the oldest looks at all stretches.
  private mutating func forgetOldest() {
    for oldest in stretches.keys.sorted() where count > capacity - capacity / 8 {
      guard let gone = stretches.removeValue(forKey: oldest) else { continue }
      count -= gone.values.reduce(0) { $0 + $1.count }
      horizon = max(horizon, (oldest + 1) * stretch)
    }
  }
}

/// A `unique` check of a source: what it looks at, and the name of its memory.
struct UniqueCheck: Sendable, Hashable {
  var column: String
  var within: Span
  var onFail: FailAction

  static func of(_ source: SourceDefinition) -> [UniqueCheck] {
    source.checks.compactMap { check in
      check.unique.map { UniqueCheck(column: check.column, within: $0, onFail: check.onFail) }
    }
  }

  /// Checks of one column and length share a memory, whatever they do about a failure.
  var memory: String { "\(column) \(within.microseconds)" }

  func hash(_ value: Value, seed: EventIDSeed) -> EventIDHash? {
    switch value {
    case .null: nil
    case .string(let text): EventIDHash(text, seed: seed)
    case .int64(let number): EventIDHash(String(number), seed: seed)
    case .double(let number): EventIDHash("\(number)", seed: seed)
    case .bool(let flag): EventIDHash(flag ? "true" : "false", seed: seed)
    case .timestamp(let time): EventIDHash(String(time.microseconds), seed: seed)
    case .list: EventIDHash(JSON(value).text, seed: seed)
    }
  }
}
