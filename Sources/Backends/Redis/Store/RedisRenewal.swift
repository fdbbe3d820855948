import Core
import Synchronization

/// States that are made anew beside those that are read, by all processes that have events of their keys.
///
/// A key's new state is a hash beside the old one, in the same slot, with the field `#renewal` for as long as it may take its place. Whoever
/// deletes the hash has given the renewal up: nothing is written into it, and nothing put in the place of the old one, any more.
extension RedisOnlineStore: SharedOnlineStore {
  /// What is left behind by processes that died goes by itself after so long.
  private static let kept = Span.hours(1)

  package func begin(_ renewal: StateRenewal) async throws {
    let names = names(renewal).map(\.new)
    try await patiently("make keys of view '\(renewal.view)' anew") {
      let replies = try await self.router.send(
        names.flatMap { name in
          [
            RedisRequest(
              [Array("HSET".utf8), name, Self.renewal, Array(renewal.id.utf8)], key: name),
            RedisRequest(
              [Array("PEXPIRE".utf8), name, Array("\(Self.kept.microseconds / 1_000)".utf8)],
              key: name),
          ]
        }, lane: .writes)
      for reply in replies { _ = try reply.unlessError() }
    }
  }

  package func apply(
    _ writes: [OnlineWrite], to renewal: StateRenewal, now: Timestamp, stream: String
  ) async throws {
    var layout = try view(renewal.view).layout
    layout.view = Self.place(of: renewal)
    let place = RedisView(layout, keys: keys, configuration: configuration, isRenewal: true)
    let origin = WriteOrigin.stream(ours(stream), completed: .min)
    for write in writes where !write.keys.isEmpty {
      try await apply(write, to: place, origin: origin, now: now)
    }
  }

  package func finish(_ renewal: StateRenewal) async throws -> Bool {
    let names = names(renewal)
    let done = Mutex(Set<Int>())
    try await patiently("put keys of view '\(renewal.view)' in their place") {
      // One that was in its place already, as far as this call heard of it, is not asked for again.
      let left = names.indices.filter { index in !done.withLock { $0.contains(index) } }
      let replies = try await self.run(
        .finishRenewal,
        left.map { (keys: [names[$0].new, names[$0].old], arguments: []) })
      for (index, reply) in zip(left, replies) where reply.integer == 1 {
        done.withLock { _ = $0.insert(index) }
      }
    }
    return done.withLock { $0.count } == names.count
  }

  package func giveUp(_ renewal: StateRenewal) async throws {
    let names = names(renewal).map(\.new)
    try await patiently("give up keys of view '\(renewal.view)'") {
      let replies = try await self.router.send(
        names.map { RedisRequest([Array("UNLINK".utf8), $0], key: $0) }, lane: .writes)
      for reply in replies { _ = try reply.unlessError() }
    }
  }

  private static let renewal = Array("#renewal".utf8)

  private static func place(of renewal: StateRenewal) -> String { "\(renewal.view)~\(renewal.id)" }

  private func names(_ renewal: StateRenewal) -> [(new: [UInt8], old: [UInt8])] {
    let (new, old) = (keys.prefix(of: Self.place(of: renewal)), keys.prefix(of: renewal.view))
    return renewal.keys.map { key in
      (
        keys.entity(key, prefix: new, types: renewal.keyTypes),
        keys.entity(key, prefix: old, types: renewal.keyTypes)
      )
    }
  }
}

extension RedisScript {
  /// As `replace`, of hashes that may still take another's place; −1 is one that may not.
  static let replaceRenewed = RedisScript(
    """
    for index, key in ipairs(KEYS) do
      if redis.call('HEXISTS', key, '#renewal') == 0 then
        local results = {}
        for other = 1, #KEYS do results[other] = -1 end
        return results
      end
    end

    """ + String(decoding: replace.text, as: UTF8.self))

  /// Puts the first hash in the place of the second, or nothing where it has no state. 1 is done, 0 is given up before.
  static let finishRenewal = RedisScript(
    """
    if redis.call('HDEL', KEYS[1], '#renewal') == 0 then return 0 end
    if redis.call('EXISTS', KEYS[1]) == 0 then
      redis.call('UNLINK', KEYS[2])
    else
      redis.call('RENAME', KEYS[1], KEYS[2])
    end
    return 1
    """)
}
