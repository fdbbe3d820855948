import Core
import EmbeddedBackend
import Features
import Logging
import RedisBackend
import TestKit

/// Plays a world against a memory store, a Redis server and the history engine.
struct WorldPlayer: Sendable {
  /// What was compared, so that a test can tell that it was not nothing.
  struct Tally: Sendable {
    var values = 0
    var present = 0
    var aggregates: Set<String> = []

    mutating func add(_ other: Tally) {
      values += other.values
      present += other.present
      aggregates.formUnion(other.aggregates)
    }
  }

  let server: RedisServer
  let folder: String

  /// Where an answer is not the oracle's; nil where all are.
  func difference(in world: World, _ tally: inout Tally) async throws -> String? {
    if world.features.isEmpty || world.probes.isEmpty { return nil }
    let snapshot = try world.snapshot()
    // The index that ingest has tells which events are new.
    let seed = EventIDSeed.random()
    var ids = EventIDIndex()
    let stored = world.stored { ids.insert(EventIDHash("\($0)", seed: seed)) }
    let answers = try await online(world, stored, snapshot)
    if let problem = answers.problem { return problem }
    let oracle = WorldOracle(world)
    for mode in HistoryMode.allCases {
      // Without statuses less of the history is read.
      let withStatuses = (mode == .asKnown) == (world.probes.count % 2 == 0)
      let set = try await PointInTimeJoin(
        HistoryScan(of: stored.flatMap { $0 }, hasAbsentCells: world.hasAbsentCells)
      ).run(
        spine: world.spine, time: "t", features: world.features, mode: mode, snapshot: snapshot,
        withStatuses: withStatuses)
      for (row, probe) in world.probes.enumerated() {
        for (position, name) in world.features.enumerated() {
          let expected = oracle.value(of: name, probe, mode)
          let found = set.columns[name.description]?[row] ?? .null
          let status = set.statuses?[name]?[row] ?? expected.status
          if !oracle.isSame(found, expected.value, as: name) || status != expected.status {
            return
              "history \(mode), \(name), question \(row): \(found) (\(status)), not \(expected)"
          }
          tally.count(expected, world.feature(name))
          guard mode == .asKnown, probe.time != nil else { continue }
          for (store, vectors) in answers.vectors {
            guard let found = vectors[row]?.values[position] else {
              return "\(store) has no answer to question \(row)"
            }
            let isRight =
              oracle.isSame(found.value, expected.value, as: name)
              && found.status == expected.status
              && found.eventTimestamp == expected.eventTimestamp
            if !isRight { return "\(store), \(name), question \(row): \(found), not \(expected)" }
            tally.count(expected, world.feature(name))
          }
        }
      }
    }
    return nil
  }

  // MARK: Online

  private struct Answers {
    /// By store, then by question.
    var vectors: [String: [Int: FeatureVector]] = [:]
    var problem: String?
  }

  private func online(
    _ world: World, _ stored: [[World.Stored]], _ snapshot: Snapshot
  ) async throws -> Answers {
    let stores = try await WorldStores(world, snapshot, self)
    defer { stores.close() }
    var answers = Answers()
    let clock = TestClock()
    let columns = Set(world.views.flatMap { World.keys[$0.entity] ?? [] })
    var arriving = stored.indices[...]
    let asked = world.probes.enumerated().compactMap { row, probe in
      probe.time.map { (row: row, probe: probe, time: $0) }
    }
    for (row, probe, time) in asked.sorted(by: { $0.time < $1.time }) {
      let known = arriving.prefix { world.deliveries[$0].created <= time }
      arriving = arriving.dropFirst(known.count)
      if let problem = try await stores.take(Array(known), of: stored) {
        answers.problem = problem
        return answers
      }
      clock.set(Timestamp(microseconds: time))
      let values = ["k": probe.number, "n": probe.name].filter { columns.contains($0.key) }
      for (name, store) in stores.all {
        let hydrator = Hydrator(snapshots: Published(snapshot), store: store, clock: clock)
        let answer = try await hydrator.hydrate(
          HydrateRequest(features: world.features, rows: [values]))
        answers.vectors[name, default: [:]][row] = answer.vectors[0]
      }
    }
    return answers
  }
}

extension WorldPlayer.Tally {
  fileprivate mutating func count(_ value: FeatureValue, _ feature: WorldFeature?) {
    values += 1
    guard value.status == .present else { return }
    present += 1
    if case .window(let window)? = feature?.kind { aggregates.insert(window.function.rawValue) }
  }
}

extension World {
  fileprivate func feature(_ name: FeatureName) -> WorldFeature? {
    views.first { $0.name == name.view }?.features.first { $0.name == name.feature }
  }
}

extension HistoryScan {
  /// Events in two batches, the later half first, with no more than the request asks for.
  fileprivate init(of events: [World.Stored], hasAbsentCells: Bool) {
    self.init(
      hasAbsentCells: { _ in hasAbsentCells },
      stream: { request, body in
        let wanted = events.filter { one in
          one.event.time <= request.through.microseconds
            && one.event.time >= request.from?.microseconds ?? .min
            && one.created <= request.knownThrough?.microseconds ?? .max
        }
        for half in [wanted.suffix(wanted.count / 2), wanted.dropLast(wanted.count / 2)]
        where !half.isEmpty {
          try body(World.batch(Array(half)).stored(request.columns))
        }
      })
  }
}
