import Core
import EmbeddedBackend
import Features
import Foundation
import Logging
import TestKit
import Testing

@Suite struct OnlineStateTests {
  private static let names = [
    "spend.last_amount", "spend.last_kind", "spend.n_1h", "spend.big_sum_24h", "spend.mean_24h",
    "pairs.n_3h", "pairs.last",
  ]

  private func rows() -> [RequestRow] {
    (0..<5).flatMap { customer in
      (0..<3).map { ["customer": .string("c\(customer)"), "shop": .int64(Int64($0))] }
    }
  }

  private func expectEqual(_ a: OpenShop, _ b: OpenShop, _ comment: Comment) async throws {
    let x = try await a.read(Self.names, rows())
    let y = try await b.read(Self.names, rows())
    #expect(x.time == y.time)
    for (left, right) in zip(x.vectors, y.vectors) {
      for (p, q) in zip(left.values, right.values) {
        #expect(p.status == q.status && p.eventTimestamp == q.eventTimestamp, comment)
        #expect(isNearly(p.value, q.value), comment)
      }
    }
  }

  @Test func `events wait until the state is restored`() async throws {
    let shop = try await OpenShop(restoring: false)
    let error = await #expect(throws: PlatformError.self) { try await shop.take([shop.order("a")]) }
    #expect(error?.code == .unavailable)
    #expect(shop.state.visible.current.version == 0)
    try await shop.state.restore()
    #expect(shop.state.visible.current.version == 1)
    #expect(shop.warehouse.prepared == ["orders"])
  }

  @Test func `a start without a snapshot reads everything from the warehouse`() async throws {
    var random = SeededGenerator(seed: 11)
    let running = try await OpenShop()
    let restarted = try await OpenShop(restoring: false)
    for shop in [running, restarted] {
      shop.clock.set(Timestamp(microseconds: OnlineShop.base) + .hours(30))
    }
    let orders = OnlineShop.randomOrders(2_000, using: &random)
    for start in stride(from: 0, to: orders.count, by: 100) {
      let some = Array(orders[start..<start + 100])
      try await running.take(some)
      try await restarted.warehouse.commit(WarehouseCommit(events: [OnlineShop.batch(some)]))
    }
    try await restarted.state.restore()
    try await expectEqual(running, restarted, "replayed")
    #expect(try await restarted.state.counts() == running.state.counts())
    let now = running.clock.now
    #expect(restarted.state.freshness(at: now) == running.state.freshness(at: now))
  }

