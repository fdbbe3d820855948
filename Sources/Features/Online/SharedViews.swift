import Core

/// Views that other warehouses fill too: several platforms share the partitions of a topic and one Redis.
extension OnlineState {
  /// Throws for views of whose events this process's warehouse has only a part.
  ///
  /// - Parameter action: what cannot be done with them, as in "be verified".
  package func requireWhole(_ views: [String], to action: String) async throws {
    guard let store = store as? any PositionedOnlineStore else { return }
    var shared: [String] = []
    for view in views {
      guard let layout = visible.current.layouts[view] else { continue }
      if try await !store.otherWarehouses(of: layout.storageName).isEmpty { shared.append(view) }
    }
    if shared.isEmpty { return }
    throw PlatformError(
      .failedPrecondition,
      "other platforms fill \(shared.map { "'\($0)'" }.joined(separator: ", ")) too, in the same Redis, and this one has only its own events: it cannot \(action) by itself. See several processes in the guide to Kafka for what can be done.",
      context: ["views": shared.joined(separator: ", ")])
  }

  /// The store, where processes with other warehouses may fill it too.
  package var sharedStore: (any SharedOnlineStore)? {
    (store as? any SharedOnlineStore).flatMap { $0.warehouse.isEmpty ? nil : $0 }
  }

  /// The views in the store, under the names of their states there.
  var storedViews: [ViewLayout] { get throws { try current().layouts } }

  /// Runs `work` while nothing is applied; to be called while no commit is in flight.
  func still<Result>(_ work: () async throws -> Result) async throws -> Result {
    try await gate.pass {
      _ = try current()
      return try await work()
    }
  }

  /// Brings this warehouse's events of keys into their new states; nothing of views that this process does not have.
  ///
  /// To be called while nothing is applied.
  func contribute(to renewal: StateRenewal, in store: any SharedOnlineStore) async throws {
    guard let layout = try storedViews.first(where: { $0.view == renewal.view }),
      let source = visible.current.project.source(layout.source),
      let last = applied(layout.source)
    else { return }
    let place = RenewalStore(store: store, renewal: renewal, stream: source.name)
    let replay = WarehouseReplay(warehouse: warehouse, store: place)
    for start in stride(from: 0, to: renewal.keys.count, by: Self.keysOfQuery) {
      let some = Array(renewal.keys[start..<min(start + Self.keysOfQuery, renewal.keys.count)])
      try await replay.run(
        source, targets: [WarehouseReplay.Target(layout: layout, after: .min)], through: last,
        now: clock.now, only: layout.rows(of: some), inOrder: true)
    }
  }
}

/// The new states of some keys, as a store that a replay fills.
private struct RenewalStore: OnlineStore {
  let store: any SharedOnlineStore
  let renewal: StateRenewal
  let stream: String

  func apply(_ writes: [OnlineWrite], now: Timestamp) async throws {
    try await store.apply(writes, to: renewal, now: now, stream: stream)
  }

  func prepare(_ layout: ViewLayout) async throws -> Bool { false }
  func read(view: String, keys: [EntityKey]) async throws -> [EntityState?] {
    keys.map { _ in nil }
  }
  func remove(view: String, keys: [EntityKey]) async throws {}
  func drop(view: String) async throws {}
  func counts() async throws -> [String: Int] { [:] }
}
