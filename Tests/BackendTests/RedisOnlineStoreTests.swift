import Core
import Foundation
import RedisBackend
import TestKit
import Testing

/// The store on one real server.
@Suite struct RedisOnlineStoreTests {
  private static let base = ContractView.base
  private static let now = Timestamp(microseconds: ContractView.base + ContractView.minute)

  @Test(
    "the store on one Redis server keeps the contract of an online store",
    arguments: OnlineStoreContract.all)
  func contract(_ part: OnlineStoreContract) async throws {
    try await RedisServer.with { server in
      let store = try RedisOnlineStore.test(server)
      defer { store.close() }
      try await part.check(store)
    }
  }

  // MARK: Layout

  @Test func `other programs read latest values as JSON under project, view and key`() async throws
  {
    try await RedisServer.with { server in
      let store = try RedisOnlineStore.test(server)
      defer { store.close() }
      let layout = ContractView.layout()
      _ = try await store.prepare(layout)
      var event = ContractView.event("JFK", at: Self.base + 1, sequence: 1, a: 42.5)
      event.latest[1] = .string("say \"hi\"")
      try await store.apply([ContractView.write([event], to: layout)], now: Self.now)
      let key = "shop:\(layout.view):JFK"
      #expect(
        try await server.cli("HGET", key, "a")
          == #"{"val":42.5,"timestamp":"2023-11-14T22:13:20.000001Z"}"#)
      #expect(
        try await server.cli("HGET", key, "b")
          == #"{"val":"say \"hi\"","timestamp":"2023-11-14T22:13:20.000001Z"}"#)
      #expect(try await server.cli("HLEN", key) == "3")
      #expect(try await server.cli("TTL", key) == "-1")
    }
  }

  @Test func `a key that only ttls and windows read is forgotten after the longest of them`()
    async throws
  {
    try await RedisServer.with { server in
      let store = try RedisOnlineStore.test(server) { $0.expiryGrace = .minutes(10) }
      defer { store.close() }
      let layout = Self.shortLived(ttl: .hours(2))
      #expect(try await store.prepare(layout))
      func put(_ key: String, at time: Int64, _ sequence: Int64) async throws -> Int {
        let event = ContractView.event(key, at: time, sequence: sequence, a: 1)
        var write = ContractView.write([event], to: ContractView.layout())
        write.view = layout.view
        write.latest = [write.latest[0]]
        write.slots = []
        write.sketches = []
        try await store.apply([write], now: Self.now)
        return Int(try await server.cli("TTL", "shop:\(layout.view):\(key)")) ?? 0
      }
      let fresh = try await put("x", at: Self.now.microseconds, 1)
      #expect((7_700...7_801).contains(fresh))
      // An older event does not shorten it.
      let late = try await put("x", at: Self.base - 3_600_000_000, 2)
      #expect((7_600...7_801).contains(late))
      let old = try await put("y", at: Self.base - 864_000_000_000, 3)
      #expect((500...601).contains(old))
    }
  }

  @Test func `a ttl that grows empties the view, one that shrinks does not`() async throws {
    try await RedisServer.with { server in
      let store = try RedisOnlineStore.test(server)
      defer { store.close() }
      var layout = Self.shortLived(ttl: .hours(2))
      #expect(try await store.prepare(layout))
      let other = try RedisOnlineStore.test(server)
      defer { other.close() }
      #expect(try await !other.prepare(layout))
      layout.readers[0].reader = .latest(0, ttl: .hours(1))
      #expect(try await !other.prepare(layout))
      layout.readers[0].reader = .latest(0, ttl: .hours(3))
      #expect(try await other.prepare(layout))
      layout.readers[0].reader = .latest(0, ttl: nil)
      #expect(try await other.prepare(layout))
    }
  }

  private static func shortLived(ttl: Span) -> ViewLayout {
    let source = SourceDefinition(
      name: "readings", eventTime: "at",
      columns: [
        ColumnDefinition(name: "device", type: .string), ColumnDefinition(name: "a", type: .double),
      ])
    return ViewLayout(
      view: ViewDefinition(
        name: "short", entity: "device", source: "readings",
        features: [
          FeatureDefinition(name: "last", kind: .latest(column: "a", ttl: ttl), type: .double)
        ]), entity: EntityDefinition(name: "device", key: ["device"]), source: source)
  }

  // MARK: Many writers

