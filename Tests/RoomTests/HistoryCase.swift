import Core
import Features
import TestKit

extension SeededGenerator {
  /// True once in `n` times.
  fileprivate mutating func oneIn(_ n: Int) -> Bool { Int.random(in: 0..<n, using: &self) == 0 }
}

/// A small random history with a spine: late events, corrections, equal times, nulls, NaN, absent
/// cells, future events.
struct HistoryCase {
  struct Event {
    var time: Int64
    var created: Int64
    var sequence: Int64
    /// By column; nil is absent.
    var cells: [String: Value?]
  }

  static let source = SourceDefinition(
    name: "s", eventTime: "at",
    columns: [
      ColumnDefinition(name: "k", type: .int64), ColumnDefinition(name: "n", type: .string),
      ColumnDefinition(name: "x", type: .double), ColumnDefinition(name: "y", type: .int64),
      ColumnDefinition(name: "text", type: .string), ColumnDefinition(name: "flag", type: .bool),
      ColumnDefinition(name: "when", type: .timestamp),
      ColumnDefinition(name: "pair", type: .array(of: .double, length: 2)),
      ColumnDefinition(name: "tags", type: .array(of: .string, length: nil)),
    ])

  let base: Int64
  let hasAbsentCells: Bool
  var events: [Event] = []
  var spine: ColumnBatch
  let snapshot: Snapshot
  let features: [FeatureName]

  init(seed: UInt64) throws {
    var random = SeededGenerator(seed: seed)
    base = [0, -1_000, 1_700_000_000_000_000, -37].randomElement(using: &random) ?? 0
    hasAbsentCells = random.oneIn(2)
    let span = [4, 40, 200].randomElement(using: &random) ?? 40
    for sequence in 0..<Int64.random(in: 0...60, using: &random) {
      events.append(
        HistoryCase.event(sequence, base: base, span: span, hasAbsentCells, using: &random))
    }
    spine = HistoryCase.spine(base: base, span: span, using: &random)
    let views = try HistoryCase.views(using: &random)
    snapshot = Snapshot(
      version: 1, definitionsVersion: 1, definitionsDigest: "", projectDirectory: ".",
      project: ProjectDefinition(
        name: "p",
        entities: [
          EntityDefinition(name: "number", key: ["k"]), EntityDefinition(name: "name", key: ["n"]),
          EntityDefinition(name: "pair", key: ["n", "k"]),
        ], sources: [HistoryCase.source], views: views), models: [:])
    features = views.flatMap { view in
      view.features.map { FeatureName(view: view.name, feature: $0.name) }
    }
  }

  private static func event(
    _ sequence: Int64, base: Int64, span: Int, _ hasAbsent: Bool,
    using random: inout SeededGenerator
  ) -> Event {
    let time = base + Int64.random(in: 0...Int64(span), using: &random)
    let lateness: Int64 =
      switch Int.random(in: 0..<4, using: &random) {
      case 0: -Int64.random(in: 0...10, using: &random)
      case 1: 0
      case 2: Int64.random(in: 0...3, using: &random)
      default: Int64.random(in: 0...Int64(span), using: &random)
      }
    var cells: [String: Value?] = [
      "k": random.oneIn(12) ? Value.null : .int64(Int64.random(in: -1...2, using: &random)),
      "n": random.oneIn(12)
        ? Value.null
        : .string(
          ["", "a", "b|", "\u{E4}", "a\u{308}", "sixteen bytes or more"]
            .randomElement(using: &random) ?? ""),
      "x": number(using: &random),
      "y": random.oneIn(5) ? Value.null : .int64(Int64.random(in: -3...3, using: &random)),
      "text": random.oneIn(5) ? Value.null : .string(text(using: &random)),
      "flag": random.oneIn(5) ? Value.null : .bool(random.oneIn(2)),
      "when": .timestamp(Timestamp(microseconds: Int64.random(in: 0...9, using: &random))),
      "pair": random.oneIn(5)
        ? Value.null
        : .list(.double([Double(sequence), Double.random(in: 0...1, using: &random)])),
      "tags": random.oneIn(5)
        ? Value.null
        : .list(.string((0..<Int.random(in: 0...3, using: &random)).map { "t\(sequence).\($0)" })),
    ]
    if hasAbsent {
      for name in ["x", "y", "text", "flag", "when", "pair", "tags"] where random.oneIn(3) {
        cells[name] = .some(nil)
      }
    }
    return Event(time: time, created: time + lateness, sequence: sequence, cells: cells)
  }

  private static func text(using random: inout SeededGenerator) -> String {
    let accented = ["\u{E9}", "e\u{301}"].randomElement(using: &random) ?? ""
    return random.oneIn(3) ? accented : "t\(Int.random(in: 0...9, using: &random))"
  }

  private static func number(using random: inout SeededGenerator) -> Value {
    switch Int.random(in: 0..<12, using: &random) {
    case 0: .null
    case 1: .double(.nan)
    case 2: random.oneIn(4) ? .double(.infinity) : .double(-0.0)
    default: .double(Double.random(in: -5...5, using: &random))
    }
  }

