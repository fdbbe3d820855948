import Core

/// What every `OnlineStore` must do, as checks to be run against one.
///
/// A check needs a store of its own or one that nobody else writes `layout.view` of; it makes its own view names.
package struct OnlineStoreContract: Sendable, CustomStringConvertible {
  /// What is checked, as a sentence.
  package var description: String
  package var check: @Sendable (any OnlineStore) async throws -> Void

  package static let all: [OnlineStoreContract] =
    [
      OnlineStoreContract(
        description: "a prepared view is empty, and stays as it is when prepared again",
        check: preparing),
      OnlineStoreContract(
        description: "a read after a write sees it, key by key in order", check: readingBack),
      OnlineStoreContract(
        description: "a view of another layout, or dropped, has forgotten everything",
        check: forgetting),
      OnlineStoreContract(
        description: "a removed key is as if it was never written, and others stay",
        check: removing),
      OnlineStoreContract(
        description: "a view that was never prepared is an error", check: unknownViews),
      OnlineStoreContract(
        description: "keys of several columns never meet in one", check: compositeKeys),
      OnlineStoreContract(
        description: "a correction wins, a late event does not, whatever comes first",
        check: corrections),
      OnlineStoreContract(
        description: "an absent cell is no observation, a null one is", check: absence),
      OnlineStoreContract(
        description: "arrays are kept element by element, also while they wait for their time",
        check: arrays),
      OnlineStoreContract(
        description: "an event from the future waits for its time", check: futureEvents),
      OnlineStoreContract(
        description: "an event of values outside every slot leaves the aggregates alone",
        check: excludedValues),
      OnlineStoreContract(
        description: "windows stay right while their tiles age", check: agingTiles),
      OnlineStoreContract(
        description: "the state does not depend on the order of the events", check: randomOrders),
      OnlineStoreContract(
        description: "a read sees each write of a key whole, or not at all", check: concurrentReads),
    ]
}

/// A store broke its contract.
package struct ContractViolation: Error, CustomStringConvertible {
  package var description: String
}

func require(_ condition: Bool, _ message: @autoclosure () -> String) throws {
  if !condition { throw ContractViolation(description: message()) }
}

// MARK: Fixtures

/// An event as a store sees it.
package struct ContractEvent: Sendable, Equatable {
  package var key: EntityKey
  package var time: Int64
  package var createdAt: Int64
  package var sequence: Int64
  /// By latest column; nil is absent.
  package var latest: [Value?]
  /// By slot; nil is not aggregated.
  package var slots: [Double?]

  /// What a sketch over a column takes in; nil is not aggregated.
  func observation(of column: String) -> Value? {
    let value = column == "a" ? slots[1].map { .double($0) } : latest[1]
    return value == .null ? nil : value
  }
}