  @Test func `a start takes the snapshot and the events since, each once`() async throws {
    var random = SeededGenerator(seed: 12)
    let folder = FileManager.default.temporaryDirectory.appending(
      path: "martlet-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: folder) }
    let shop = try await OpenShop()
    func another() -> (OnlineState, MemoryOnlineStore) {
      let store = MemoryOnlineStore()
      let state = OnlineState(
        definitions: shop.definitions, store: store, warehouse: shop.warehouse, clock: shop.clock,
        snapshotPath: folder.appending(path: "online").path, logger: Logger(label: "test"))
      return (state, store)
    }
    shop.clock.set(Timestamp(microseconds: OnlineShop.base) + .hours(30))
    let orders = OnlineShop.randomOrders(900, using: &random)
    let (first, _) = another()
    try await first.restore()
    for part in 0..<2 {
      let batch = OnlineShop.batch(Array(orders[part * 300..<part * 300 + 300]))
      try await shop.warehouse.commit(WarehouseCommit(events: [batch]))
      try await first.apply([batch])
    }
    #expect(try await first.save())
    #expect(try await !first.save(), "nothing has changed")
    // A commit whose events were not applied before the process was gone.
    try await shop.warehouse.commit(
      WarehouseCommit(events: [OnlineShop.batch(Array(orders[600...]))]))
    let (second, store) = another()
    try await second.restore()
    let hydrator = Hydrator(snapshots: second.visible, store: store, clock: shop.clock)
    let features = try Self.names.map { try #require(FeatureName($0)) }
    let found = try await hydrator.hydrate(HydrateRequest(features: features, rows: rows()))
    let oracle = OrderOracle(orders: orders, time: shop.clock.now.microseconds)
    for (row, vector) in zip(rows(), found.vectors) {
      let customer = try #require(row["customer"])
      let spend = oracle.spend(customer)
      let pairs = oracle.pairs(customer, try #require(row["shop"]))
      let expected = [spend[0], spend[1], spend[2], spend[4], spend[5], pairs[0], pairs[1]]
      for ((status, value, time), got) in zip(expected, vector.values) {
        #expect(isNearly(got.value, value) && got.status == status)
        #expect(got.eventTimestamp?.microseconds == time)
      }
    }
    // A warehouse that was put back to an older state: the snapshot must not be believed.
    let (third, thirdStore) = another()
    let older = OnlineState(
      definitions: shop.definitions, store: thirdStore, warehouse: EventTablesInMemory(),
      clock: shop.clock, snapshotPath: folder.appending(path: "online").path,
      logger: Logger(label: "test"))
    try await older.restore()
    #expect(try await older.counts() == ["spend": 0, "pairs": 0])
    _ = third
  }

  @Test func `new views are built from the warehouse and seen with their definitions`() async throws
  {
    let before = try OnlineShop.snapshot(views: [OnlineShop.pairs()])
    let shop = try await OpenShop(before)
    var random = SeededGenerator(seed: 13)
    shop.clock.set(Timestamp(microseconds: OnlineShop.base) + .hours(30))
    let orders = OnlineShop.randomOrders(500, using: &random)
    try await shop.take(Array(orders[..<300]))
    // Committed, and waiting to be applied while the view is built.
    let waiting = OnlineShop.batch(Array(orders[300...]))
    try await shop.warehouse.commit(WarehouseCommit(events: [waiting]))
    try await shop.state.adopt(OnlineShop.snapshot(version: 2))
    #expect(shop.state.visible.current.version == 2)
    try await shop.state.apply([waiting])
    let always = try await OpenShop()
    always.clock.set(shop.clock.now)
    try await always.take(orders)
    try await expectEqual(shop, always, "built while running")
  }

  @Test func `a changed view replaces the old one, an unchanged one is not built again`()
    async throws
  {
    let shop = try await OpenShop()
    try await shop.take([shop.order("a", amount: .double(60))])
    var spend = try OnlineShop.spend()
    spend.features[4] = OnlineShop.feature(
      "big_sum_24h", try OnlineShop.window(.sum, "amount", .hours(48)))
    // The warehouse cannot be read: only what needs building would notice.
    shop.warehouse.fail(with: PlatformError(.storage, "the disk is away"))
    await #expect(throws: PlatformError.self) {
      try await shop.state.adopt(
        OnlineShop.snapshot(version: 2, views: [spend, OnlineShop.pairs()]))
    }
    #expect(shop.state.visible.current.version == 1)
    let row: RequestRow = ["customer": .string("a")]
    #expect(
      try await shop.read(["spend.big_sum_24h"], [row]).vectors[0].values[0].value == .double(60))
    #expect(try await shop.store.counts().count == 2, "the half-built view is gone")

    var renamed = try OnlineShop.spend()
    renamed.features.append(
      OnlineShop.feature("more", .derived(try Expression.parse("n_1h + 1")), .int64))
    try await shop.state.adopt(
      OnlineShop.snapshot(version: 3, views: [renamed, OnlineShop.pairs()]))
    #expect(try await shop.read(["spend.more"], [row]).vectors[0].values[0].value == .int64(2))

    shop.warehouse.fail(with: nil)
    try await shop.state.adopt(OnlineShop.snapshot(version: 4, views: [spend]))
    #expect(
      try await shop.read(["spend.big_sum_24h"], [row]).vectors[0].values[0].value == .double(60))
    #expect(try await shop.store.counts().count == 1, "what was replaced or removed is forgotten")
    let error = await #expect(throws: PlatformError.self) {
      _ = try await shop.read(["pairs.n_3h"], [row])
    }
    #expect(error?.code == .notFound)
    try await shop.state.adopt(OnlineShop.snapshot(version: 2))
    #expect(shop.state.visible.current.version == 4, "older definitions do not come back")
  }

  @Test func `stored events of a range are brought in once`() async throws {
    let shop = try await OpenShop()
    shop.clock.set(Timestamp(microseconds: OnlineShop.base) + .minutes(1))
    let orders = (1...10).map { shop.order("a", sequence: Int64($0)) }
    try await shop.warehouse.commit(WarehouseCommit(events: [OnlineShop.batch(orders)]))
    try await shop.state.applyStored(source: "orders", sequences: 1...4)
    try await shop.state.applyStored(source: "orders", sequences: 5...10)
    let found = try await shop.read(["spend.n_1h"], [["client": .string("a")]])
    #expect(found.vectors[0].values[0].value == .int64(10))
  }

  @Test func `a store that fails ends the restoring, however much is left to read`() async throws {
    let shop = try await OpenShop(restoring: false)
    for sequence in 1...100 {
      let order = shop.order("a", sequence: Int64(sequence))
      try await shop.warehouse.commit(WarehouseCommit(events: [OnlineShop.batch([order])]))
    }
    let state = OnlineState(
      definitions: shop.definitions, store: BrokenStore(), warehouse: shop.warehouse,
      clock: shop.clock, snapshotPath: "/nonexistent/online", logger: Logger(label: "test"))
    let error = await #expect(throws: PlatformError.self) { try await state.restore() }
    #expect(error?.message == "the store is broken")
    #expect(state.visible.current.version == 0)
  }

  @Test func `reads see whole definitions while views change under them`() async throws {
    let shop = try await OpenShop()
    try await shop.take([shop.order("a", amount: .double(60))])
    let versions = try (2..<60).map { version -> Snapshot in
      var spend = try OnlineShop.spend()
      spend.features[4] = OnlineShop.feature(
        "big_sum_24h", try OnlineShop.window(.sum, "amount", .hours(24 + Int64(version))))
      return try OnlineShop.snapshot(version: Int64(version), views: [spend, OnlineShop.pairs()])
    }
    try await withThrowingTaskGroup(of: Void.self) { group in
      group.addTask {
        for snapshot in versions { try await shop.state.adopt(snapshot) }
      }
      for _ in 0..<2 {
        group.addTask {
          while shop.state.visible.current.version < 59, !Task.isCancelled {
            let found = try await shop.read(
              ["spend.big_sum_24h", "spend.last_amount"], [["client": .string("a")]])
            #expect(found.vectors[0].values.map(\.value) == [.double(60), .double(60)])
            // Nothing in a read waits: without this the readers would keep the others from running.
            await Task.yield()
          }
        }
      }
      try await group.waitForAll()
    }
  }

  @Test func `the service saves once enough events came, long before the interval is over`()
    async throws
  {
    let shop = try await OpenShop()
    let store = SavesInMemory()
    let state = OnlineState(
      definitions: shop.definitions, store: store, warehouse: shop.warehouse, clock: shop.clock,
      snapshotPath: "unused", logger: Logger(label: "test"))
    try await state.restore()
    let service = OnlineSnapshotService(
      state: state, interval: .days(1), events: 3, logger: Logger(label: "test"))
    let running = Task { await service.run() }
    var saves = store.saves.makeAsyncIterator()
    let orders = (1...7).map { shop.order("a", sequence: Int64($0)) }
    try await state.apply([OnlineShop.batch(Array(orders[..<2]))])
    #expect(state.unsavedEvents.current == 2)
    try await state.apply([OnlineShop.batch(Array(orders[2..<4]))])
    #expect(await saves.next() == ["orders": 4])
    try await shop.warehouse.commit(WarehouseCommit(events: [OnlineShop.batch(orders)]))
    try await state.applyStored(source: "orders", sequences: 5...7)
    #expect(await saves.next() == ["orders": 7])
    #expect(state.unsavedEvents.current == 0)
    running.cancel()
    await running.value
  }

  @Test func `the service saves when it is stopped`() async throws {
    let folder = FileManager.default.temporaryDirectory.appending(
      path: "martlet-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: folder) }
    let path = folder.appending(path: "online").path
    let state = OnlineState(
      definitions: Published(try OnlineShop.snapshot()), store: MemoryOnlineStore(),
      warehouse: EventTablesInMemory(), clock: TestClock(), snapshotPath: path,
      logger: Logger(label: "test"))
    try await state.restore()
    let service = OnlineSnapshotService(
      state: state, interval: .days(1), logger: Logger(label: "test"))
    let running = Task { await service.run() }
    running.cancel()
    await running.value
    #expect(FileManager.default.fileExists(atPath: path))
  }
}

