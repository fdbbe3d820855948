import Core
import RedisBackend
import TestKit
import Testing

/// The store on a Cluster of three masters, and behind a Sentinel.
@Suite struct RedisTopologyStoreTests {
  /// Three masters that share all slots.
  private func withCluster(
    _ body: ([RedisServer], RedisOnlineStore) async throws -> Void
  )
    async throws
  {
    let servers = try (0..<3).map { _ in
      try RedisServer([
        "--cluster-enabled", "yes", "--cluster-config-file", "nodes.conf", "--cluster-port",
        "\(freePort())", "--cluster-node-timeout", "2000",
      ])
    }
    try await RedisServer.ending(servers) {
      for server in servers { try await server.start() }
      _ = try await servers[0].cli(
        "--cluster", "create", servers[0].address.description, servers[1].address.description,
        servers[2].address.description, "--cluster-yes")
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
