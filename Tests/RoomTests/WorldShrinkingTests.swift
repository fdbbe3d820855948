import Core
import TestKit
import Testing

/// A property test is as good as what it shows when it fails.
@Suite struct WorldShrinkingTests {
  private static func sums(_ world: World) -> Int {
    world.views.flatMap(\.features).count { feature in
      if case .window(let window) = feature.kind { window.function == .sum } else { false }
    }
  }

  private static func flagged(_ world: World) -> Int {
    world.deliveries.flatMap(\.events).count { $0.cell("flag") == .bool(true) }
  }

  @Test func `a world that fails shrinks to what the failure needs`() async throws {
    var shrunkWorlds = 0
    for seed in 0..<200 as Range<UInt64> {
      let world = World(seed: seed)
      let shrunk = try await world.shrunk { world in
        Self.sums(world) > 0 && Self.flagged(world) > 1 ? "two flags and a sum" : nil
      }
      guard let (smallest, reason) = shrunk else {
        #expect(Self.sums(world) == 0 || Self.flagged(world) < 2)
        continue
      }
      shrunkWorlds += 1
      #expect(reason == "two flags and a sum")
      #expect(smallest.features.count == 1 && smallest.probes.isEmpty, "seed \(seed)")
      #expect(smallest.deliveries.flatMap(\.events).count == 2, "seed \(seed)")
      #expect(smallest.course == .stream(repeating: []) && smallest.restartAfter == nil)
      let cells = smallest.deliveries.flatMap(\.events).flatMap { $0.cells.values }
      #expect(cells.count { $0 != nil } == 6, "k, n and flag of each: \(smallest)")
      #expect(smallest.description.contains("flag: bool(true)"))
    }
    #expect(shrunkWorlds > 10)
  }

  @Test func `a seed makes the same world again`() {
    // By its text: a NaN equals no other.
    for seed in 0..<50 as Range<UInt64> {
      #expect("\(World(seed: seed))" == "\(World(seed: seed))")
    }
    #expect("\(World(seed: 1))" != "\(World(seed: 2))")
  }
}