/// Takes views, but no events.
private struct BrokenStore: OnlineStore {
  func prepare(_ layout: ViewLayout) async throws -> Bool { true }
  func apply(_ writes: [OnlineWrite], now: Timestamp) async throws {
    throw PlatformError(.storage, "the store is broken")
  }
  func read(view: String, keys: [EntityKey]) async throws -> [EntityState?] { [] }
  func remove(view: String, keys: [EntityKey]) async throws {}
  func drop(view: String) async throws {}
  func counts() async throws -> [String: Int] { [:] }
}

/// Says what was saved in place of writing it.
private struct SavesInMemory: SnapshottingOnlineStore {
  private struct Captured: CapturedOnlineState {
    var position: [String: Int64]
    var feed: AsyncStream<[String: Int64]>.Continuation
    func write(to path: String) async throws { feed.yield(position) }
  }

  let saves: AsyncStream<[String: Int64]>
  private let feed: AsyncStream<[String: Int64]>.Continuation
  private let store = MemoryOnlineStore()

  init() { (saves, feed) = AsyncStream.makeStream() }

  func prepare(_ layout: ViewLayout) async throws -> Bool { try await store.prepare(layout) }
  func apply(_ writes: [OnlineWrite], now: Timestamp) async throws {
    try await store.apply(writes, now: now)
  }
  func read(view: String, keys: [EntityKey]) async throws -> [EntityState?] {
    try await store.read(view: view, keys: keys)
  }
  func remove(view: String, keys: [EntityKey]) async throws {
    try await store.remove(view: view, keys: keys)
  }
  func drop(view: String) async throws { try await store.drop(view: view) }
  func counts() async throws -> [String: Int] { try await store.counts() }
  func capture(
    position: [String: Int64], views: Set<String>?
  ) async throws -> any CapturedOnlineState {
    Captured(position: position, feed: feed)
  }
  func restoreSnapshot(from path: String) async throws -> [String: Int64] { [:] }
}
