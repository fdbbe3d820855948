import Core

extension SeededGenerator {
  /// True once in `n` times.
  fileprivate mutating func oneIn(_ n: Int) -> Bool { Int.random(in: 0..<n, using: &self) == 0 }

  fileprivate mutating func pick<Element>(_ all: [Element]) -> Element {
    all[Int.random(in: 0..<all.count, using: &self)]
  }

  fileprivate mutating func number(_ range: ClosedRange<Int64>) -> Int64 {
    .random(in: range, using: &self)
  }
}

extension World {
  /// The world of a seed.
  ///
  /// - Parameter events: how many there are at most.
  package init(seed: UInt64, events most: Int = 14) {
    var maker = WorldMaker(SeededGenerator(seed: seed))
    self = maker.world(events: most)
  }
}

private struct WorldMaker {
  private var random: SeededGenerator
  private var base: Int64 = 0
  private var span: Int64 = 0
  private var hasAbsentCells = false

  init(_ random: SeededGenerator) { self.random = random }

  mutating func world(events most: Int) -> World {
    base = random.pick([0, -1_000, 1_700_000_000_000_000, -37])
    span = random.pick([4, 40, 40, 200])
    hasAbsentCells = random.oneIn(2)
    let views = self.views()
    let deliveries = self.deliveries(events: Int.random(in: 0...most, using: &random))
    let count = deliveries.count
    var world = World(
      hasAbsentCells: hasAbsentCells, views: views, deliveries: deliveries,
      probes: probes(views, deliveries), course: .shuffled(seed: random.next()))
    if random.oneIn(2) {
      world.course = .stream(repeating: Set((0..<count).filter { _ in random.oneIn(4) }))
    }
    if count > 0, random.oneIn(3) {
      let restart = Int.random(in: 1...count, using: &random)
      world.restartAfter = restart
      if !random.oneIn(4) { world.snapshotAfter = Int.random(in: 0...restart, using: &random) }
    }
    return world
  }

  // MARK: Events

  private mutating func deliveries(events: Int) -> [World.Delivery] {
    var arrivals: [(at: Int64, event: World.Event)] = []
    for id in 0..<events {
      // A correction of an earlier event has its time.
      let time =
        id > 0 && random.oneIn(4)
        ? arrivals[random.pick(Array(0..<id))].event.time
        : base + random.number(0...span)
      let lateness: Int64 =
        switch Int.random(in: 0..<4, using: &random) {
        case 0: -random.number(0...10)
        case 1: 0
        case 2: random.number(0...3)
        default: random.number(0...span)
        }
      let isAgain = id > 0 && random.oneIn(7)
      arrivals.append(
        (
          time + lateness,
          World.Event(
            id: isAgain ? Int.random(in: 0..<id, using: &random) : id, time: time, cells: cells(id))
        ))
    }
    var deliveries: [World.Delivery] = []
    for (at, event) in arrivals.sorted(by: { $0.at < $1.at }) {
      if let last = deliveries.indices.last, !random.oneIn(3) {
        deliveries[last].events.append(event)
        deliveries[last].created = max(deliveries[last].created, at)
      } else {
        let after = deliveries.last.map { $0.created + 1 } ?? at
        deliveries.append(World.Delivery(created: max(at, after), events: [event]))
      }
    }
    return deliveries
  }

  private mutating func cells(_ id: Int) -> [String: Value?] {
    var cells: [String: Value?] = [
      "k": random.oneIn(12) ? Value.null : .int64(random.number(-1...1)),
      "n": random.oneIn(12) ? Value.null : .string(random.pick(WorldMaker.names)),
      "x": number(onGrid: true), "u": number(onGrid: false),
      "y": random.oneIn(5) ? Value.null : .int64(random.number(-3...3)),
      "text": random.oneIn(5) ? Value.null : .string(text()),
      "flag": random.oneIn(5) ? Value.null : .bool(random.oneIn(2)),
      "when": random.oneIn(5)
        ? Value.null : .timestamp(Timestamp(microseconds: random.number(0...9))),
      "pair": random.oneIn(5)
        ? Value.null
        : .list(.double([Double(id), Double.random(in: 0...1, using: &random)])),
      "tags": random.oneIn(5)
        ? Value.null
        : .list(.string((0..<Int.random(in: 0...3, using: &random)).map { "t\(id).\($0)" })),
    ]
    if hasAbsentCells {
      for name in ["x", "u", "y", "text", "flag", "when", "pair", "tags"] where random.oneIn(3) {
        cells[name] = .some(nil)
      }
    }
    return cells
  }

  private static let names = ["", "a", "b|", "\u{E4}", "a\u{308}", "sixteen bytes or more"]

  private mutating func text() -> String {
    random.oneIn(3)
      ? random.pick(["\u{E9}", "e\u{301}"]) : "t\(Int.random(in: 0...4, using: &random))"
  }

  /// On the grid sums are exact, in whatever order: what is derived from them may be compared with a threshold.
  private mutating func number(onGrid: Bool) -> Value {
    switch Int.random(in: 0..<12, using: &random) {
    case 0: .null
    case 1: .double(.nan)
    case 2: random.oneIn(4) ? .double(random.pick([.infinity, -.infinity])) : .double(-0.0)
    default:
      onGrid
        ? .double(Double(random.number(-40...40)) / 8)
        : .double(Double.random(in: -5...5, using: &random))
    }
  }

