import Core
import NIOCore
import RedisBackend
import TestKit
import Testing

@Suite struct RedisStateTests {
  @Test func `packed bytes come back as they were`() {
    let seed = UInt64.random(in: 0..<(.max))
    var random = SeededGenerator(seed: seed)
    for _ in 0..<500 {
      let bytes = (0..<Int.random(in: 0...3_000, using: &random)).map { _ in
        [0, 0, 0, 0, 0, UInt8.random(in: 0...255, using: &random)].randomElement(using: &random)
          ?? 0
      }
      var packed: [UInt8] = []
      ZeroPacking.pack(bytes, into: &packed)
      let back = packed.withUnsafeBytes { ZeroPacking.unpack($0, count: bytes.count) }
      #expect(back == bytes, "seed \(seed)")
    }
    var packed: [UInt8] = []
    ZeroPacking.pack([UInt8](repeating: 0, count: 100_000), into: &packed)
    #expect(packed.count < 110)
  }

  @Test func `damaged packed bytes are refused, never trusted`() {
    let seed = UInt64.random(in: 0..<(.max))
    var random = SeededGenerator(seed: seed)
    var packed: [UInt8] = []
    ZeroPacking.pack([1, 0, 2, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 0, 9], into: &packed)
    for count in 0..<packed.count {
      #expect(packed.prefix(count).withUnsafeBytes { ZeroPacking.unpack($0, count: 17) } == nil)
    }
    for _ in 0..<2_000 {
      let bytes = (0..<Int.random(in: 0...40, using: &random)).map { _ in
        UInt8.random(in: 0...255, using: &random)
      }
      // Whatever comes out, nothing outside is touched.
      let count = Int.random(in: 0...300, using: &random)
      let back = bytes.withUnsafeBytes { ZeroPacking.unpack($0, count: count) }
      #expect(back == nil || back?.count == count, "seed \(seed)")
    }
  }

  /// A state with everything in it: late and pending events, absent cells, nulls, several tiles.
  private func state(
    _ layout: ViewLayout, seed: UInt64, now: Timestamp
  ) throws -> EntityState {
    var random = SeededGenerator(seed: seed)
    var events = ContractView.random(60, keys: 1, using: &random)
    for index in events.indices { events[index].key = .string("x") }
    var table = MemoryTable()
    let write = ContractView.write(events, to: layout)
    table.apply(
      MemoryWrite(write, layout: layout, blank: EntityState(layout: layout), now: now),
      rows: events.indices.map { Int32($0) }[...])
    return try #require(table.state(of: .string("x")))
  }

  @Test func `a stored state comes back to the last bit`() throws {
    let layout = ContractView.layout()
    let blank = EntityState(layout: layout)
    for seed in 0..<50 as Range<UInt64> {
      let now = Timestamp(microseconds: ContractView.base + Int64(seed) * ContractView.minute)
      var stored = StoredState(state: try state(layout, seed: seed, now: now))
      stored.note(seed, Int64.max - 1, isOfWriter: false)
      stored.note(seed + 1, 3, isOfWriter: true)
      let bytes = stored.encoded(write: 7)
      let back = try StoredState(
        ByteBuffer(bytes: bytes), layout: layout, blank: blank, key: [1])
      #expect(back == stored, "seed \(seed)")
      // Another write of the same state has another head.
      let again = stored.encoded(write: 8)
      #expect(again.prefix(StoredState.headBytes) != bytes.prefix(StoredState.headBytes))
      #expect(again.dropFirst(StoredState.headBytes) == bytes.dropFirst(StoredState.headBytes))
    }
  }

