import Core

/// What is known of the master that Sentinels watch, and whom to ask next.
///
/// Pure. After the guidelines for clients (https://redis.io/docs/latest/develop/reference/sentinel-clients): Sentinels are asked in
/// turn, the one that answered first the next time, and the server that they name must say itself that it is the master.
package struct SentinelDiscovery: Sendable, Equatable {
  package private(set) var sentinels: [RedisAddress]
  package private(set) var master: RedisAddress?
  package private(set) var failures = 0
  /// Microseconds; nobody is asked before.
  package private(set) var notBefore = Int64.min

  package init(sentinels: [RedisAddress]) { self.sentinels = sentinels }

  package static func question(master: String) -> RedisRequest {
    RedisRequest("SENTINEL", "get-master-addr-by-name", master)
  }

  /// Reads a Sentinel's answer; nil where it does not know the master.
  package static func answer(_ reply: RESPValue) -> RedisAddress? {
    guard let parts = reply.array, parts.count == 2, let host = parts[0].text,
      let port = parts[1].text.flatMap({ Int($0) }), !host.isEmpty, (1...65_535).contains(port)
    else { return nil }
    return RedisAddress(host: host, port: port)
  }

  package mutating func found(_ address: RedisAddress, by sentinel: RedisAddress) {
    master = address
    failures = 0
    notBefore = .min
    if let index = sentinels.firstIndex(of: sentinel) {
      sentinels.remove(at: index)
      sentinels.insert(sentinel, at: 0)
    }
  }

  /// Nobody could name a master.
  package mutating func failed(
    now: Int64, backoff: Backoff, using random: inout some RandomNumberGenerator
  ) {
    notBefore = now + backoff.delay(after: failures, using: &random).microseconds
    failures += 1
  }

  /// The master is away, or is none any more; another one that was found since stays.
  package mutating func lost(_ address: RedisAddress) {
    if master == address { master = nil }
  }
}