  private static func spine(
    base: Int64, span: Int, using random: inout SeededGenerator
  ) -> ColumnBatch {
    let count = Int.random(in: 0...25, using: &random)
    var times: [Value] = []
    var numbers: [Value] = []
    var names: [Value] = []
    for _ in 0..<count {
      let time = base + Int64.random(in: -5...Int64(span + 60), using: &random)
      times.append(random.oneIn(15) ? .null : .timestamp(Timestamp(microseconds: time)))
      numbers.append(random.oneIn(15) ? .null : .int64(Int64.random(in: -1...3, using: &random)))
      names.append(
        random.oneIn(15)
          ? .null
          : .string(
            ["", "a", "b|", "\u{E4}", "a\u{308}", "sixteen bytes or more", "no"]
              .randomElement(using: &random) ?? ""))
    }
    return ColumnBatch(
      columns: [
        Column(name: "n", type: .string, names), Column(name: "t", type: .timestamp, times),
        Column(name: "k", type: .int64, numbers),
        Column(name: "other", values: .int64((0..<count).map { Int64($0) })),
      ], count: count)
  }

  /// Of the two texts that look alike only the one of a single scalar passes.
  private static let accented = "text in ('\u{E9}', 't1')"

  private static func views(using random: inout SeededGenerator) throws -> [ViewDefinition] {
    try ["number", "name", "pair"].map { entity in
      var features: [FeatureDefinition] = []
      for column in source.columns
      where column.name != "k" && column.name != "n" && !random.oneIn(3) {
        let ttl =
          random.oneIn(2) ? Span(microseconds: Int64.random(in: 1...30, using: &random)) : nil
        features.append(
          FeatureDefinition(
            name: "last_\(column.name)", kind: .latest(column: column.name, ttl: ttl),
            type: column.type))
      }
      for index in 0..<Int.random(in: 0...5, using: &random) {
        let function = AggregateFunction.allCases.randomElement(using: &random) ?? .count
        let columns: [String?] =
          switch function {
          case .count: [nil, "x", "text", "flag", "when", "tags"]
          case .countDistinct, .first, .last, .lastK: ["x", "y", "text", "flag", "when"]
          default: ["x", "y"]
          }
        let column = columns.randomElement(using: &random) ?? nil
        let filters = [nil, nil, "y > 0", "flag", "x < 1 and text != 't3'", accented]
        let filter = try (filters.randomElement(using: &random) ?? nil).map {
          try Expression.parse($0)
        }
        let window = WindowDefinition(
          function: function, column: column, filter: filter,
          length: Span(microseconds: Int64.random(in: 1...60, using: &random)),
          resolution: Span(microseconds: [1, 2, 7, 10].randomElement(using: &random) ?? 1),
          parameter: function == .quantile ? [0, 0.25, 0.5, 1].randomElement(using: &random) : nil,
          limit: function == .lastK ? Int.random(in: 1...4, using: &random) : nil)
        let type = function.type(over: column.flatMap { source.column($0)?.type } ?? .double)
        features.append(FeatureDefinition(name: "w\(index)", kind: .window(window), type: type))
      }
      if features.contains(where: { $0.name == "w0" && $0.type.isNumeric }) {
        features.append(
          FeatureDefinition(
            name: "twice", kind: .derived(try Expression.parse("coalesce(w0, 1) * 2.0")),
            type: .double))
      }
      return ViewDefinition(name: "of_\(entity)", entity: entity, source: "s", features: features)
    }
  }

  /// How far a feature may be from its exact value, where it is an estimate.
  func relativeError(of name: FeatureName) -> Double? {
    // The derived feature is twice the first window.
    let window = name.feature == "twice" ? "w0" : name.feature
    let feature = snapshot.project.view(name.view)?.feature(window)
    guard case .window(let window)? = feature?.kind, window.function == .quantile else {
      return nil
    }
    return QuantileSketch.relativeError
  }

  /// The events as a source's batch, absent cells marked.
  func batch(_ events: [Event]) -> EventBatch {
    let columns = HistoryCase.source.columns.map { definition in
      var column = Column(name: definition.name, values: ColumnValues(empty: definition.type))
      for event in events {
        let cell = event.cells[definition.name] ?? nil
        column.append(cell ?? .null, absent: cell == nil)
      }
      return column
    }
    return EventBatch(
      source: "s", columns: columns, eventTimestamps: events.map(\.time),
      createdAt: events.map(\.created), sequences: events.map(\.sequence),
      eventIDs: events.map { "\($0.sequence)" })
  }

  /// A scan of the events in shuffled batches, with no more than the request asks for.
  func scan(seed: UInt64) -> HistoryScan {
    let whole = self
    return HistoryScan(
      hasAbsentCells: { _ in whole.hasAbsentCells },
      stream: { request, body in
        var random = SeededGenerator(seed: seed)
        var rest = whole.events.shuffled(using: &random).filter { event in
          event.time <= request.through.microseconds
            && event.time >= request.from?.microseconds ?? .min
            && event.created <= request.knownThrough?.microseconds ?? .max
        }
        while !rest.isEmpty {
          let size = Int.random(in: 1...rest.count, using: &random)
          let events = whole.batch(Array(rest.prefix(size)))
          rest.removeFirst(size)
          let system = [
            Column(name: "event_timestamp", values: .timestamp(events.eventTimestamps)),
            Column(name: "created_at", values: .timestamp(events.createdAt)),
            Column(name: "sequence", values: .int64(events.sequences)),
          ]
          try body(
            ColumnBatch(
              columns: events.columns.filter { request.columns.contains($0.name) } + system))
        }
      })
  }
}