/// A view with latest values of two types and tiles of two resolutions.
package enum ContractView {
  package static let base: Int64 = 1_700_000_000_000_000
  package static let minute: Int64 = 60_000_000

  package static func layout(_ name: String = "contract", horizon: Span = .hours(24)) -> ViewLayout
  {
    let source = SourceDefinition(
      name: "readings", eventTime: "at",
      columns: [
        ColumnDefinition(name: "device", type: .string), ColumnDefinition(name: "a", type: .double),
        ColumnDefinition(name: "b", type: .string),
      ])
    func window(
      _ function: AggregateFunction, _ column: String?, _ length: Span, _ resolution: Span,
      limit: Int? = nil
    )
      -> FeatureKind
    {
      .window(
        WindowDefinition(
          function: function, column: column, length: length, resolution: resolution,
          parameter: function == .quantile ? 0.5 : nil, limit: limit))
    }
    let kinds: [(String, FeatureKind)] = [
      ("last_a", .latest(column: "a", ttl: nil)), ("last_b", .latest(column: "b", ttl: nil)),
      ("count_30m", window(.count, nil, .minutes(30), .minutes(1))),
      ("sum_30m", window(.sum, "a", .minutes(30), .minutes(1))),
      ("max_long", window(.max, "a", horizon, .hours(1))),
      ("distinct_30m", window(.countDistinct, "b", .minutes(30), .minutes(1))),
      ("stddev_30m", window(.stddev, "a", .minutes(30), .minutes(1))),
      ("median_long", window(.quantile, "a", horizon, .hours(1))),
      ("last_long", window(.last, "b", horizon, .hours(1))),
      ("last_four_long", window(.lastK, "b", horizon, .hours(1), limit: 4)),
      ("last_two_exact", window(.lastK, "a", .minutes(10), WindowDefinition.exact, limit: 2)),
      ("first_exact", window(.first, "b", .minutes(10), WindowDefinition.exact)),
    ]
    return ViewLayout(
      view: ViewDefinition(
        name: "\(name)_\(UInt64.random(in: 0..<(.max)))", entity: "device", source: "readings",
        features: kinds.map { FeatureDefinition(name: $0.0, kind: $0.1, type: .double) }),
      entity: EntityDefinition(name: "device", key: ["device"]), source: source)
  }

  package static func write(_ events: [ContractEvent], to layout: ViewLayout) -> OnlineWrite {
    OnlineWrite(
      view: layout.view, keys: events.map(\.key), eventTimestamps: events.map(\.time),
      createdAt: events.map(\.createdAt), sequences: events.map(\.sequence),
      latest: layout.latestColumns.enumerated().map { index, column in
        var cells = Column(
          name: column.name, type: column.type, events.map { $0.latest[index] ?? .null })
        if events.contains(where: { $0.latest[index] == nil }) {
          var presence = cells.presence ?? [UInt8](repeating: 0, count: events.count)
          for (row, event) in events.enumerated() where event.latest[index] == nil {
            presence[row] = Presence.absent.rawValue
          }
          cells.presence = presence
        }
        return cells
      }, slots: layout.slots.indices.map { slot in events.map { $0.slots[slot] ?? .nan } },
      sketches: layout.sketches.map { sketch in
        Column(
          name: sketch.column, type: sketch.column == "a" ? .double : .string,
          events.map { $0.observation(of: sketch.column) ?? .null })
      })
  }

  package static func event(
    _ key: String, at time: Int64, created: Int64? = nil, sequence: Int64, a: Double
  ) -> ContractEvent {
    ContractEvent(
      key: .string(key), time: time, createdAt: created ?? time, sequence: sequence,
      latest: [.double(a), .string("\(a)")], slots: [1, a])
  }

  package static func random(
    _ count: Int, keys: Int, using random: inout SeededGenerator
  ) -> [ContractEvent] {
    (1...count).map { sequence in
      // Few distinct times, so that ties and corrections are common.
      let time = base + Int64.random(in: 0..<(40 * 60), using: &random) * minute
      let a = Double.random(in: -1e6...1e6, using: &random)
      return ContractEvent(
        key: .string("key \(Int.random(in: 0..<keys, using: &random))"), time: time,
        createdAt: time + Int64.random(in: 0..<3, using: &random), sequence: Int64(sequence),
        latest: [
          Int.random(in: 0..<5, using: &random) == 0 ? nil : .double(a),
          [nil, .null, .string("b\(sequence)"), .string("c")].randomElement(using: &random) ?? nil,
        ], slots: [1, Int.random(in: 0..<4, using: &random) == 0 ? nil : a])
    }
  }
}

