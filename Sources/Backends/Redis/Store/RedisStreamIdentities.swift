import Core

/// Which record of a source's topic has brought which event id, for all processes that share the Redis.
///
/// Two hashes for each of some shards: hash of the id → place of the record. When the younger has its share of `configuration.knownIDs` it
/// becomes the older one, and what that had is forgotten: the newest so many ids are known, and never more than twice as many are kept.
extension RedisOnlineStore {
  private static let shards = 16
  /// Ids of one run of the script; the server serves nobody else meanwhile.
  private static let idsAtOnce = 512
  /// A source that brings no id for so long is forgotten.
  private static let kept = Span.hours(7 * 24)

  package func claim(
    _ identities: [StreamIdentity], of source: String
  ) async throws -> [Int] {
    if configuration.knownIDs == 0 || identities.isEmpty { return [] }
    // Of records with one id in the same batch the first asks first.
    var seen: Set<StreamIdentityHash> = []
    seen.reserveCapacity(identities.count)
    var firsts = Array(repeating: [Int](), count: Self.shards)
    var others = firsts
    for (index, identity) in identities.enumerated() {
      let shard = Int(identity.low % UInt64(Self.shards))
      if seen.insert(StreamIdentityHash(identity)).inserted {
        firsts[shard].append(index)
      } else {
        others[shard].append(index)
      }
    }
    return
      (try await claim(firsts, of: identities, source)
      + (try await claim(others, of: identities, source))).sorted()
  }

  private func claim(
    _ shards: [[Int]], of identities: [StreamIdentity], _ source: String
  ) async throws -> [Int] {
    let settings = [
      "\(max(1, configuration.knownIDs / Self.shards))", "\(Self.kept.microseconds / 1_000)",
    ].map { Array($0.utf8) }
    var asked: [ArraySlice<Int>] = []
    var calls: [(keys: [[UInt8]], arguments: [[UInt8]])] = []
    for (shard, indices) in shards.enumerated() {
      let names = keys.identities(of: source, shard: shard)
      for start in stride(from: 0, to: indices.count, by: Self.idsAtOnce) {
        let some = indices[start..<min(start + Self.idsAtOnce, indices.count)]
        asked.append(some)
        calls.append((names, settings + some.flatMap { identities[$0].field }))
      }
    }
    let all = calls
    let replies = try await patiently("claim ids of source '\(source)'") {
      try await self.run(.claimIdentities, all)
    }
    return zip(asked, replies).flatMap { some, reply in
      (reply.array ?? []).compactMap { $0.integer }.map { some[some.startIndex + Int($0)] }
    }
  }
}

private struct StreamIdentityHash: Hashable {
  var low: UInt64
  var high: UInt32

  init(_ identity: StreamIdentity) {
    low = identity.low
    high = identity.high
  }
}

extension StreamIdentity {
  /// The hash in 12 bytes, and the place in as few as it takes: seven bits a byte, the least first.
  fileprivate var field: [[UInt8]] {
    var name: [UInt8] = []
    name.reserveCapacity(12)
    withUnsafeBytes(of: low.littleEndian) { name.append(contentsOf: $0) }
    withUnsafeBytes(of: high.littleEndian) { name.append(contentsOf: $0) }
    var place: [UInt8] = []
    for number in [UInt64(UInt32(bitPattern: partition)), UInt64(bitPattern: offset)] {
      var rest = number
      while rest >= 0x80 {
        place.append(UInt8(rest & 0x7F) | 0x80)
        rest >>= 7
      }
      place.append(UInt8(rest))
    }
    return [name, place]
  }
}

extension RedisScript {
  /// Gives ids to places. Keys: the younger and the older ids. Arguments: ids after which the younger becomes the older, milliseconds to keep
  /// them, and then ids with their places, each once. Returns the positions of the ids, from zero, that another place has.
  static let claimIdentities = RedisScript(
    """
    local ids = {}
    for at = 3, #ARGV, 2 do ids[#ids + 1] = ARGV[at] end
    local young = redis.call('HMGET', KEYS[1], unpack(ids))
    local old = redis.call('HMGET', KEYS[2], unpack(ids))
    local fresh, taken = {}, {}
    for at = 1, #ids do
      local place = ARGV[2 * at + 2]
      local owner = young[at] or old[at]
      if not owner then
        fresh[#fresh + 1] = ids[at]
        fresh[#fresh + 1] = place
      elseif owner ~= place then
        taken[#taken + 1] = at - 1
      end
    end
    if #fresh > 0 then
      redis.call('HSET', KEYS[1], unpack(fresh))
      redis.call('PEXPIRE', KEYS[1], ARGV[2])
      if redis.call('HLEN', KEYS[1]) >= tonumber(ARGV[1]) then
        redis.call('UNLINK', KEYS[2])
        redis.call('RENAME', KEYS[1], KEYS[2])
      end
    end
    return taken
    """)
}
