import Core
import Features
import TestKit
import Testing

/// Longer histories than those of the worlds that stores are asked about (`Tests/BackendTests/Parity`).
@Suite struct HistoryTests {
  @Test(arguments: HistoryMode.allCases)
  func `history equals the naive oracle on random worlds`(mode: HistoryMode) async throws {
    let first = UInt64.random(in: 0...1_000_000_000)
    for seed in first..<first + 500 {
      let world = World(seed: seed, events: 60)
      guard let difference = try await difference(in: world, mode, seed: seed) else { continue }
      let shrunk = try await world.shrunk {
        try await self.difference(in: $0, mode, seed: seed)
      }
      Issue.record(
        "seed \(seed), \(mode): \(shrunk?.failure ?? difference)\n\(shrunk?.world ?? world)")
      return
    }
  }

  private func difference(
    in world: World, _ mode: HistoryMode, seed: UInt64
  ) async throws -> String? {
    if world.features.isEmpty { return nil }
    let withStatuses = seed % 2 == 0
    var seen: Set<Int> = []
    let stored = world.stored { seen.insert($0).inserted }.flatMap { $0 }
    let set = try await PointInTimeJoin(
      HistoryScan(of: stored, hasAbsentCells: world.hasAbsentCells, seed: seed)
    ).run(
      spine: world.spine, time: "t", features: world.features, mode: mode,
      snapshot: world.snapshot(), withStatuses: withStatuses)
    guard Array(set.columns.columns.prefix(4)) == world.spine.columns else {
      return "the spine came back as \(set.columns.columns.prefix(4))"
    }
    let oracle = WorldOracle(world)
    for (row, probe) in world.probes.enumerated() {
      for name in world.features {
        let expected = oracle.value(of: name, probe, mode)
        let found = set.columns[name.description]?[row] ?? .null
        // The report of a join has no statuses of derived features.
        let status = set.statuses?[name]?[row] ?? expected.status
        if !oracle.isSame(found, expected.value, as: name) || status != expected.status {
          return "\(name) of question \(row): \(found) (\(status)), not \(expected)"
        }
      }
    }
    return nil
  }
}

extension HistoryScan {
  /// Events in shuffled batches, with no more than the request asks for.
  fileprivate init(of events: [World.Stored], hasAbsentCells: Bool, seed: UInt64) {
    self.init(
      hasAbsentCells: { _ in hasAbsentCells },
      stream: { request, body in
        var random = SeededGenerator(seed: seed)
        var rest = events.shuffled(using: &random).filter { one in
          one.event.time <= request.through.microseconds
            && one.event.time >= request.from?.microseconds ?? .min
            && one.created <= request.knownThrough?.microseconds ?? .max
        }
        while !rest.isEmpty {
          let size = Int.random(in: 1...rest.count, using: &random)
          try body(World.batch(Array(rest.prefix(size))).stored(request.columns))
          rest.removeFirst(size)
        }
      })
  }
}
