import Core
import Foundation
import RedisBackend
import TestKit
import Testing

/// What the store keeps of how far a stream was applied, and what a repetition does.
@Suite struct RedisPositionTests {
  private static let end = Timestamp(
    microseconds: ContractView.base + 3_000 * ContractView.minute)

  private func compare(
    _ store: RedisOnlineStore, _ layout: ViewLayout, with events: [ContractEvent], _ seed: UInt64
  ) async throws {
    let oracle = ContractOracle(events, layout: layout)
    for key in Set(events.map(\.key)) {
      let state = try await store.read(view: layout.view, keys: [key])[0]
      do {
        try oracle.compare(state, of: key, at: Self.end.microseconds)
      } catch {
        Issue.record("seed \(seed): \(error)")
      }
    }
  }

  @Test func `a batch that is repeated is applied zero times`() async throws {
    let seed = UInt64.random(in: 0..<(.max))
    var random = SeededGenerator(seed: seed)
    try await RedisServer.with { server in
      let store = try RedisOnlineStore.test(server)
      defer { store.close() }
      let layout = ContractView.layout()
      _ = try await store.prepare(layout)
      #expect(try await store.positions(of: layout.view).isEmpty)
      let events = ContractView.random(300, keys: 5, using: &random)
      let batches = stride(from: 0, to: 300, by: 50).map { Array(events[$0..<$0 + 50]) }
      for batch in batches {
        let write = ContractView.write(batch, to: layout)
        for _ in 0..<2 { try await store.apply([write], now: Self.end, stream: "readings") }
      }
      #expect(try await store.positions(of: layout.view) == ["readings": 300])
      let other = try RedisOnlineStore.test(server)
      defer { other.close() }
      #expect(try await !other.prepare(layout))
      try await other.apply(
        [ContractView.write(events, to: layout)], now: Self.end, stream: "readings")
      try await compare(other, layout, with: events, seed)
    }
  }

  @Test func `a batch that ended in the middle of its keys is completed by its repetition`()
    async throws
  {
    let seed = UInt64.random(in: 0..<(.max))
    var random = SeededGenerator(seed: seed)
    try await RedisServer.with { server in
      let layout = ContractView.layout()
      let events = ContractView.random(400, keys: 40, using: &random)
      let first = try RedisOnlineStore.test(server)
      defer { first.close() }
      _ = try await first.prepare(layout)
      // What a process that died in its second batch leaves: the whole first one and some keys of the second, and of
      // neither a position.
      let reached = Set(
        events.map(\.key).filter { _ in Bool.random(using: &random) })
      let partial = events.filter { $0.sequence <= 200 || reached.contains($0.key) }
      try await first.apply(
        [ContractView.write(partial, to: layout)], now: Self.end, stream: "readings")
      _ = try await server.cli("DEL", "shop:positions@\(layout.view)")
      // The repetition is cut differently.
      let second = try RedisOnlineStore.test(server)
      defer { second.close() }
      _ = try await second.prepare(layout)
      for start in stride(from: 0, to: 400, by: 80) {
        let batch = Array(events[start..<start + 80])
        try await second.apply(
          [ContractView.write(batch, to: layout)], now: Self.end, stream: "readings")
      }
      try await compare(second, layout, with: events, seed)
      #expect(try await second.positions(of: layout.view) == ["readings": 400])
    }
  }

  @Test func `streams of one view do not hide each other's events`() async throws {
    let seed = UInt64.random(in: 0..<(.max))
    var random = SeededGenerator(seed: seed)
    try await RedisServer.with { server in
      let stores = [try RedisOnlineStore.test(server), try RedisOnlineStore.test(server)]
      defer { for store in stores { store.close() } }
      let layout = ContractView.layout()
      for store in stores { _ = try await store.prepare(layout) }
      let events = ContractView.random(400, keys: 6, using: &random)
      let streams = Dictionary(grouping: events) { _ in Int.random(in: 0...1, using: &random) }
      try await withThrowingTaskGroup(of: Void.self) { tasks in
        for (number, stream) in streams {
          let store = stores[number]
          tasks.addTask {
            for start in stride(from: 0, to: stream.count, by: 20) {
              let batch = Array(stream[start..<min(start + 20, stream.count)])
              try await store.apply(
                [ContractView.write(batch, to: layout)], now: Self.end,
                stream: "readings/\(number)")
            }
          }
        }
        try await tasks.waitForAll()
      }
      try await compare(stores[0], layout, with: events, seed)
      let positions = try await stores[0].positions(of: layout.view)
      #expect(positions["readings/0"] == streams[0]?.last?.sequence)
      #expect(positions["readings/1"] == streams[1]?.last?.sequence)
    }
  }

  @Test func `what a view was filled with is not applied again by its stream`() async throws {
    let seed = UInt64.random(in: 0..<(.max))
    var random = SeededGenerator(seed: seed)
    try await RedisServer.with { server in
      let store = try RedisOnlineStore.test(server)
      defer { store.close() }
      let layout = ContractView.layout()
      _ = try await store.prepare(layout)
      let events = ContractView.random(200, keys: 4, using: &random)
      let stored = events.filter { $0.sequence <= 120 }.shuffled(using: &random)
      try await store.apply([ContractView.write(stored, to: layout)], now: Self.end)
      try await store.complete(view: layout.view, stream: "readings", through: 120)
      // Never back.
      try await store.complete(view: layout.view, stream: "readings", through: 9)
      #expect(try await store.positions(of: layout.view) == ["readings": 120])
      try await store.apply(
        [ContractView.write(events, to: layout)], now: Self.end, stream: "readings")
      try await compare(store, layout, with: events, seed)
      try await store.drop(view: layout.view)
      #expect(try await store.positions(of: layout.view).isEmpty)
    }
  }