/// What a state must answer, worked out by plain loops over all events (semantics §2 and §4).
package struct ContractOracle: Sendable {
  package var events: [ContractEvent]
  package var layout: ViewLayout

  package init(_ events: [ContractEvent], layout: ViewLayout) {
    self.events = events
    self.layout = layout
  }

  /// Compares the state of a key with the events, as read at `time`.
  package func compare(_ state: EntityState?, of key: EntityKey, at time: Int64) throws {
    let known = events.filter { $0.key == key && $0.time <= time }
    guard let state else {
      try require(known.isEmpty, "'\(key)' has \(known.count) events, but no state")
      return
    }
    try require(
      state.newestEvent(at: time) == known.map(\.time).max(),
      "'\(key)': newest event \(String(describing: state.newestEvent(at: time)))")
    for column in layout.latestColumns.indices {
      let expected =
        known.filter { $0.latest[column] != nil }
        .max { ($0.time, $0.createdAt, $0.sequence) < ($1.time, $1.createdAt, $1.sequence) }
      let found = state.latest(column, at: time)
      try require(
        found?.sequence == expected?.sequence && found?.value == expected?.latest[column],
        "'\(key)', latest column \(column): \(String(describing: found)), not \(String(describing: expected))"
      )
    }
    for (name, _, reader) in layout.readers {
      guard case .window(let ring, let slot, let window) = reader else { continue }
      let name = "'\(key)', \(name)"
      if window.sketch != nil {
        try compareSketch(state, name: name, known, ring: ring, slot: slot, window, at: time)
      } else {
        try compare(state, name: name, known, ring: ring, slot: slot, window, at: time)
      }
    }
  }

  private func compareSketch(
    _ state: EntityState, name: String, _ known: [ContractEvent], ring: Int, slot: Int,
    _ window: WindowDefinition, at time: Int64
  ) throws {
    let layoutSlot = layout.rings[ring].sketches[slot]
    let sketch = layout.sketches[layoutSlot]
    let found = state.sketch(
      sketch.kind, ring: ring, slot: slot, layoutSlot: layoutSlot,
      length: window.length.microseconds, resolution: window.resolution.microseconds, at: time
    ).value(of: window)
    let start = window.start(at: Timestamp(microseconds: time)).microseconds
    let values = known.filter { $0.time >= start }
      .sorted { ($0.time, $0.createdAt, $0.sequence) < ($1.time, $1.createdAt, $1.sequence) }
      .compactMap { $0.observation(of: sketch.column) }
    let expected = ContractOracle.expected(window, of: values)
    let isRight =
      if let wanted = expected.number, let number = found.number {
        abs(number - wanted) <= (window.function == .quantile ? 0.0101 : 1e-9) * abs(wanted)
      } else { found == expected }
    try require(isRight, "\(name) at \(time): \(found), not \(expected)")
  }

  private static func expected(_ window: WindowDefinition, of values: [Value]) -> Value {
    let numbers = values.compactMap(\.number)
    switch window.function {
    case .countDistinct: return .int64(Int64(Set(values).count))
    case .first: return values.first ?? .null
    case .last: return values.last ?? .null
    case .lastK:
      let newest = values.suffix(window.limit ?? 0).reversed()
      if newest.isEmpty { return .null }
      let texts = newest.compactMap { if case .string(let text) = $0 { text } else { nil } }
      return .list(texts.isEmpty ? .double(newest.compactMap(\.number)) : .string(texts))
    case .quantile:
      return numbers.isEmpty ? .null : .double(numbers.sorted()[(numbers.count - 1) / 2])
    default:
      guard numbers.count > 1 else { return .null }
      let mean = numbers.reduce(0, +) / Double(numbers.count)
      let squares = numbers.reduce(0) { $0 + ($1 - mean) * ($1 - mean) }
      return .double((squares / Double(numbers.count - 1)).squareRoot())
    }
  }

  private func compare(
    _ state: EntityState, name: String, _ known: [ContractEvent], ring: Int, slot: Int,
    _ window: WindowDefinition, at time: Int64
  ) throws {
    let layoutSlot = layout.rings[ring].slots[slot]
    let found = state.partial(
      ring: ring, slot: slot, layoutSlot: layoutSlot, length: window.length.microseconds,
      resolution: window.resolution.microseconds, at: time)
    let start = window.start(at: Timestamp(microseconds: time)).microseconds
    let values = known.filter { $0.time >= start }.compactMap { $0.slots[layoutSlot] }
    let sum = values.reduce(0, +)
    let size = values.reduce(0) { $0 + abs($1) }
    try require(
      found.count == values.count && found.min == values.min() ?? .infinity
        && found.max == values.max() ?? -.infinity && abs(found.total - sum) <= 1e-9 * max(1, size),
      "\(name) at \(time): \(found), not count \(values.count), sum \(sum)")
  }
}

// MARK: Checks

extension OnlineStoreContract {
  private static func now(_ minutes: Int64) -> Timestamp {
    Timestamp(microseconds: ContractView.base + minutes * ContractView.minute)
  }

  @Sendable private static func preparing(_ store: any OnlineStore) async throws {
    let layout = ContractView.layout()
    try require(try await store.prepare(layout), "a new view was not empty")
    try require(try await store.counts()[layout.view] == 0, "a new view has keys")
    try require(
      try await store.read(view: layout.view, keys: [.string("x")]) == [nil],
      "a new view has states")
    let event = ContractView.event("x", at: ContractView.base, sequence: 1, a: 1)
    try await store.apply([ContractView.write([event], to: layout)], now: now(0))
    try require(try await !store.prepare(layout), "the same layout emptied the view")
    try require(try await store.counts()[layout.view] == 1, "the view was forgotten")
  }

