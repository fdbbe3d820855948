import Core
import NIOCore

/// Which views there are, agreed upon by all processes of a project.
extension RedisOnlineStore {
  /// How long a process that empties a view may be silent before another one goes on with it.
  private static let leaseMilliseconds = 30_000
  /// About how many keys one step of a walk through the server looks at.
  private static let scanKeys = 1_000

  /// True where the view is empty now, because nobody had it or had it in another layout.
  ///
  /// - Parameter token: of this call and its repetitions: what one of them did and did not hear of is found by the next.
  func register(_ view: RedisView, token: String) async throws -> Bool {
    if let isOurs = try await isEmptied(view, by: token) { return isOurs }
    try await takeLease(Array(token.utf8), for: view.layout.view)
    do {
      // Another process may have been at it while we waited.
      let isOurs = try await isEmptied(view, by: token)
      if isOurs == nil { try await empty(view, token: token) }
      try await releaseLease(Array(token.utf8))
      return isOurs ?? true
    } catch {
      try? await releaseLease(Array(token.utf8))
      throw error
    }
  }

  /// Whether it was this call that emptied a view that is there; nil for one that is not there as it is wanted.
  private func isEmptied(_ view: RedisView, by token: String) async throws -> Bool? {
    let name = Array(view.layout.view.utf8)
    let request = RedisRequest([KeyBatch.get, keys.views, name], key: keys.views)
    let reply = try await ask(request)
    guard let entry = reply.text.flatMap(RegistryEntry.init), entry.covers(view.entry) else {
      return nil
    }
    if entry.reach != view.entry.reach { try await note(view, token: entry.token) }
    return entry.token == token
  }

  private func note(_ view: RedisView, token: String) async throws {
    var entry = view.entry
    entry.token = token
    _ = try await ask(
      RedisRequest(
        [
          Array("HSET".utf8), keys.views, Array(view.layout.view.utf8), Array(entry.text.utf8),
        ], key: keys.views))
  }

  private func empty(_ view: RedisView, token: String) async throws {
    // Unregistered first: who dies here leaves a view that the next one empties again.
    try await forget(view.layout.view)
    try await erase(view.layout.view) { try await self.renewLease(Array(token.utf8)) }
    try await note(view, token: token)
  }

  func unregister(_ view: String) async throws {
    try await forget(view)
    try await erase(view) {}
  }

  /// Leaves a view for the next `register` to empty.
  func forget(_ view: String) async throws {
    let positions = keys.positions(of: view)
    let replies = try await router.send(
      [
        RedisRequest([Array("HDEL".utf8), keys.views, Array(view.utf8)], key: keys.views),
        RedisRequest([Array("DEL".utf8), positions], key: positions),
      ], lane: .writes)
    for reply in replies { _ = try reply.unlessError() }
  }

  // MARK: The lease

  private func takeLease(_ token: [UInt8], for view: String) async throws {
    let options = ["NX", "PX", "\(RedisOnlineStore.leaseMilliseconds)"].map { Array($0.utf8) }
    let replies = try await router.send(
      [
        RedisRequest([Array("SET".utf8), keys.lease, token] + options, key: keys.lease),
        RedisRequest([Array("GET".utf8), keys.lease], key: keys.lease),
      ], lane: .writes)
    for reply in replies { _ = try reply.unlessError() }
    if case .bulk(let holder) = replies[1], Array(holder.readableBytesView) == token { return }
    // Repeated by the caller until its patience is over.
    throw PlatformError(
      .unavailable,
      "another process is emptying a view of project '\(keys.project)'; view '\(view)' has to wait for it",
      retryAfter: .milliseconds(50))
  }

  private func releaseLease(_ token: [UInt8]) async throws {
    _ = try await run(.release, [(keys: [keys.lease], arguments: [token])])
  }

  private func renewLease(_ token: [UInt8]) async throws {
    let text = Array(String(RedisOnlineStore.leaseMilliseconds).utf8)
    let reply = try await run(.renew, [(keys: [keys.lease], arguments: [token, text])])[0]
    guard reply.integer == 1 else {
      throw PlatformError(
        .unavailable, "another process took over the emptying of a view: look again",
        retryAfter: .milliseconds(50))
    }
  }

  // MARK: Walks through all keys

  private func erase(_ view: String, step: @Sendable () async throws -> Void) async throws {
    try await scan(keys.pattern(of: view)) { names in
      let requests = names.map { RedisRequest([Array("UNLINK".utf8), $0], key: $0) }
      for reply in try await self.router.send(requests, lane: .writes) {
        _ = try reply.unlessError()
      }
      try await step()
    }
  }

  /// The number of entity keys of some views. Exact while the server does not resize its tables; it may then give a
  /// key twice, which is noticed for the first million keys.
  func count(_ views: [String]) async throws -> [String: Int] {
    var counts = Dictionary(uniqueKeysWithValues: views.map { ($0, 0) })
    for view in views {
      var seen: Set<Int> = []
      try await scan(keys.pattern(of: view)) { names in
        for name in names {
          let isNew = seen.count > 1_000_000 || seen.insert(name.hashValue).inserted
          if isNew { counts[view, default: 0] += 1 }
        }
      }
    }
    return counts
  }

  func scan(
    _ pattern: [UInt8], _ take: ([[UInt8]]) async throws -> Void
  ) async throws {
    for node in try await router.masters() {
      var cursor = Array("0".utf8)
      repeat {
        let request = RedisRequest(
          [Array("SCAN".utf8), cursor, Array("MATCH".utf8), pattern, Array("COUNT".utf8)]
            + [Array(String(RedisOnlineStore.scanKeys).utf8)])
        let reply = try await node.send([request], lane: .writes)[0].unlessError(from: node.address)
        guard let parts = reply.array, parts.count == 2, case .bulk(let next) = parts[0],
          let items = parts[1].array
        else { throw PlatformError(.storage, "Redis answered SCAN with something else than keys") }
        cursor = Array(next.readableBytesView)
        let names = items.compactMap { item -> [UInt8]? in
          if case .bulk(let bytes) = item { Array(bytes.readableBytesView) } else { nil }
        }
        if !names.isEmpty { try await take(names) }
      } while cursor != Array("0".utf8)
    }
  }
}
