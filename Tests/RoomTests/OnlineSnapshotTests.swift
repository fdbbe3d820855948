import Core
import EmbeddedBackend
import Foundation
import TestKit
import Testing

@Suite struct OnlineSnapshotTests {
  /// Two views with the same events, and the folder for the file.
  private struct Fixture {
    let folder: URL
    let layouts: [ViewLayout]
    let store = MemoryOnlineStore()
    let events: [ContractEvent]
    let seed: UInt64
    var path: String { folder.appending(path: "online.snapshot").path }
    /// Some events are still in the future then.
    let now = Timestamp(microseconds: ContractView.base + 30 * 60 * ContractView.minute)

    init() async throws {
      seed = UInt64.random(in: 0..<(.max))
      var random = SeededGenerator(seed: seed)
      folder = FileManager.default.temporaryDirectory.appending(
        path: "martlet-\(UUID().uuidString)")
      try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
      layouts = [ContractView.layout("first"), ContractView.layout("second")]
      events = ContractView.random(1_000, keys: 100, using: &random)
      for layout in layouts {
        _ = try await store.prepare(layout)
        try await store.apply([ContractView.write(events, to: layout)], now: now)
      }
    }

    func remove() { try? FileManager.default.removeItem(at: folder) }

    func restored(_ layouts: [ViewLayout]) async throws -> (MemoryOnlineStore, [String: Int64]) {
      let store = MemoryOnlineStore()
      for layout in layouts { _ = try await store.prepare(layout) }
      return (store, try await store.restoreSnapshot(from: path))
    }

    func expectEqual(_ other: MemoryOnlineStore, in layout: ViewLayout) async throws {
      let keys = Array(Set(events.map(\.key))) + [.string("never")]
      let expected = try await store.read(view: layout.view, keys: keys)
      #expect(try await other.read(view: layout.view, keys: keys) == expected, "seed \(seed)")
      #expect(try await other.counts()[layout.view] == keys.count - 1)
    }
  }

  @Test func `a restored store has every state and goes on like the one that was saved`()
    async throws
  {
    let fixture = try await Fixture()
    defer { fixture.remove() }
    try await fixture.store.writeSnapshot(to: fixture.path, position: ["readings": 3_000])
    let (restored, positions) = try await fixture.restored(fixture.layouts)
    for layout in fixture.layouts {
      #expect(positions[layout.view] == 3_000)
      try await fixture.expectEqual(restored, in: layout)
      let later = fixture.now + .hours(20)
      for store in [fixture.store, restored] {
        let event = ContractView.event("key 1", at: later.microseconds, sequence: 9_999, a: 5)
        try await store.apply([ContractView.write([event], to: layout)], now: later)
      }
      try await fixture.expectEqual(restored, in: layout)
    }
    #expect(try FileManager.default.contentsOfDirectory(atPath: fixture.folder.path).count == 1)
  }

