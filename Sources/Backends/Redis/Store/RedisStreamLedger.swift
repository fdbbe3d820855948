import Core

/// Which warehouse has which records of a stream, for all processes that share the Redis.
///
/// A partition is one hash: `member` may claim; `start`, `end` and `warehouse` are the last share; `s:START` → `END WAREHOUSE` are those before
/// it; `@WAREHOUSE` → how far that has stored its own. Offsets are below 2⁵³, which Lua's numbers hold.
extension RedisOnlineStore: StreamLedger {
  package func take(
    _ stored: [StreamPartition: Int64?], as reader: StreamReader
  ) async throws -> [StreamPartition: StreamShares] {
    if stored.isEmpty { return [:] }
    let partitions = stored.keys.sorted()
    let names = keys.streams
    let replies = try await patiently("take partitions of a stream") {
      // Named before anything is noted of them, so that what is noted is found.
      let add = RedisRequest(
        [Array("SADD".utf8), names] + partitions.map { Array("\($0)".utf8) }, key: names)
      _ = try await self.ask(add)
      return try await self.run(
        .takeStream,
        partitions.map { partition in
          let position = (stored[partition] ?? nil).map { "\($0)" } ?? ""
          return (
            keys: [self.keys.stream(partition)],
            arguments: [reader.member, reader.warehouse, position].map { Array($0.utf8) }
          )
        })
    }
    var found: [StreamPartition: StreamShares] = [:]
    for (partition, reply) in zip(partitions, replies) {
      found[partition] = try shares(reply, of: partition)
    }
    try await forgetOldest(found)
    return found
  }

  package func claim(
    _ claims: [StreamClaim], as reader: StreamReader
  ) async throws -> [StreamPartition] {
    let replies = try await patiently("claim records of a stream") {
      try await self.run(
        .claimStream,
        claims.map { claim in
          (
            keys: [self.keys.stream(claim.partition)],
            arguments: [reader.member, reader.warehouse, "\(claim.first)", "\(claim.next)"].map {
              Array($0.utf8)
            }
          )
        })
    }
    return zip(claims, replies).filter { $1.integer != 1 }.map { $0.0.partition }
  }

  package func note(_ offsets: [StreamOffset], in warehouse: String) async throws {
    _ = try await patiently("note how far a stream is stored") {
      try await self.run(
        .raise,
        offsets.map { offset in
          (
            keys: [self.keys.stream(offset.partition)],
            arguments: [Array("@\(warehouse)".utf8), Array("\(offset.next)".utf8)]
          )
        })
    }
  }

  package func giveBack(_ offsets: [StreamOffset], as reader: StreamReader) async throws {
    _ = try await patiently("give back records of a stream") {
      try await self.run(
        .giveBackStream,
        offsets.map { offset in
          (
            keys: [self.keys.stream(offset.partition)],
            arguments: [reader.member, reader.warehouse, "\(offset.next)"].map { Array($0.utf8) }
          )
        })
    }
  }

  package func look(
    at partitions: [StreamPartition]?
  ) async throws -> [StreamPartition: StreamShares] {
    try await patiently("look at what is claimed of a stream") {
      var wanted = partitions ?? []
      if partitions == nil {
        let reply = try await self.ask(
          RedisRequest([Array("SMEMBERS".utf8), self.keys.streams], key: self.keys.streams))
        wanted = (reply.array ?? []).compactMap { $0.text.flatMap(Self.partition) }
      }
      if wanted.isEmpty { return [:] }
      let replies = try await self.router.send(
        wanted.map { partition in
          let key = self.keys.stream(partition)
          return RedisRequest([Array("HGETALL".utf8), key], key: key)
        }, lane: .writes)
      var found: [StreamPartition: StreamShares] = [:]
      for (partition, reply) in zip(wanted, replies) {
        let reply = try reply.unlessError()
        guard reply.array?.isEmpty == false else { continue }
        found[partition] = try self.shares(reply, of: partition)
      }
      return found
    }
  }

  private static func partition(_ text: String) -> StreamPartition? {
    guard let split = text.lastIndex(of: "/"), let number = Int32(text[text.index(after: split)...])
    else { return nil }
    return StreamPartition(topic: String(text[..<split]), partition: number)
  }

