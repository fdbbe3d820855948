import Core
import RedisBackend
import TestKit
import Testing

/// The store on a Cluster of three masters, and behind a Sentinel.
@Suite struct RedisTopologyStoreTests {
  /// Three masters that share all slots, each with some replicas.
  private func withCluster(
    replicas: Int = 0, _ body: ([RedisServer], RedisOnlineStore) async throws -> Void
  )
    async throws
  {
    let servers = try (0..<(3 + 3 * replicas)).map { _ in
      try RedisServer([
        "--cluster-enabled", "yes", "--cluster-config-file", "nodes.conf", "--cluster-port",
        "\(freePort())", "--cluster-node-timeout", "2000",
      ])
    }
    try await RedisServer.ending(servers) {
      for server in servers { try await server.start() }
      let created = try await RedisServer.cli(
        port: servers[0].port,
        ["--cluster", "create"] + servers.map(\.address.description)
          + ["--cluster-replicas", "\(replicas)", "--cluster-yes"])
      #expect(created.contains("All 16384 slots covered"), "\(created)")
      for server in servers {
        try await waitUntil("the cluster was formed") {
          try await server.cli("CLUSTER", "INFO").contains("cluster_state:ok")
        }
      }
      var configuration = RedisConfiguration(
        mode: .cluster, addresses: [servers[1].address], project: "shop")
      configuration.requestTimeout = .seconds(20)
      configuration.connectTimeout = .seconds(20)
      configuration.longestBackoff = .milliseconds(200)
      if replicas > 0 {
        // Where a master dies, its connection says so at once; the election is what takes time.
        configuration.writePatience = .seconds(120)
      }
      let store = try RedisOnlineStore.test(configuration)
      defer { store.close() }
      try await body(servers, store)
    }
  }

  @Test func `the store on a Cluster keeps the contract of an online store`() async throws {
    try await withCluster { servers, store in
      for part in OnlineStoreContract.all {
        do {
          try await part.check(store)
        } catch {
          Issue.record("\(part): \(error)")
        }
      }
      // Every server had keys: what is left are views that no check dropped.
      for server in servers {
        let size = try await server.cli("DBSIZE")
        #expect(size != "0")
      }
    }
  }

  @Test func `reads and writes follow a slot that moves to another server`() async throws {
    try await withCluster { servers, store in
      let layout = ContractView.layout()
      _ = try await store.prepare(layout)
      let key = "shop:\(layout.view):{x}"
      let now = Timestamp(microseconds: ContractView.base + ContractView.minute)
      func apply(_ sequence: Int64) async throws {
        let event = ContractView.event("x", at: ContractView.base, sequence: sequence, a: 1)
        try await store.apply([ContractView.write([event], to: layout)], now: now, stream: "s")
      }
      func count() async throws -> Int64? {
        try await store.read(view: layout.view, keys: [.string("x")])[0]?
          .rings[0].partials.map(\.count).reduce(0, +)
      }
      try await apply(1)
      let slot = "\(ClusterSlots.slot(of: Array(key.utf8)))"
      var source: RedisServer?
      for server in servers where try await server.cli("EXISTS", key) == "1" { source = server }
      let from = try #require(source)
      let to = try #require(servers.first { $0.port != from.port })
      let fromID = try await from.cli("CLUSTER", "MYID")
      let toID = try await to.cli("CLUSTER", "MYID")
      #expect(try await to.cli("CLUSTER", "SETSLOT", slot, "IMPORTING", fromID) == "OK")
      #expect(try await from.cli("CLUSTER", "SETSLOT", slot, "MIGRATING", toID) == "OK")
      #expect(try await from.cli("MIGRATE", "127.0.0.1", "\(to.port)", key, "0", "5000") == "OK")
      // The slot is on its way: the old owner says ASK.
      #expect(try await count() == 2)
      try await apply(2)
      #expect(try await count() == 4)
      for server in [to, from] {
        #expect(try await server.cli("CLUSTER", "SETSLOT", slot, "NODE", toID) == "OK")
      }
      // Now it says MOVED.
      try await apply(3)
      #expect(try await count() == 6)
      #expect(try await to.cli("EXISTS", key) == "1")
    }
  }

