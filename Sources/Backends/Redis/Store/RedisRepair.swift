import Core

/// States looked at and put right one by one.
extension RedisOnlineStore {
  /// Replacements of one trip.
  private static let replacements = 256

  package func find(view name: String, keys wanted: [EntityKey]) async throws -> [FoundState] {
    let view = try view(name)
    if wanted.isEmpty { return [] }
    let names = wanted.map { keys.entity($0, prefix: view.prefix, types: view.layout.keyTypes) }
    let replies = try await patiently("look at keys of view '\(name)'") {
      try await self.router.send(
        names.map { RedisRequest([KeyBatch.get, $0, RedisKeys.state], key: $0) }, lane: .writes)
    }
    return try zip(names, replies).map { (name, reply) -> FoundState in
      if reply.isError("WRONGTYPE") { return .unreadable("something that is no hash") }
      switch try reply.unlessError() {
      case .null: return .missing
      case .bulk(let bytes):
        guard
          let stored = try? StoredState(
            bytes, layout: view.layout, blank: view.blank, key: name)
        else { return .unreadable("a state that cannot be read") }
        return .state(stored.state)
      default: return .unreadable("something that is no state")
      }
    }
  }

  package func replace(
    view name: String, _ states: [(key: EntityKey, state: EntityState)], now: Timestamp,
    stream: String, through sequence: Int64
  ) async throws {
    let view = try view(name)
    let origin = WriteOrigin.stream(stream, completed: sequence)
    var random = SystemRandomNumberGenerator()
    var calls: [(keys: [[UInt8]], arguments: [[UInt8]])] = []
    for (key, state) in states {
      var stored = StoredState(state: state)
      stored.note(origin.number, sequence, isOfWriter: false)
      let expiry = view.expiry.milliseconds(for: state, now: now)
      let field = stored.encoded(write: random.next())
      calls.append(
        (
          keys: [keys.entity(key, prefix: view.prefix, types: view.layout.keyTypes)],
          arguments: [Array(String(expiry).utf8)] + stored.fields(field, before: [], view: view)
        ))
    }
    let all = calls
    try await view.gate.pass {
      view.cache.withLock { cache in
        for (key, _) in states { _ = cache.take(key) }
      }
      for start in stride(from: 0, to: all.count, by: RedisOnlineStore.replacements) {
        let some = Array(all[start..<min(start + RedisOnlineStore.replacements, all.count)])
        try await patiently("put keys of view '\(name)' right") {
          _ = try await self.run(.put, some)
        }
      }
    }
  }

  package func walk(
    view name: String, _ take: ([EntityKey]) async throws -> Void
  ) async throws {
    let view = try view(name)
    try await scan(keys.pattern(of: name)) { names in
      let found = names.compactMap {
        keys.key(of: $0, prefix: view.prefix, types: view.layout.keyTypes)
      }
      if !found.isEmpty { try await take(found) }
    }
  }

  package func forgets(view name: String) -> Bool {
    (try? view(name))?.expiry.reach != nil
  }
}