  @Test func `two stores that write the same keys in any order end in the same state`() async throws
  {
    let seed = UInt64.random(in: 0..<(.max))
    var random = SeededGenerator(seed: seed)
    try await RedisServer.with { server in
      for round in 0..<4 {
        let stores = [try RedisOnlineStore.test(server), try RedisOnlineStore.test(server)]
        defer { for store in stores { store.close() } }
        let layout = ContractView.layout()
        let emptied = [try await stores[0].prepare(layout), try await stores[1].prepare(layout)]
        #expect(emptied == [true, false])
        let events = ContractView.random(600, keys: 7, using: &random)
        let end = Timestamp(microseconds: Self.base + 2_400 * ContractView.minute)
        // Each event goes to one of the two; each of them takes its own in batches of any order.
        let shares = Dictionary(grouping: events) { _ in Int.random(in: 0...1, using: &random) }
        let batches = shares.mapValues { share -> [[ContractEvent]] in
          let shuffled = share.shuffled(using: &random)
          return stride(from: 0, to: shuffled.count, by: 25).map {
            Array(shuffled[$0..<min($0 + 25, shuffled.count)])
          }
        }
        try await withThrowingTaskGroup(of: Void.self) { tasks in
          for (number, batches) in batches {
            let store = stores[number]
            tasks.addTask {
              for batch in batches {
                try await store.apply([ContractView.write(batch, to: layout)], now: end)
              }
            }
          }
          try await tasks.waitForAll()
        }
        let oracle = ContractOracle(events, layout: layout)
        for key in Set(events.map(\.key)) {
          let state = try await stores[round % 2].read(view: layout.view, keys: [key])[0]
          do {
            try oracle.compare(state, of: key, at: end.microseconds)
          } catch {
            Issue.record("seed \(seed), round \(round): \(error)")
          }
        }
      }
    }
  }

  @Test func `two processes that prepare a view at once agree on one that has emptied it`()
    async throws
  {
    try await RedisServer.with { server in
      let stores = try (0..<4).map { _ in try RedisOnlineStore.test(server) }
      defer { for store in stores { store.close() } }
      for _ in 0..<5 {
        let layout = ContractView.layout()
        let emptied = try await withThrowingTaskGroup(of: Bool.self) { tasks in
          for store in stores { tasks.addTask { try await store.prepare(layout) } }
          return try await tasks.reduce(into: []) { $0.append($1) }
        }
        #expect(emptied.filter { $0 }.count == 1)
      }
    }
  }

  // MARK: Faults

  @Test
  func `a server killed and started again in the middle of writes has all that it acknowledged`()
    async throws
  {
    // With `everysec` a server whose disk is busy answers before it has written.
    try await RedisServer.with(["--appendonly", "yes", "--appendfsync", "always"]) { server in
      let store = try RedisOnlineStore.test(server) { $0.writePatience = .seconds(120) }
      defer { store.close() }
      let layout = ContractView.layout()
      _ = try await store.prepare(layout)
      let events = (0..<4_000).map { number in
        ContractView.event(
          "k\(number % 400)", at: Self.base + Int64(number), sequence: Int64(number), a: 1)
      }
      let written = Locked(0)
      try await withThrowingTaskGroup(of: Void.self) { tasks in
        tasks.addTask {
          for start in stride(from: 0, to: events.count, by: 100) {
            let batch = Array(events[start..<start + 100])
            try await store.apply([ContractView.write(batch, to: layout)], now: Self.now)
            written.update { $0 += 100 }
          }
        }
        tasks.addTask {
          for stage in [300, 900, 1_800] {
            try await waitUntil("\(stage) events were written") { written.value >= stage }
            try await server.crash()
            try await server.start()
          }
        }
        try await tasks.waitForAll()
      }
      let oracle = ContractOracle(events, layout: layout)
      let keys = (0..<400).map { EntityKey.string("k\($0)") }
      let states = try await store.read(view: layout.view, keys: keys)
      for (key, state) in zip(keys, states) {
        try oracle.compare(state, of: key, at: Self.now.microseconds)
      }
    }
  }

  @Test func `while the server is away reads fail at once and writes wait for it`() async throws {
    try await RedisServer.with(["--appendonly", "yes"]) { server in
      let store = try RedisOnlineStore.test(server) { $0.writePatience = .seconds(120) }
      defer { store.close() }
      let layout = ContractView.layout()
      _ = try await store.prepare(layout)
      try await store.check()
      try await server.crash()
      #expect(await failure { try await store.check() }?.code == .unavailable)
      var errors: [PlatformError?] = []
      for _ in 0..<3 {
        errors.append(
          await failure { _ = try await store.read(view: layout.view, keys: [.string("x")]) })
      }
      for error in errors {
        #expect(error?.code == .unavailable)
        #expect(error?.retryable == true)
        #expect(error?.retryAfter != nil)
        #expect(error?.message.contains("127.0.0.1:\(server.port)") == true)
      }
      let event = ContractView.event("x", at: Self.base, sequence: 1, a: 1)
      async let written: Void = store.apply(
        [ContractView.write([event], to: layout)], now: Self.now)
      try await server.start()
      try await written
      let state = try await store.read(view: layout.view, keys: [.string("x")])[0]
      #expect(state?.newestEvent == Self.base)
    }
  }