  @Test func `a server that lost what it had acknowledged is noticed, and the view filled again`()
    async throws
  {
    try await RedisServer.with { server in
      let store = try RedisOnlineStore.test(server)
      defer { store.close() }
      let layout = ContractView.layout()
      _ = try await store.prepare(layout)
      let events = (1...3).map {
        ContractView.event("x", at: ContractView.base + $0, sequence: $0, a: 1)
      }
      func apply(_ index: Int) async throws {
        try await store.apply(
          [ContractView.write([events[index]], to: layout)], now: Self.end, stream: "readings")
      }
      try await apply(0)
      try await apply(1)
      #expect(try await server.cli("FLUSHALL") == "OK")
      let error = await failure { try await apply(2) }
      #expect(error?.code == .failedPrecondition)
      #expect(error?.retryable == false)
      #expect(error?.context["view"] == layout.view)
      #expect(try await store.lostViews() == [layout.view])
      #expect(try await store.prepare(layout))
      for index in 0...2 { try await apply(index) }
      let early = await failure {
        _ = try await store.read(view: layout.view, keys: [.string("x")])
      }
      #expect(early?.code == .unavailable && early?.retryAfter != nil)
      store.restored(view: layout.view)
      try await compare(store, layout, with: events, 0)
    }
  }

  @Test func `readers of a lost view are told to come again while it is emptied`() async throws {
    try await RedisServer.with { server in
      let store = try RedisOnlineStore.test(server)
      defer { store.close() }
      let layout = ContractView.layout()
      _ = try await store.prepare(layout)
      let event = ContractView.event("x", at: ContractView.base, sequence: 1, a: 1)
      let write = ContractView.write([event], to: layout)
      try await store.apply([write], now: Self.end, stream: "readings")
      #expect(try await server.cli("FLUSHALL") == "OK")
      #expect(try await store.lostViews() == [layout.view])
      try await withThrowingTaskGroup { tasks in
        tasks.addTask {
          for _ in 0..<50 { try await store.empty(layout) }
        }
        for _ in 0..<500 {
          let error = await failure {
            _ = try await store.read(view: layout.view, keys: [.string("x")])
          }
          #expect(error?.code == .unavailable)
        }
        try await tasks.waitForAll()
      }
      #expect(try await store.positions(of: layout.view).isEmpty)
      store.restored(view: layout.view)
      #expect(
        try await store.read(view: layout.view, keys: [.string("x")]).map { $0 == nil } == [true])
    }
  }

  @Test
  func `a server that comes back empty or older is noticed by the first read, not answered for`()
    async throws
  {
    try await RedisServer.with { server in
      let store = try RedisOnlineStore.test(server)
      defer { store.close() }
      let layout = ContractView.layout()
      _ = try await store.prepare(layout)
      func apply(_ sequence: Int64) async throws {
        let event = ContractView.event("x", at: ContractView.base, sequence: sequence, a: 1)
        try await store.apply(
          [ContractView.write([event], to: layout)], now: Self.end, stream: "readings")
      }
      func read() async throws -> EntityState? {
        try await store.read(view: layout.view, keys: [.string("x")])[0]
      }
      try await apply(1)
      #expect(try await read() != nil)
      try await server.crash()
      try await server.start()
      let error = await failure { _ = try await read() }
      #expect(error?.code == .unavailable, "\(error as Any)")
      #expect(error?.message.contains("lost events of view '\(layout.view)'") == true)
      #expect(try await store.lostViews() == [layout.view])
      #expect(try await store.prepare(layout))
      try await apply(1)
      store.restored(view: layout.view)
      #expect(try await read() != nil)
      #expect(try await store.lostViews().isEmpty)
      // An older copy: the position that this store had been told of is not there any more.
      try await apply(2)
      #expect(try await server.cli("HSET", "shop:positions@\(layout.view)", "readings", "1") == "0")
      #expect(try await store.lostViews() == [layout.view])
    }
  }

  @Test func `a write without a stream that failed is not applied twice when it is repeated`()
    async throws
  {
    try await RedisServer.with(["--appendonly", "yes"]) { server in
      let store = try RedisOnlineStore.test(server) {
        $0.writePatience = .milliseconds(100)
        $0.requestTimeout = .milliseconds(100)
      }
      defer { store.close() }
      let layout = ContractView.layout()
      let calm = try RedisOnlineStore.test(server)
      defer { calm.close() }
      _ = try await calm.prepare(layout)
      try await waitUntil("the view was prepared") {
        await failure { _ = try await store.prepare(layout) } == nil
      }
      let events = (0..<2_000).map {
        ContractView.event("k\($0)", at: ContractView.base, sequence: Int64($0), a: 1)
      }
      let write = ContractView.write(events, to: layout)
      let now = Timestamp(microseconds: ContractView.base + ContractView.minute)
      try await withThrowingTaskGroup(of: Void.self) { tasks in
        tasks.addTask {
          // Interrupts the write some times, wherever it is.
          for _ in 0..<5 {
            server.send(SIGSTOP)
            _ = await failure {
              _ = try await store.read(view: layout.view, keys: [.string("k1")])
            }
            server.send(SIGCONT)
          }
        }
        tasks.addTask {
          try await waitUntil("the write got through") {
            await failure { try await store.apply([write], now: now) } == nil
          }
        }
        try await tasks.waitForAll()
      }
      let states = try await calm.read(view: layout.view, keys: events.map(\.key))
      let counts = states.map { $0?.rings[0].partials.map(\.count).reduce(0, +) ?? 0 }
      #expect(Dictionary(grouping: counts) { $0 }.mapValues(\.count) == [2: 2_000])
    }
  }
}