  @Test
  func `a replica takes over from a Cluster's master that died, and nothing that it had is lost`()
    async throws
  {
    try await withCluster(replicas: 1) { servers, store in
      var masters: [RedisServer] = []
      for server in servers where try await server.cli("ROLE").hasPrefix("master") {
        masters.append(server)
      }
      #expect(masters.count == 3)
      for master in masters {
        try await waitUntil("a replica was in step") {
          try await master.cli("INFO", "replication").contains("state=online")
        }
      }
      let layout = ContractView.layout()
      _ = try await store.prepare(layout)
      let keys = (0..<30).map { "x\($0)" }
      let now = Timestamp(microseconds: ContractView.base + ContractView.minute)
      func apply(_ first: Int64) async throws {
        let events = keys.enumerated().map { index, key in
          ContractView.event(key, at: ContractView.base, sequence: first + Int64(index), a: 1)
        }
        try await store.apply([ContractView.write(events, to: layout)], now: now, stream: "s")
      }
      func counts() async throws -> [Int64] {
        try await store.read(view: layout.view, keys: keys.map { .string($0) }).map {
          $0?.rings[0].partials.map(\.count).reduce(0, +) ?? 0
        }
      }
      try await apply(1)
      #expect(Set(try await counts()) == [2])
      for master in masters { #expect(try await master.cli("WAIT", "1", "20000") == "1") }
      var owner: RedisServer?
      for master in masters
      where try await master.cli("EXISTS", "shop:\(layout.view):{x0}") == "1" { owner = master }
      let lost = try #require(owner)
      try await lost.crash()
      // Waits until the others have elected the replica.
      try await apply(100)
      try await waitUntil("every slot could be read") {
        let error = await failure { _ = try await counts() }
        if let error { #expect(error.retryable, "\(error)") }
        return error == nil
      }
      #expect(Set(try await counts()) == [4])
      #expect(try await store.lostViews().isEmpty)
    }
  }

  @Test func `the store follows the master that a Sentinel names, through a failover`() async throws
  {
    let first = try RedisServer(["--appendonly", "yes"])
    let second = try RedisServer([
      "--appendonly", "yes", "--replicaof", "127.0.0.1 \(first.port)",
      "--repl-diskless-sync-delay", "0",
    ])
    let sentinel = try RedisServer(isSentinel: true)
    try await RedisServer.ending([first, second, sentinel]) {
      try await first.start()
      try await second.start()
      try await startSentinel(sentinel, watching: first)
      try await waitUntil("the replica was in step and known") {
        let isLinked = try await second.cli("INFO", "replication").contains("master_link_status:up")
        let isKnown = try await sentinel.cli("SENTINEL", "replicas", "shop").contains(
          "\(second.port)")
        return isLinked && isKnown
      }
      var configuration = RedisConfiguration(
        mode: .sentinel(master: "shop"), addresses: [sentinel.address], project: "shop")
      configuration.longestBackoff = .milliseconds(200)
      configuration.writePatience = .seconds(120)
      let store = try RedisOnlineStore.test(configuration)
      defer { store.close() }
      let layout = ContractView.layout()
      _ = try await store.prepare(layout)
      let now = Timestamp(microseconds: ContractView.base + ContractView.minute)
      func apply(_ sequence: Int64) async throws {
        let event = ContractView.event("x", at: ContractView.base, sequence: sequence, a: 1)
        try await store.apply([ContractView.write([event], to: layout)], now: now, stream: "s")
      }
      try await apply(1)
      try await waitUntil("the replica had the write") {
        try await second.cli("HGET", "shop:positions@\(layout.view)", "s") == "1"
      }
      try await first.crash()
      // Waits until the Sentinel has made the replica the master.
      try await apply(2)
      #expect(
        try await sentinel.cli("SENTINEL", "get-master-addr-by-name", "shop").contains(
          "\(second.port)"))
      let state = try await store.read(view: layout.view, keys: [.string("x")])[0]
      #expect(state?.rings[0].partials.map(\.count).reduce(0, +) == 4)
    }
  }

  private func startSentinel(_ sentinel: RedisServer, watching master: RedisServer) async throws {
    try await sentinel.start()
    for command in [
      ["SENTINEL", "MONITOR", "shop", "127.0.0.1", "\(master.port)", "1"],
      ["SENTINEL", "SET", "shop", "down-after-milliseconds", "500"],
      ["SENTINEL", "SET", "shop", "failover-timeout", "3000"],
    ] {
      #expect(try await RedisServer.cli(port: sentinel.port, command) == "OK")
    }
  }
}