  @Test func `a write gives up with a retryable error when its patience is over`() async throws {
    try await RedisServer.with { server in
      let store = try RedisOnlineStore.test(server) { $0.writePatience = .milliseconds(300) }
      defer { store.close() }
      let layout = ContractView.layout()
      _ = try await store.prepare(layout)
      try await server.crash()
      let write = ContractView.write(
        [ContractView.event("x", at: Self.base, sequence: 1, a: 1)], to: layout)
      let error = await failure { try await store.apply([write], now: Self.now) }
      #expect(error?.code == .unavailable)
      #expect(error?.retryable == true)
      #expect(error?.message.contains("gave up after 300ms") == true)
    }
  }

  @Test func `a server that does not answer in time is an error that says so`() async throws {
    try await RedisServer.with { server in
      let store = try RedisOnlineStore.test(server) { $0.requestTimeout = .seconds(2) }
      defer { store.close() }
      let layout = ContractView.layout()
      _ = try await store.prepare(layout)
      _ = try await store.read(view: layout.view, keys: [.string("x")])
      server.send(SIGSTOP)
      let error = await failure {
        _ = try await store.read(view: layout.view, keys: [.string("x")])
      }
      #expect(error?.code == .deadlineExceeded)
      #expect(error?.message.contains("within 2s") == true)
      server.send(SIGCONT)
      try await waitUntil("the server answered again") {
        (try? await store.read(view: layout.view, keys: [.string("x")])) == [nil]
      }
    }
  }

  @Test func `a wrong password is an error that says what to correct, and is not tried for long`()
    async throws
  {
    try await RedisServer.with(["--requirepass", "secret"]) { server in
      for password in ["wrong", nil] {
        let store = try RedisOnlineStore.test(server) { $0.password = password }
        defer { store.close() }
        let error = await failure { _ = try await store.prepare(ContractView.layout()) }
        #expect(error?.code == .invalidConfiguration)
        #expect(error?.retryable == false)
        #expect(error?.message.contains("redis.password") == true)
        #expect(error?.description.contains("wrong-") == false)
      }
      let store = try RedisOnlineStore.test(server) {
        $0.password = "secret"
        $0.database = 3
      }
      defer { store.close() }
      #expect(try await store.prepare(ContractView.layout()))
      #expect(
        try await server.cli("--no-auth-warning", "-a", "secret", "-n", "3", "EXISTS", "shop:views")
          == "1")
    }
  }

  @Test func `a server that forgot the scripts is told them again`() async throws {
    try await RedisServer.with { server in
      let store = try RedisOnlineStore.test(server)
      defer { store.close() }
      let layout = ContractView.layout()
      _ = try await store.prepare(layout)
      for sequence in 0..<3 as Range<Int64> {
        let event = ContractView.event("x", at: Self.base, sequence: sequence, a: 1)
        try await store.apply([ContractView.write([event], to: layout)], now: Self.now)
        #expect(try await server.cli("SCRIPT", "FLUSH") == "OK")
      }
      let state = try await store.read(view: layout.view, keys: [.string("x")])[0]
      #expect(state?.rings[0].partials.map(\.count).reduce(0, +) == 6)
    }
  }

  @Test func `more requests than may wait are refused with a retryable error, the others answered`()
    async throws
  {
    try await RedisServer.with { server in
      let store = try RedisOnlineStore.test(server) {
        $0.inFlight = 2
        $0.waiting = 3
      }
      defer { store.close() }
      let layout = ContractView.layout()
      _ = try await store.prepare(layout)
      _ = try await store.read(view: layout.view, keys: [.string("x")])
      server.send(SIGSTOP)
      let outcomes = Locked<[PlatformError?]>([])
      try await withThrowingTaskGroup(of: Void.self) { tasks in
        for _ in 0..<9 {
          tasks.addTask {
            let error = await failure {
              _ = try await store.read(view: layout.view, keys: [.string("x")])
            }
            outcomes.update { $0.append(error) }
          }
        }
        // Two are in flight and three wait: the rest is refused while the server stands still.
        try await waitUntil("four reads were refused") { outcomes.value.count == 4 }
        server.send(SIGCONT)
        try await tasks.waitForAll()
      }
      let refused = outcomes.value.compactMap { $0 }
      #expect(refused.map(\.code) == [.overloaded, .overloaded, .overloaded, .overloaded])
      #expect(refused.allSatisfy { $0.retryable && $0.retryAfter != nil })
      #expect(outcomes.value.count == 9)
    }
  }

  @Test func `a key that another program has overwritten is an error that names it`() async throws {
    try await RedisServer.with { server in
      let store = try RedisOnlineStore.test(server)
      defer { store.close() }
      let layout = ContractView.layout()
      _ = try await store.prepare(layout)
      _ = try await server.cli("HSET", "shop:\(layout.view):x", "#state", "nonsense")
      _ = try await server.cli("SET", "shop:\(layout.view):y", "nonsense")
      for key in ["x", "y"] {
        let error = await failure {
          _ = try await store.read(view: layout.view, keys: [.string(key)])
        }
        #expect(error?.code == .storage)
        #expect(error?.retryable == false)
      }
    }
  }
}