  // MARK: Questions

  private mutating func probes(
    _ views: [WorldView], _ deliveries: [World.Delivery]
  ) -> [World.Probe] {
    // Where something changes: events, their arrival, and where they leave a window or a ttl.
    var edges = deliveries.flatMap { [$0.created] + $0.events.map(\.time) }
    let lengths = views.flatMap(\.features).compactMap { feature -> Int64? in
      switch feature.kind {
      case .latest(_, let ttl): ttl
      case .window(let window): window.length
      case .derived: nil
      }
    }
    if edges.isEmpty { edges = [base] }
    return (0..<Int.random(in: 0...5, using: &random)).map { _ in
      var time = base + random.number(-5...(span + 60))
      if random.oneIn(2) {
        time = random.pick(edges) + random.number(-1...1)
        if random.oneIn(2) { time += random.pick(lengths + [0]) }
      }
      // Mostly of keys that there are.
      if let event = deliveries.flatMap(\.events).randomElement(using: &random), !random.oneIn(3) {
        return World.Probe(time: time, number: event.cell("k"), name: event.cell("n"))
      }
      return World.Probe(
        time: random.oneIn(20) ? nil : time,
        number: random.oneIn(15) ? .null : .int64(random.number(-1...2)),
        name: random.oneIn(15) ? .null : .string(random.pick(WorldMaker.names + ["no"])))
    }
  }

  // MARK: Definitions

  private mutating func views() -> [WorldView] {
    let entities = World.keys.keys.sorted().shuffled(using: &random)
    var views = entities.prefix(random.pick([1, 1, 2, 3])).map { entity in
      WorldView(entity: entity, features: storedFeatures())
    }
    // What may stand in an expression: numbers on the grid, by their full names.
    var numeric: [String] = []
    var lists: [String] = []
    for view in views {
      for feature in view.features {
        if feature.isExact { numeric.append("\(view.name).\(feature.name)") }
        if feature.type.isArray { lists.append("\(view.name).\(feature.name)") }
      }
    }
    for view in views.indices {
      for number in 0..<Int.random(in: 0...2, using: &random) {
        guard let derivation = derivation(numeric, lists, in: views[view].name) else { continue }
        let feature = WorldFeature(name: "d\(number)", kind: .derived(derivation))
        views[view].features.append(feature)
        if feature.isExact { numeric.append("\(views[view].name).d\(number)") }
      }
    }
    return views
  }

  private mutating func derivation(
    _ numeric: [String], _ lists: [String], in view: String
  ) -> Derivation? {
    // A feature of the own view may be named without it.
    func operand(_ all: [String]) -> String {
      let name = random.pick(all)
      return name.hasPrefix(view + ".") && random.oneIn(2)
        ? String(name.dropFirst(view.count + 1)) : name
    }
    if !lists.isEmpty, random.oneIn(4) { return .size(operand(lists)) }
    guard !numeric.isEmpty else { return nil }
    let (a, b) = (operand(numeric), operand(numeric))
    return random.pick([.doubled(a), .ratio(a, b), .signed(a), .either(a, b), .clipped(a, b)])
  }

  private mutating func storedFeatures() -> [WorldFeature] {
    var features: [WorldFeature] = []
    for column in World.source.columns where column.name != "k" && column.name != "n" {
      guard random.oneIn(3) else { continue }
      let ttl = random.oneIn(2) ? random.number(1...30) : nil
      features.append(
        WorldFeature(
          name: "last_\(column.name)", kind: .latest(column: column.name, ttl: ttl)))
    }
    for index in 0..<Int.random(in: 0...4, using: &random) {
      features.append(WorldFeature(name: "w\(index)", kind: .window(window())))
    }
    if features.isEmpty { features.append(WorldFeature(name: "w0", kind: .window(window()))) }
    return features
  }

  private mutating func window() -> WorldFeature.Window {
    let function = random.pick(AggregateFunction.allCases)
    let columns: [String?] =
      switch function {
      case .count: [nil, "x", "text", "flag", "when", "tags"]
      case .countDistinct, .first, .last: ["x", "y", "text", "flag", "when", "pair"]
      case .lastK: ["x", "y", "text", "flag", "when"]
      case .sum, .mean, .min, .max, .stddev, .variance, .quantile: ["x", "u", "y"]
      }
    return WorldFeature.Window(
      function: function, column: random.pick(columns),
      filter: random.oneIn(2) ? random.pick(Filter.allCases) : nil,
      length: random.number(1...60), resolution: random.pick([1, 2, 7, 10]),
      share: function == .quantile ? random.pick([0, 0.25, 0.5, 1]) : nil,
      limit: function == .lastK ? Int.random(in: 1...4, using: &random) : nil)
  }
}

extension WorldFeature {
  /// Whether its value is a number that does not depend on the order of floating-point operations.
  fileprivate var isExact: Bool {
    switch kind {
    case .latest(let column, _): return ["x", "u", "y"].contains(column)
    case .window(let window):
      guard type.isNumeric, window.column != "u" else { return false }
      return ![.stddev, .variance, .quantile].contains(window.function)
    case .derived: return type.isNumeric
    }
  }
}