  private func shares(_ reply: RESPValue, of partition: StreamPartition) throws -> StreamShares {
    let key = keys.stream(partition)
    let foreign = { RedisFault.foreign("something that is no claim of a stream", key: key) }
    var fields: [String: String] = [:]
    let parts = try reply.unlessError().array ?? []
    for index in stride(from: 0, to: parts.count - 1, by: 2) {
      guard let name = parts[index].text, let value = parts[index + 1].text else { throw foreign() }
      fields[name] = value
    }
    var found = StreamShares()
    for (name, value) in fields {
      if name.hasPrefix("@") {
        guard let next = Int64(value) else { throw foreign() }
        found.stored[String(name.dropFirst())] = next
      } else if name.hasPrefix("s:") {
        let words = value.split(separator: " ", maxSplits: 1)
        guard let start = Int64(name.dropFirst(2)), words.count == 2, let end = Int64(words[0])
        else { throw foreign() }
        found.shares.append(StreamShare(warehouse: String(words[1]), start: start, end: end))
      }
    }
    found.shares.sort { $0.start < $1.start }
    if let warehouse = fields["warehouse"] {
      guard let start = fields["start"].flatMap({ Int64($0) }),
        let end = fields["end"].flatMap({ Int64($0) })
      else { throw foreign() }
      found.shares.append(StreamShare(warehouse: warehouse, start: start, end: end))
    }
    return found
  }

  /// Keeps what is noted of a partition bounded: the oldest shares are forgotten first, and none that is not stored.
  private func forgetOldest(_ found: [StreamPartition: StreamShares]) async throws {
    for (partition, shares) in found where shares.shares.count > Limits.streamShares {
      let old = shares.shares.dropLast(Limits.streamShares).filter {
        (shares.stored[$0.warehouse] ?? .min) >= $0.end
      }
      if old.isEmpty { continue }
      let key = keys.stream(partition)
      let names = old.map { Array("s:\($0.start)".utf8) }
      _ = try await patiently("forget old claims of a stream") {
        try await self.ask(RedisRequest([Array("HDEL".utf8), key] + names, key: key))
      }
    }
  }
}

extension RedisScript {
  /// Makes a member the only one that claims. Arguments: member, warehouse, where its stored records end (or nothing).
  static let takeStream = RedisScript(
    """
    redis.call('HSET', KEYS[1], 'member', ARGV[1])
    if ARGV[3] == '' then
      redis.call('HDEL', KEYS[1], '@' .. ARGV[2])
    else
      redis.call('HSET', KEYS[1], '@' .. ARGV[2], ARGV[3])
    end
    return redis.call('HGETALL', KEYS[1])
    """)

  /// Makes records a warehouse's own, unless another member has come. Arguments: member, warehouse, first offset, the one after
  /// the last. A claim of what is claimed already was made by the same member, which did not hear of it.
  static let claimStream = RedisScript(
    """
    local old = redis.call('HMGET', KEYS[1], 'member', 'warehouse', 'start', 'end')
    if old[1] ~= ARGV[1] then return 0 end
    local first, next = tonumber(ARGV[3]), tonumber(ARGV[4])
    local stop = old[4] and tonumber(old[4])
    if old[2] == ARGV[2] and first >= tonumber(old[3]) and first <= stop then
      if next > stop then redis.call('HSET', KEYS[1], 'end', ARGV[4]) end
      return 1
    end
    if stop and first < stop then return 0 end
    if stop and tonumber(old[3]) < stop then
      redis.call('HSET', KEYS[1], 's:' .. old[3], old[4] .. ' ' .. old[2])
    end
    redis.call('HSET', KEYS[1], 'warehouse', ARGV[2], 'start', ARGV[3], 'end', ARGV[4])
    return 1
    """)

  /// Shortens the last share, unless another member has come. Arguments: member, warehouse, the new end.
  static let giveBackStream = RedisScript(
    """
    local old = redis.call('HMGET', KEYS[1], 'member', 'warehouse', 'start', 'end')
    if old[1] ~= ARGV[1] or old[2] ~= ARGV[2] then return 0 end
    if tonumber(ARGV[3]) >= tonumber(old[4]) then return 0 end
    if tonumber(ARGV[3]) < tonumber(old[3]) then
      redis.call('HSET', KEYS[1], 'end', old[3])
    else
      redis.call('HSET', KEYS[1], 'end', ARGV[3])
    end
    return 1
    """)
}