  @Sendable private static func readingBack(_ store: any OnlineStore) async throws {
    let layout = ContractView.layout()
    _ = try await store.prepare(layout)
    let events = (0..<100).map {
      ContractView.event("k\($0)", at: ContractView.base, sequence: Int64($0), a: Double($0))
    }
    try await store.apply([ContractView.write(events, to: layout)], now: now(0))
    let keys: [EntityKey] = [.string("k7"), .string("none"), .string("k99"), .string("k7")]
    let states = try await store.read(view: layout.view, keys: keys)
    let found = states.map { $0?.latest(0, at: now(0).microseconds)?.value }
    try require(
      found == [.double(7), nil, .double(99), .double(7)], "read \(found) for k7, none, k99, k7")
    try require(try await store.counts()[layout.view] == 100, "not every key is counted")
    try require(try await store.read(view: layout.view, keys: []).isEmpty, "no keys gave states")
  }

  @Sendable private static func forgetting(_ store: any OnlineStore) async throws {
    var layout = ContractView.layout()
    _ = try await store.prepare(layout)
    let event = ContractView.event("x", at: ContractView.base, sequence: 1, a: 1)
    try await store.apply([ContractView.write([event], to: layout)], now: now(0))
    let name = layout.view
    layout = ContractView.layout(horizon: .hours(48))
    layout.view = name
    try require(try await store.prepare(layout), "another layout did not empty the view")
    try require(
      try await store.read(view: name, keys: [.string("x")]) == [nil], "a state of another layout")
    try await store.apply([ContractView.write([event], to: layout)], now: now(0))
    try await store.drop(view: name)
    try require(try await store.counts()[name] == nil, "a dropped view is counted")
    try require(try await store.prepare(layout), "a dropped view was not empty")
    try require(
      try await store.read(view: name, keys: [.string("x")]) == [nil], "a dropped state came back")
  }

  @Sendable private static func removing(_ store: any OnlineStore) async throws {
    let layout = ContractView.layout()
    _ = try await store.prepare(layout)
    let keys = ["x", "y", "z"]
    let events = keys.enumerated().map {
      ContractView.event($1, at: ContractView.base, sequence: Int64($0), a: Double($0))
    }
    let future = ContractView.event(
      "x", at: ContractView.base + 5 * ContractView.minute, sequence: 9, a: 9)
    try await store.apply([ContractView.write(events + [future], to: layout)], now: now(0))
    try await store.remove(view: layout.view, keys: [.string("x"), .string("never"), .string("z")])
    let left = try await store.read(view: layout.view, keys: keys.map { .string($0) })
    try require(left[0] == nil && left[2] == nil, "a removed key has a state")
    try require(left[1]?.latest(0, at: now(0).microseconds)?.value == .double(1), "y was lost")
    try require(try await store.counts()[layout.view] == 1, "a removed key is counted")
    let again = ContractView.event("z", at: ContractView.base, sequence: 10, a: 10)
    let new = ContractView.event("w", at: ContractView.base, sequence: 11, a: 11)
    try await store.apply([ContractView.write([again, new], to: layout)], now: now(10))
    let states = try await store.read(
      view: layout.view, keys: ["x", "y", "z", "w"].map { .string($0) })
    let found = states.map { $0?.latest(0, at: now(10).microseconds)?.value }
    try require(
      found == [nil, .double(1), .double(10), .double(11)], "read \(found) for x, y, z, w")
    let count = states[2]?.partial(
      ring: 0, slot: 0, layoutSlot: layout.rings[0].slots[0], length: 1_800_000_000,
      resolution: 60_000_000, at: now(10).microseconds
    ).count
    try require(count == 1, "a key that was written again has \(String(describing: count)) events")
  }

  @Sendable private static func unknownViews(_ store: any OnlineStore) async throws {
    let layout = ContractView.layout()
    do {
      _ = try await store.read(view: layout.view, keys: [.string("x")])
    } catch let error as PlatformError {
      try require(error.code == .failedPrecondition, "reading gave \(error.code)")
      return
    }
    throw ContractViolation(description: "a view that was never prepared could be read")
  }

  @Sendable private static func compositeKeys(_ store: any OnlineStore) async throws {
    let layout = ContractView.layout()
    _ = try await store.prepare(layout)
    let keys: [EntityKey] = [
      .composite([.int64(1), .int64(23)]), .composite([.int64(12), .int64(3)]),
      .composite([.string("1"), .string("23")]), .composite([.string("a|b"), .string("c")]),
      .composite([.string("a"), .string("b|c")]), .string("1|23"), .int64(123), .string("123"),
      // Texts are compared by their bytes: these look alike.
      .string("\u{E9}"), .string("e\u{301}"), .composite([.string("\u{E9}"), .int64(1)]),
      .composite([.string("e\u{301}"), .int64(1)]),
    ]
    let events = keys.enumerated().map { index, key in
      var event = ContractView.event(
        "", at: ContractView.base, sequence: Int64(index), a: Double(index))
      event.key = key
      return event
    }
    try await store.apply([ContractView.write(events, to: layout)], now: now(0))
    let states = try await store.read(view: layout.view, keys: keys)
    let found = states.map { $0?.latest(0, at: now(0).microseconds)?.value }
    try require(found == keys.indices.map { .double(Double($0)) }, "keys met: \(found)")
  }

