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

  /// Empties a view that other warehouses fill too, whose events of single keys nobody can bring alone: each of them sees it
  /// as lost and brings its own. Whether it was such a view.
  func fillAgain(shared layout: ViewLayout) async throws -> Bool {
    guard let store = store as? any PositionedOnlineStore,
      try await !store.otherWarehouses(of: layout.view).isEmpty,
      let source = visible.current.project.source(layout.source)
    else { return false }
    try await store.empty(layout)
    try await replay.run(
      source, targets: [WarehouseReplay.Target(layout: layout, after: .min)],
      through: applied(layout.source) ?? .min, now: clock.now)
    return true
  }
}
