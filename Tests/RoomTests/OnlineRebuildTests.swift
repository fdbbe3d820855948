import Core
import EmbeddedBackend
import Features
import Foundation
import Logging
import Synchronization
import TestKit
import Testing

/// Computing a view's states anew beside the ones that are read (semantics §9).
@Suite struct OnlineRebuildTests {
  private static let names = ["spend.last_amount", "spend.n_1h", "spend.mean_24h", "pairs.n_3h"]

  private func rows() -> [RequestRow] {
    (0..<4).flatMap { customer in
      (0..<3).map { ["customer": .string("c\(customer)"), "shop": .int64(Int64($0))] }
    }
  }

  /// A shop with random orders, and the same shop that nothing happens to.
  private func shops(_ count: Int = 400) async throws -> (OpenShop, OpenShop, [Order]) {
    let seed = UInt64.random(in: .min ... .max)
    var random = SeededGenerator(seed: seed)
    let (shop, other) = (try await OpenShop(), try await OpenShop())
    for one in [shop, other] {
      one.clock.set(Timestamp(microseconds: OnlineShop.base) + .hours(30))
    }
    let orders = OnlineShop.randomOrders(count + 50, using: &random)
    for one in [shop, other] {
      for start in stride(from: 0, to: count, by: 50) {
        try await one.take(Array(orders[start..<start + 50]))
      }
    }
    return (shop, other, Array(orders.suffix(50)))
  }

  private func expectEqual(_ a: OpenShop, _ b: OpenShop) async throws {
    let (x, y) = (try await a.read(Self.names, rows()), try await b.read(Self.names, rows()))
    for (left, right) in zip(x.vectors, y.vectors) {
      for (p, q) in zip(left.values, right.values) {
        #expect(p.status == q.status && p.eventTimestamp == q.eventTimestamp)
        #expect(isNearly(p.value, q.value), "\(p.value) \(q.value)")
      }
    }
  }

  private func request(_ view: String = "spend") -> RebuildRequest {
    var request = RebuildRequest(view: view)
    request.partition = 37
    return request
  }

  private func storage(_ shop: OpenShop) throws -> String {
    try #require(shop.state.visible.current.layouts["spend"]).storageName
  }

  @Test func `damaged states are right again, and reads saw the old ones until then`() async throws
  {
    let (shop, other, _) = try await shops()
    let old = try storage(shop)
    try await shop.store.remove(view: old, keys: try (0..<4).map { try key("c\($0)") })
    let steps = Mutex<[BuildProgress]>([])
    let generation = try await shop.state.rebuild(request()) { progress in
      steps.withLock { $0.append(progress) }
      let seen = try await shop.read(["spend.last_amount"], [["customer": .string("c1")]])
      #expect(seen.vectors[0].values[0].status == .notFound)
      #expect(try self.storage(shop) == old)
    }
    #expect(generation == 1)
    let told = steps.withLock { $0 }
    #expect(told.count == 10 && told.map(\.done) == told.map(\.done).sorted())
    #expect(try storage(shop) == "\(old).1")
    try await expectEqual(shop, other)
    #expect(try await shop.store.counts()[old] == nil)
    #expect(try await shop.state.rebuild(request()) { _ in } == 2)
    try await expectEqual(shop, other)
  }

  @Test func `events that come meanwhile are in the new states once`() async throws {
    let (shop, other, later) = try await shops()
    let waiting = Mutex(later[...])
    _ = try await shop.state.rebuild(request()) { _ in
      let some = waiting.withLock { waiting in
        let some = Array(waiting.prefix(4))
        waiting.removeFirst(some.count)
        return some
      }
      if !some.isEmpty { try await shop.take(some) }
    }
    let rest = waiting.withLock { Array($0) }
    #expect(rest.count < later.count)
    if !rest.isEmpty { try await shop.take(rest) }
    try await other.take(later)
    try await expectEqual(shop, other)
  }

  @Test func `what ends early leaves the old states`() async throws {
    let (shop, other, _) = try await shops()
    let old = try storage(shop)
    let views = try await shop.store.counts().keys.sorted()
    await #expect(throws: CancellationError.self) {
      try await shop.state.rebuild(request()) { _ in throw CancellationError() }
    }
    await #expect(throws: PlatformError.self) {
      try await shop.state.rebuild(request("spent")) { _ in }
    }
    #expect(try storage(shop) == old)
    #expect(try await shop.store.counts().keys.sorted() == views)
    try await expectEqual(shop, other)
  }

  @Test func `definitions that change meanwhile win, and the view is computed by them`()
    async throws
  {
    let (shop, _, _) = try await shops()
    var spend = try OnlineShop.spend()
    spend.features[5] = OnlineShop.feature(
      "mean_24h", try OnlineShop.window(.mean, "amount", .hours(20)))
    let changed = try OnlineShop.snapshot(version: 2, views: [spend, OnlineShop.pairs()])
    _ = try await shop.state.rebuild(request()) { _ in try await shop.state.adopt(changed) }
    #expect(shop.state.visible.current.version == 2)
    #expect(try storage(shop).hasSuffix(".1"))
    var random = SeededGenerator(seed: 5)
    let more = OnlineShop.randomOrders(100, using: &random).map { order in
      var order = order
      order.sequence += 1_000
      return order
    }
    try await shop.take(more)
    // From the warehouse alone.
    let store = MemoryOnlineStore()
    let restarted = OnlineState(
      definitions: Published(changed), store: store, warehouse: shop.warehouse, clock: shop.clock,
      snapshotPath: "/nonexistent/online", logger: Logger(label: "test"))
    try await restarted.restore()
    let wanted = try await Hydrator(
      snapshots: restarted.visible, store: store, clock: shop.clock
    ).hydrate(
      HydrateRequest(features: try Self.names.map { try #require(FeatureName($0)) }, rows: rows()))
    let found = try await shop.read(Self.names, rows())
    for (left, right) in zip(found.vectors, wanted.vectors) {
      for (p, q) in zip(left.values, right.values) {
        #expect(p.status == q.status && isNearly(p.value, q.value))
      }
    }
  }

  private func key(_ text: String) throws -> EntityKey { try #require(EntityKey([.string(text)])) }
}