  @Test func `every kind of value and key comes back`() async throws {
    let source = SourceDefinition(
      name: "all", eventTime: "at",
      columns: ColumnType.scalars.map { ColumnDefinition(name: $0.rawValue, type: $0) })
    let layout = ViewLayout(
      view: ViewDefinition(
        name: "all", entity: "e", source: "all",
        features: source.columns.map {
          FeatureDefinition(name: $0.name, kind: .latest(column: $0.name, ttl: nil), type: $0.type)
        }), entity: EntityDefinition(name: "e", key: ["int64", "string"]), source: source)
    let values: [Value] = [
      .bool(true), .int64(.min), .double(-.infinity), .string("naïve \u{0}|\\ 🪶"),
      .timestamp(Timestamp(microseconds: -1)),
    ]
    let keys: [EntityKey] = [
      .composite([.int64(-5), .string("")]), .composite([.string("5"), .int64(.max)]),
    ]
    let write = OnlineWrite(
      view: "all", keys: keys, eventTimestamps: [5, 6], createdAt: [7, 8], sequences: [1, 2],
      latest: zip(source.columns, values).map {
        Column(name: $0.name, type: $0.type, [$1, .null])
      },
      slots: [])
    let store = MemoryOnlineStore()
    _ = try await store.prepare(layout)
    try await store.apply([write], now: Timestamp(microseconds: 10))
    let folder = FileManager.default.temporaryDirectory.appending(
      path: "martlet-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: folder) }
    let path = folder.appending(path: "all").path
    try await store.writeSnapshot(to: path, position: [:])
    let other = MemoryOnlineStore()
    _ = try await other.prepare(layout)
    #expect(try await other.restoreSnapshot(from: path).keys.sorted() == ["all"])
    let states = try await store.read(view: "all", keys: keys)
    #expect(try await other.read(view: "all", keys: keys) == states)
    #expect(states[0]?.latest.map { $0?.value } == values)
  }

  @Test func `writes go on while captured states are written`() async throws {
    let fixture = try await Fixture()
    defer { fixture.remove() }
    let layout = fixture.layouts[0]
    let before = try await fixture.store.read(view: layout.view, keys: [.string("key 1")])
    let captured = try await fixture.store.capture(position: ["readings": 1], views: nil)
    let event = ContractView.event("key 1", at: fixture.now.microseconds, sequence: 9_999, a: 5)
    try await fixture.store.apply([ContractView.write([event], to: layout)], now: fixture.now)
    try await captured.write(to: fixture.path)
    let (restored, _) = try await fixture.restored(fixture.layouts)
    #expect(try await restored.read(view: layout.view, keys: [.string("key 1")]) == before)
    #expect(try await fixture.store.read(view: layout.view, keys: [.string("key 1")]) != before)
  }

  @Test func `views that are not wanted or have another layout are passed over`() async throws {
    let fixture = try await Fixture()
    defer { fixture.remove() }
    try await fixture.store.writeSnapshot(to: fixture.path, position: ["readings": 3_000])
    for changed in fixture.layouts.indices {
      var other = ContractView.layout(horizon: .hours(48))
      other.view = fixture.layouts[changed].view
      let same = fixture.layouts[1 - changed]
      let (restored, positions) = try await fixture.restored([other, same])
      #expect(positions == [same.view: 3_000])
      try await fixture.expectEqual(restored, in: same)
      #expect(try await restored.counts()[other.view] == 0)
    }
    let (_, positions) = try await fixture.restored([fixture.layouts[1]])
    #expect(positions == [fixture.layouts[1].view: 3_000])
  }

  @Test func `arrays come back as they were saved`() async throws {
    let fixture = try await Fixture()
    defer { fixture.remove() }
    let layout = ContractView.arrays()
    let write = ContractView.arrayWrite(to: layout)
    _ = try await fixture.store.prepare(layout)
    try await fixture.store.apply([write], now: fixture.now)
    try await fixture.store.writeSnapshot(to: fixture.path, position: ["readings": 3_000])
    let (restored, positions) = try await fixture.restored([layout])
    #expect(positions == [layout.view: 3_000])
    let saved = try await fixture.store.read(view: layout.view, keys: write.keys)
    #expect(saved.contains { $0?.latest.contains { $0?.value.type?.isArray ?? false } ?? false })
    #expect(try await restored.read(view: layout.view, keys: write.keys) == saved)
  }

  @Test func `a file that is missing, empty or something else restores nothing`() async throws {
    let fixture = try await Fixture()
    defer { fixture.remove() }
    #expect(try await fixture.restored(fixture.layouts).1.isEmpty)
    for bytes in [
      Data(), Data("MRTLONL2".utf8), Data("MRTLONL1".utf8), Data(repeating: 255, count: 5_000),
    ] {
      try bytes.write(to: URL(fileURLWithPath: fixture.path))
      #expect(try await fixture.restored(fixture.layouts).1.isEmpty)
    }
  }

  @Test func `a file that was cut short restores the views that it has whole`() async throws {
    let fixture = try await Fixture()
    defer { fixture.remove() }
    try await fixture.store.writeSnapshot(to: fixture.path, position: ["readings": 3_000])
    let whole = try Data(contentsOf: URL(fileURLWithPath: fixture.path))
    var random = SeededGenerator(seed: fixture.seed)
    var counts: Set<Int> = []
    let lengths = (0..<12).map { _ in Int.random(in: 0..<whole.count - 13, using: &random) }
    for length in lengths + [whole.count / 4, whole.count * 3 / 4] {
      try whole.prefix(length).write(to: URL(fileURLWithPath: fixture.path))
      let (restored, positions) = try await fixture.restored(fixture.layouts)
      counts.insert(positions.count)
      for layout in fixture.layouts where positions[layout.view] != nil {
        try await fixture.expectEqual(restored, in: layout)
      }
    }
    #expect(counts == [0, 1])
  }

  @Test func `a damaged byte costs at most the views that it is in`() async throws {
    let fixture = try await Fixture()
    defer { fixture.remove() }
    try await fixture.store.writeSnapshot(to: fixture.path, position: ["readings": 3_000])
    let whole = try Data(contentsOf: URL(fileURLWithPath: fixture.path))
    var random = SeededGenerator(seed: fixture.seed)
    for _ in 0..<20 {
      var bytes = whole
      let place = Int.random(in: 0..<whole.count, using: &random)
      bytes[place] ^= UInt8.random(in: 1...255, using: &random)
      try bytes.write(to: URL(fileURLWithPath: fixture.path))
      let (restored, positions) = try await fixture.restored(fixture.layouts)
      #expect(positions.count < 3)
      for layout in fixture.layouts where positions[layout.view] != nil {
        try await fixture.expectEqual(restored, in: layout)
      }
    }
  }

  @Test func `a snapshot that cannot be written leaves the old one`() async throws {
    let fixture = try await Fixture()
    defer { fixture.remove() }
    try await fixture.store.writeSnapshot(to: fixture.path, position: ["readings": 3_000])
    // A folder in the place of the temporary file cannot be opened for writing.
    let obstacle = fixture.path + ".tmp"
    try FileManager.default.createDirectory(atPath: obstacle, withIntermediateDirectories: true)
    await #expect {
      try await fixture.store.writeSnapshot(to: fixture.path, position: ["readings": 4_000])
    } throws: { error in
      (error as? PlatformError)?.code == .storage && "\(error)".contains(fixture.path)
    }
    #expect(try await fixture.restored(fixture.layouts).1.values.allSatisfy { $0 == 3_000 })
  }
}

extension SnapshottingOnlineStore {
  /// Writes every view with `position`; nothing may be applied until it has returned.
  fileprivate func writeSnapshot(to path: String, position: [String: Int64]) async throws {
    try await capture(position: position, views: nil).write(to: path)
  }
}
