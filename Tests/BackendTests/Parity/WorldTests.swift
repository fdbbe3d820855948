import Core
import Foundation
import TestKit
import Testing

/// Parity by construction, asked of many small random worlds: definitions of every aggregate, filter and expression; events
/// that are late, repeated, corrected, of equal times, null, NaN or dated after the clock; any order of arrival; restarts.
@Suite struct WorldTests {
  /// How many worlds; `MARTLET_WORLDS` asks for more, `MARTLET_WORLD_SEED` for those after a seed.
  private static let count: UInt64 = {
    #if DEBUG
    let usual: UInt64 = 1_000
    #else
    let usual: UInt64 = 10_000
    #endif
    return environment("MARTLET_WORLDS") ?? usual
  }()
  private static let lanes: UInt64 = 3
  /// Worlds between two clearances of a server.
  private static let clearance = 100

  private static func environment(_ name: String) -> UInt64? {
    ProcessInfo.processInfo.environment[name].flatMap { UInt64($0) }
  }

  @Test(
    "in 10,000 random worlds memory, Redis, history by both clocks and plain loops give one answer")
  func parity() async throws {
    let first = Self.environment("MARTLET_WORLD_SEED") ?? .random(in: 0...1_000_000_000)
    let count = Self.count
    let tally = try await withThrowingTaskGroup(of: WorldPlayer.Tally.self) { group in
      for lane in 0..<Self.lanes {
        group.addTask {
          try await Self.play(
            Array(stride(from: first + lane, to: first + count, by: Int(Self.lanes))))
        }
      }
      var tally = WorldPlayer.Tally()
      for try await one in group { tally.add(one) }
      return tally
    }
    // A generator that asks nothing would pass everything.
    guard count >= 500 else { return }
    #expect(tally.values > 50 * Int(count), "\(tally)")
    #expect(tally.present * 4 > tally.values, "\(tally)")
    #expect(tally.aggregates == Set(AggregateFunction.allCases.map(\.rawValue)))
  }

  private static func play(_ seeds: [UInt64]) async throws -> WorldPlayer.Tally {
    try await RedisServer.with { server in
      let folder = try WorldFolder()
      defer { folder.remove() }
      let player = WorldPlayer(server: server, folder: folder.path)
      var tally = WorldPlayer.Tally()
      for (number, seed) in seeds.enumerated() {
        if number % Self.clearance == Self.clearance - 1 { _ = try await server.cli("FLUSHALL") }
        let world = World(seed: seed)
        guard let difference = try await player.difference(in: world, &tally) else { continue }
        let shrunk = try await world.shrunk { smaller in
          var unused = WorldPlayer.Tally()
          return try await player.difference(in: smaller, &unused)
        }
        Issue.record(
          """
          MARTLET_WORLD_SEED=\(seed): \(shrunk?.failure ?? "\(difference), but not again")
          \(shrunk?.world ?? world)
          """)
        return tally
      }
      return tally
    }
  }
}

/// A folder in memory where there is one: thousands of snapshots are synced to it.
private struct WorldFolder {
  let path: String

  init() throws {
    let memory = "/dev/shm"
    let root =
      FileManager.default.isWritableFile(atPath: memory)
      ? memory : FileManager.default.temporaryDirectory.path
    path = "\(root)/martlet-worlds-\(UUID().uuidString)"
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
  }

  func remove() { try? FileManager.default.removeItem(atPath: path) }
}