  @Sendable private static func corrections(_ store: any OnlineStore) async throws {
    let base = ContractView.base
    // The last one of each list must win, whatever the order.
    let cases: [[ContractEvent]] = [
      [
        ContractView.event("x", at: base, created: base + 9, sequence: 9, a: 1),
        ContractView.event("x", at: base + 1, created: base + 2, sequence: 1, a: 2),
      ],
      [
        ContractView.event("x", at: base, created: base + 1, sequence: 5, a: 1),
        ContractView.event("x", at: base, created: base + 2, sequence: 4, a: 2),
      ],
      [
        ContractView.event("x", at: base, created: base + 1, sequence: 4, a: 1),
        ContractView.event("x", at: base, created: base + 1, sequence: 5, a: 2),
      ],
    ]
    for events in cases {
      for order in [events, events.reversed()] {
        for batches in [[order], order.map { [$0] }] {
          let layout = ContractView.layout()
          _ = try await store.prepare(layout)
          for batch in batches {
            try await store.apply([ContractView.write(batch, to: layout)], now: now(1))
          }
          let state = try await store.read(view: layout.view, keys: [.string("x")])[0]
          let cell = state?.latest(0, at: now(1).microseconds)
          try require(
            cell?.sequence == events.last?.sequence,
            "\(order.map(\.sequence)): \(String(describing: cell))")
          try await store.drop(view: layout.view)
        }
      }
    }
  }

  @Sendable private static func absence(_ store: any OnlineStore) async throws {
    let layout = ContractView.layout()
    _ = try await store.prepare(layout)
    var events = (0..<2).map {
      ContractView.event("x", at: ContractView.base + Int64($0), sequence: Int64($0), a: 1)
    }
    events[1].latest = [nil, .null]
    try await store.apply([ContractView.write(events, to: layout)], now: now(1))
    let state = try await store.read(view: layout.view, keys: [.string("x")])[0]
    try require(
      state?.latest(0, at: now(1).microseconds)?.value == .double(1),
      "an absent cell replaced a value")
    try require(
      state?.latest(1, at: now(1).microseconds)?.value == .null, "an observed null was passed over")
  }

  @Sendable private static func futureEvents(_ store: any OnlineStore) async throws {
    let layout = ContractView.layout()
    _ = try await store.prepare(layout)
    let base = ContractView.base
    let events = ([0, 5, 10] as [Int64]).enumerated().map { index, minutes in
      ContractView.event(
        "x", at: base + minutes * ContractView.minute, sequence: Int64(index), a: Double(index))
    }
    let oracle = ContractOracle(events, layout: layout)
    try await store.apply([ContractView.write(events, to: layout)], now: now(0))
    for minute: Int64 in 0...45 {
      if minute == 7 {
        // A write to another key, then one to this: what was pending must not be counted twice.
        let other = ContractView.event("y", at: base, sequence: 9, a: 0)
        try await store.apply([ContractView.write([other], to: layout)], now: now(minute))
      }
      let states = try await store.read(view: layout.view, keys: [.string("x")])
      try oracle.compare(states[0], of: .string("x"), at: now(minute).microseconds)
    }
    let lone = ContractView.event("z", at: base + 90 * ContractView.minute, sequence: 20, a: 1)
    try await store.apply([ContractView.write([lone], to: layout)], now: now(50))
    let state = try await store.read(view: layout.view, keys: [.string("z")])[0]
    try require(
      state?.newestEvent(at: now(89).microseconds) == nil, "a future event is visible too early")
    try await store.apply([ContractView.write([], to: layout)], now: now(91))
    try ContractOracle([lone], layout: layout).compare(
      try await store.read(view: layout.view, keys: [.string("z")])[0], of: .string("z"),
      at: now(91).microseconds)
  }