  @Test func `damaged states and those of another layout are errors that name the key`() throws {
    let layout = ContractView.layout()
    let blank = EntityState(layout: layout)
    let now = Timestamp(microseconds: ContractView.base + 20 * ContractView.minute)
    let bytes = StoredState(state: try state(layout, seed: 5, now: now)).encoded(write: 1)
    for count in 0..<bytes.count {
      let error = #expect(throws: PlatformError.self) {
        try StoredState(
          ByteBuffer(bytes: bytes.prefix(count)), layout: layout, blank: blank,
          key: Array("shop:v:x".utf8))
      }
      #expect(error?.code == .storage)
      #expect(error?.context["key"] == "shop:v:x")
    }
    var other = layout
    other.rings.removeLast()
    #expect(throws: PlatformError.self) {
      try StoredState(
        ByteBuffer(bytes: bytes), layout: other, blank: EntityState(layout: other), key: [])
    }
  }

  @Test func `of writers a key remembers the last few, of streams all`() {
    var stored = StoredState(state: EntityState(layout: ContractView.layout()))
    for origin in 0..<100 as Range<UInt64> {
      stored.note(origin, 1, isOfWriter: origin % 2 == 0)
    }
    stored.note(1, 9, isOfWriter: false)
    #expect(stored.marks.filter { !$0.isOfWriter }.count == 50)
    #expect(stored.marks.filter(\.isOfWriter).map(\.origin) == [84, 86, 88, 90, 92, 94, 96, 98])
    #expect(stored.marks.last == AppliedMark(origin: 1, sequence: 9, isOfWriter: false))
  }

  @Test func `the cache of states keeps the last written within its bound`() {
    let state = CachedState(
      head: [1], stored: StoredState(state: EntityState(layout: ContractView.layout())))
    var cache = StateCache(limit: 1_000)
    for key in 0..<100 as Range<Int64> { cache.put(state, for: .int64(key), bytes: 50) }
    #expect(cache.count <= 20)
    #expect(cache.take(.int64(99))?.head == [1])
    #expect(cache.take(.int64(99)) == nil)
    #expect(cache.take(.int64(0)) == nil)
    cache.put(state, for: .int64(7), bytes: 501)
    #expect(cache.take(.int64(7)) == nil)
  }

  @Test func `the name of an entity's hash is project, view and key`() {
    let plain = RedisKeys(project: "shop", isCluster: false)
    func name(_ key: EntityKey, _ types: [ColumnType]) -> String {
      String(
        decoding: plain.entity(key, prefix: plain.prefix(of: "v@1"), types: types), as: UTF8.self)
    }
    #expect(name(.int64(42), [.int64]) == "shop:v@1:42")
    #expect(name(.string("42"), [.string]) == "shop:v@1:42")
    #expect(name(.composite([.string("JFK"), .int64(7)]), [.string, .int64]) == "shop:v@1:JFK|7")
    #expect(name(.string(#"a|b\c"#), [.string]) == #"shop:v@1:a\|b\\c"#)
    // Of another type than the column's: marked.
    #expect(name(.int64(42), [.string]) == #"shop:v@1:\i42"#)
    #expect(name(.string("42"), [.int64]) == #"shop:v@1:\s42"#)
    let cluster = RedisKeys(project: "shop", isCluster: true)
    let views = ["a@1", "b@2"].map {
      cluster.entity(.string("k"), prefix: cluster.prefix(of: $0), types: [.string])
    }
    #expect(views.map { String(decoding: $0, as: UTF8.self) } == ["shop:a@1:{k}", "shop:b@2:{k}"])
    #expect(ClusterSlots.slot(of: views[0]) == ClusterSlots.slot(of: views[1]))
    #expect(String(decoding: plain.pattern(of: "v[1]*"), as: UTF8.self) == #"shop:v\[1\]\*:*"#)
  }

  private func expiry(
    _ kinds: [FeatureKind], isOn: Bool = true, grace: Span = .hours(1)
  ) -> (KeyExpiry, ViewLayout) {
    let layout = ViewLayout(
      view: ViewDefinition(
        name: "v", entity: "device", source: "readings",
        features: kinds.enumerated().map {
          FeatureDefinition(name: "f\($0.offset)", kind: $0.element, type: .double)
        }),
      entity: EntityDefinition(name: "device", key: ["device"]),
      source: SourceDefinition(
        name: "readings", eventTime: "at",
        columns: [
          ColumnDefinition(name: "device", type: .string),
          ColumnDefinition(name: "a", type: .double), ColumnDefinition(name: "b", type: .double),
        ]))
    return (KeyExpiry(layout, isOn: isOn, grace: grace), layout)
  }

  private func window(_ length: Span, _ resolution: Span) -> FeatureKind {
    .window(
      WindowDefinition(function: .sum, column: "a", length: length, resolution: resolution))
  }

  @Test func `a key is kept as long as its longest ttl or window reaches`() {
    #expect(expiry([.latest(column: "a", ttl: .days(2))]).0.reach == .days(2))
    #expect(expiry([window(.hours(24), .hours(1))]).0.reach == .hours(25))
    #expect(
      expiry([.latest(column: "a", ttl: .days(2)), window(.hours(24), .hours(1))]).0.reach
        == .days(2))
    #expect(
      expiry([.latest(column: "a", ttl: .days(2)), .latest(column: "b", ttl: nil)]).0.reach == nil)
    #expect(
      expiry([.latest(column: "a", ttl: .days(2)), .latest(column: "a", ttl: nil)]).0.reach == nil)
    #expect(expiry([window(.hours(24), .hours(1))], isOn: false).0.reach == nil)
  }

  @Test func `the time that is left counts from the newest event, a pending one included`() {
    let (expiry, layout) = expiry([.latest(column: "a", ttl: .hours(2))])
    let now = Timestamp(microseconds: ContractView.base)
    var state = EntityState(layout: layout)
    let hour: Int64 = 3_600_000
    state.newestEvent = now.microseconds
    #expect(expiry.milliseconds(for: state, now: now) == 3 * hour + 1)
    state.newestEvent = (now - .hours(1)).microseconds
    #expect(expiry.milliseconds(for: state, now: now) == 2 * hour + 1)
    // Out of reach already: the grace is left.
    state.newestEvent = (now - .days(9)).microseconds
    #expect(expiry.milliseconds(for: state, now: now) == hour + 1)
    state.pending = [
      PendingEvent(
        eventTimestamp: (now + .hours(5)).microseconds, createdAt: 0, sequence: 0, latest: [nil],
        slots: [])
    ]
    #expect(expiry.milliseconds(for: state, now: now) == 8 * hour + 1)
    state.pending[0].eventTimestamp = .max
    #expect(expiry.milliseconds(for: state, now: now) == -1)
  }
}
