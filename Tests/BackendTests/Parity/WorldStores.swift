import Core
import EmbeddedBackend
import Features
import RedisBackend
import TestKit

/// The online stores of one world, and what has happened to them so far.
final class WorldStores {
  private let world: World
  private let layouts: [ViewLayout]
  private let folder: String
  private var memory = MemoryOnlineStore()
  private var redis: RedisOnlineStore
  private let makeRedis: () throws -> RedisOnlineStore
  /// Deliveries in the order in which they were applied.
  private var applied: [Int] = []
  private var captured: (state: any CapturedOnlineState, applied: Int)?
  private var now = Timestamp(microseconds: .min)

  init(_ world: World, _ snapshot: Snapshot, _ player: WorldPlayer) async throws {
    self.world = world
    folder = player.folder
    layouts = snapshot.layouts.values.map { layout in
      var layout = layout
      layout.view = layout.storageName
      return layout
    }.sorted { $0.view < $1.view }
    let project = "w\(UInt64.random(in: .min ... .max))"
    let server = player.server
    makeRedis = { try RedisOnlineStore.test(server) { $0.project = project } }
    redis = try makeRedis()
    for layout in layouts {
      _ = try await memory.prepare(layout)
      _ = try await redis.prepare(layout)
    }
    try await capture()
  }

  var all: [(String, any OnlineStore)] { [("memory", memory), ("Redis", redis)] }

  func close() { redis.close() }

  /// Applies what has arrived since, in the world's course.
  ///
  /// - Returns: what a store said that it should not have.
  func take(_ arrived: [Int], of stored: [[World.Stored]]) async throws -> String? {
    var order = arrived
    if case .shuffled(let seed) = world.course {
      var random = SeededGenerator(seed: seed)
      order.shuffle(using: &random)
    }
    for number in order {
      now = max(now, Timestamp(microseconds: world.deliveries[number].created))
      let writes = OnlinePipeline.writes(for: World.batch(stored[number]), layouts: layouts)
      try await memory.apply(writes, now: now)
      switch world.course {
      case .shuffled: try await redis.apply(writes, now: now)
      case .stream(let again):
        for _ in 0..<(again.contains(number) ? 2 : 1) {
          try await redis.apply(writes, now: now, stream: "s")
        }
      }
      applied.append(number)
      try await capture()
      if applied.count == world.restartAfter, let problem = try await restart(stored) {
        return problem
      }
    }
    return nil
  }

  private func capture() async throws {
    guard world.snapshotAfter == applied.count else { return }
    captured = (
      try await memory.capture(position: ["s": Int64(applied.count)], views: nil), applied.count
    )
  }

  /// New processes: one restores the snapshot and replays what came after it, the other finds its states where they were.
  private func restart(_ stored: [[World.Stored]]) async throws -> String? {
    memory = MemoryOnlineStore()
    for layout in layouts { _ = try await memory.prepare(layout) }
    if let captured {
      let path = "\(folder)/online.snapshot"
      try await captured.state.write(to: path)
      let restored = try await memory.restoreSnapshot(from: path)
      guard restored.count == layouts.count else { return "the snapshot has \(restored)" }
    }
    let missed = applied.dropFirst(captured?.applied ?? 0).flatMap { stored[$0] }
    if !missed.isEmpty {
      try await memory.apply(
        OnlinePipeline.writes(for: World.batch(missed), layouts: layouts), now: now)
    }
    redis.close()
    redis = try makeRedis()
    for layout in layouts where try await redis.prepare(layout) {
      return "Redis has forgotten view '\(layout.view)'"
    }
    if case .stream = world.course, let last = applied.last {
      // Nobody knows whether it was the last one that arrived.
      let writes = OnlinePipeline.writes(for: World.batch(stored[last]), layouts: layouts)
      try await redis.apply(writes, now: now, stream: "s")
    }
    return nil
  }
}
