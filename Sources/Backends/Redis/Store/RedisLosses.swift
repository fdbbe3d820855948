import Core

/// What a server that was emptied, or went back to an older copy, does not have any more.
extension RedisOnlineStore {
  /// How often a read is repeated while connections come and go.
  private static let attempts = 8

  /// Reads of views whose server was, before and after, one that has what it had acknowledged.
  ///
  /// Costs nothing while connections last: a server that has lost something was started anew, or is another one.
  func intact<Result>(
    _ views: [RedisView], _ read: () async throws -> Result
  ) async throws -> Result {
    for _ in 0..<RedisOnlineStore.attempts {
      let count = connections.current
      for view in views {
        if view.checkedAt.load(ordering: .acquiring) != count { try await check(view, at: count) }
        try refuseLost(view)
      }
      let result = try await read()
      if connections.current == count { return result }
    }
    throw PlatformError(
      .unavailable, "connections to Redis come and go", retryAfter: .milliseconds(100))
  }

  private func refuseLost(_ view: RedisView) throws {
    guard view.isLost.load(ordering: .acquiring) else { return }
    throw PlatformError(
      .unavailable,
      "Redis has lost events of view '\(view.layout.view)'; it is being filled from the warehouse",
      retryAfter: .seconds(1))
  }

  private func check(_ view: RedisView, at count: Int) async throws {
    if !view.isLost.load(ordering: .acquiring), try await !isWhole(view) { lose(view) }
    view.checkedAt.store(count, ordering: .releasing)
  }

  /// Whether the server has every position that it had acknowledged.
  private func isWhole(_ view: RedisView) async throws -> Bool {
    let name = view.layout.view
    let known = acknowledged(of: name)
    let positions = keys.positions(of: name)
    let replies = try await router.send(
      [
        RedisRequest([KeyBatch.get, keys.views, Array(name.utf8)], key: keys.views),
        RedisRequest([Array("HGETALL".utf8), positions], key: positions),
      ], lane: .reads
    ).map { try $0.unlessError() }
    guard let entry = replies[0].text.flatMap(RegistryEntry.init),
      entry.digest == view.layout.stateDigest
    else { return false }
    var stored: [String: Int64] = [:]
    let parts = replies[1].array ?? []
    for index in stride(from: 0, to: parts.count - 1, by: 2) {
      if let stream = parts[index].text {
        stored[stream] = parts[index + 1].text.flatMap { Int64($0) }
      }
    }
    return known.allSatisfy { stored[$0.key] ?? .min >= $0.value }
  }

  /// Gives a view up that has a state which nobody can read: it would stop every later write of its key.
  func forfeit(_ view: RedisView) async throws {
    let positions = keys.positions(of: view.layout.view)
    for reply in try await router.send(
      [RedisRequest([Array("DEL".utf8), positions], key: positions)], lane: .writes)
    {
      _ = try reply.unlessError()
    }
    lose(view)
  }

  package func lostViews() async throws -> [String] {
    for view in allViews where !view.isLost.load(ordering: .acquiring) {
      if try await !isWhole(view) { lose(view) }
    }
    return allViews.filter { $0.isLost.load(ordering: .acquiring) }.map(\.layout.view)
  }
}