  @Sendable private static func excludedValues(_ store: any OnlineStore) async throws {
    let layout = ContractView.layout()
    _ = try await store.prepare(layout)
    var event = ContractView.event("x", at: ContractView.base, sequence: 1, a: 1)
    event.slots = [nil, nil]
    try await store.apply([ContractView.write([event], to: layout)], now: now(0))
    let state = try await store.read(view: layout.view, keys: [.string("x")])[0]
    try ContractOracle([event], layout: layout).compare(
      state, of: .string("x"), at: now(0).microseconds)
  }

  @Sendable private static func agingTiles(_ store: any OnlineStore) async throws {
    let layout = ContractView.layout()
    _ = try await store.prepare(layout)
    var random = SeededGenerator(seed: 7)
    var events: [ContractEvent] = []
    var minute: Int64 = 0
    while minute < 4 * 24 * 60 {
      minute += Int64.random(in: 1...40, using: &random)
      // Most are in order, some late, a few later than any window.
      let lateness = ([0, 0, 0, 3, 25, 600, 3_000] as [Int64]).randomElement(using: &random) ?? 0
      let event = ContractView.event(
        "x", at: now(minute - lateness).microseconds, created: now(minute).microseconds,
        sequence: Int64(events.count), a: Double.random(in: -10...10, using: &random))
      events.append(event)
      try await store.apply([ContractView.write([event], to: layout)], now: now(minute))
      guard events.count % 10 == 0 else { continue }
      let state = try await store.read(view: layout.view, keys: [.string("x")])[0]
      let oracle = ContractOracle(events, layout: layout)
      for later: Int64 in [0, 17, 2_000] {
        try oracle.compare(state, of: .string("x"), at: now(minute + later).microseconds)
      }
    }
  }

  @Sendable private static func randomOrders(_ store: any OnlineStore) async throws {
    let seed = UInt64.random(in: 0..<(.max))
    var random = SeededGenerator(seed: seed)
    let events = ContractView.random(400, keys: 5, using: &random)
    let end = now(40 * 60)
    for round in 0..<6 {
      let layout = ContractView.layout()
      _ = try await store.prepare(layout)
      var rest = events.shuffled(using: &random)[...]
      while !rest.isEmpty {
        let batch = Array(rest.prefix(Int.random(in: 1...60, using: &random)))
        rest = rest.dropFirst(batch.count)
        // In some rounds the clock stands before many of the events.
        let clock = round % 2 == 0 ? end : now(Int64.random(in: 0..<(40 * 60), using: &random))
        try await store.apply([ContractView.write(batch, to: layout)], now: min(clock, end))
      }
      let oracle = ContractOracle(events, layout: layout)
      for key in Set(events.map(\.key)) {
        let state = try await store.read(view: layout.view, keys: [key])[0]
        do {
          try oracle.compare(state, of: key, at: end.microseconds)
        } catch let violation as ContractViolation {
          throw ContractViolation(description: "seed \(seed), round \(round): \(violation)")
        }
      }
      try await store.drop(view: layout.view)
    }
  }

  @Sendable private static func concurrentReads(_ store: any OnlineStore) async throws {
    let layout = ContractView.layout()
    _ = try await store.prepare(layout)
    let keys = (0..<20).map { EntityKey.string("k\($0)") }
    let rounds: Int64 = 200
    try await withThrowingTaskGroup(of: Void.self) { group in
      for writer in 0..<2 {
        group.addTask {
          for round in 0..<rounds {
            // Two events of each key: an odd count is half a write.
            let events = (0..<20).flatMap { key in
              (0..<2).map { half in
                ContractView.event(
                  "k\(key)", at: ContractView.base + round,
                  sequence: (round * 2 + Int64(half)) * 2 + Int64(writer), a: 1)
              }
            }
            try await store.apply([ContractView.write(events, to: layout)], now: now(1))
          }
        }
      }
      for _ in 0..<2 {
        group.addTask {
          for _ in 0..<rounds {
            for state in try await store.read(view: layout.view, keys: keys) {
              let partial = state?.partial(
                ring: 0, slot: 0, layoutSlot: 0, length: 30 * ContractView.minute,
                resolution: ContractView.minute, at: now(1).microseconds)
              try require((partial?.count ?? 0) % 2 == 0, "a read saw half of a write")
            }
          }
        }
      }
      try await group.waitForAll()
    }
    for state in try await store.read(view: layout.view, keys: keys) {
      let partial = state?.partial(
        ring: 0, slot: 0, layoutSlot: 0, length: 30 * ContractView.minute,
        resolution: ContractView.minute, at: now(1).microseconds)
      try require(
        partial?.count == 4 * rounds, "\(partial?.count ?? 0) events of \(4 * rounds) are there")
    }
  }
}
