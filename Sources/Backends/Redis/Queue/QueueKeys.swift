/// The names of what one queue of the database service has in Redis.
package struct QueueKeys: Sendable {
  /// List: jobs come in at its end and are taken at its beginning.
  package let queue: [UInt8]
  /// List: jobs that the service has taken and not yet ended.
  package let processing: [UInt8]
  /// List: jobs beyond the bound of the queue that are being refused.
  package let refusing: [UInt8]
  /// Hash: job digest → how often a service began it and did not come to its end.
  package let attempts: [UInt8]
  /// List: jobs that nobody could be told about, with the reason, the newest ones.
  package let dead: [UInt8]

  package enum Kind: String, Sendable, CaseIterable {
    case write = "duckdb_write_queue"
    case read = "duckdb_read_queue"
  }

  /// - Parameter namespace: what the names begin with where several platforms share a server.
  package init(_ kind: Kind, namespace: String?) {
    let name = (namespace.map { "\($0):" } ?? "") + kind.rawValue
    queue = Array(name.utf8)
    // In braces, so that all of them lie on one node of a Cluster.
    func beside(_ what: String) -> [UInt8] { Array("{\(name)}:\(what)".utf8) }
    processing = beside("processing")
    refusing = beside("refusing")
    attempts = beside("attempts")
    dead = beside("dead")
  }
}

extension RedisScript {
  /// Moves jobs from one list to the end of another: at most `ARGV[1]`, and none after `ARGV[2]` bytes; from the beginning
  /// (`ARGV[3]` is LEFT) or from the end.
  static let move = RedisScript(
    """
    local moved = {}
    local bytes = 0
    while #moved < tonumber(ARGV[1]) and bytes < tonumber(ARGV[2]) do
      local job = redis.call('LMOVE', KEYS[1], KEYS[2], ARGV[3], 'RIGHT')
      if not job then break end
      moved[#moved + 1] = job
      bytes = bytes + #job
    end
    return moved
    """)

  /// Adds an answer and renews the key's expiry; a reader that went away leaves no more than so many answers.
  static let answer = RedisScript(
    """
    redis.call('RPUSH', KEYS[1], ARGV[1])
    redis.call('LTRIM', KEYS[1], -tonumber(ARGV[3]), -1)
    redis.call('PEXPIRE', KEYS[1], ARGV[2])
    return 1
    """)

  /// Adds a job unless the queue has as many as it may.
  static let submit = RedisScript(
    """
    if redis.call('LLEN', KEYS[1]) >= tonumber(ARGV[2]) then return 0 end
    redis.call('RPUSH', KEYS[1], ARGV[1])
    return 1
    """)
}
