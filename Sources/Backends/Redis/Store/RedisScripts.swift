import Crypto

/// A script that runs inside the server, as one step that nothing else comes between.
struct RedisScript: Sendable {
  let text: [UInt8]
  let digest: [UInt8]

  init(_ text: String) {
    self.text = Array(text.utf8)
    let hexadecimal = Array("0123456789abcdef".utf8)
    // What the server calls a script by.
    digest = Insecure.SHA1.hash(data: self.text).flatMap {
      [hexadecimal[Int($0 >> 4)], hexadecimal[Int($0 & 15)]]
    }
  }

  /// A call by digest, or with the whole text for a server that does not know it yet.
  func call(
    keys: [[UInt8]], _ arguments: [[UInt8]], isWhole: Bool = false
  ) -> RedisRequest {
    let head = isWhole ? [Array("EVAL".utf8), text] : [Array("EVALSHA".utf8), digest]
    return RedisRequest(
      head + [Array(String(keys.count).utf8)] + keys + arguments, key: keys.first)
  }

  /// Replaces the states of some keys, each only where it is still the one that was read.
  ///
  /// Per key three arguments and then fields with their values: the head of the state that was read (empty: there was none),
  /// milliseconds until the key expires (−1: never), the number of arguments that follow. Per key 1 is
  /// replaced, 0 is changed by somebody else.
  static let replace = RedisScript(
    """
    local results = {}
    local at = 1
    for index, key in ipairs(KEYS) do
      local count = tonumber(ARGV[at + 2])
      local state = redis.call('HGET', key, '#state')
      if (state and string.sub(state, 1, 9) or '') == ARGV[at] then
        redis.call('HSET', key, unpack(ARGV, at + 3, at + 2 + count))
        local expiry = tonumber(ARGV[at + 1])
        if expiry < 0 then
          redis.call('PERSIST', key)
        elseif redis.call('PTTL', key) < expiry then
          redis.call('PEXPIRE', key, ARGV[at + 1])
        end
        results[index] = 1
      else
        results[index] = 0
      end
      at = at + 3 + count
    end
    return results
    """)

  /// Puts a hash in the place of whatever a key has. Arguments: milliseconds until it expires (−1: never), then fields with
  /// their values.
  static let put = RedisScript(
    """
    redis.call('DEL', KEYS[1])
    redis.call('HSET', KEYS[1], unpack(ARGV, 2))
    if tonumber(ARGV[1]) >= 0 then redis.call('PEXPIRE', KEYS[1], ARGV[1]) end
    return 1
    """)

  /// Raises a position and never lowers it; numbers are compared as text, since Lua's have 53 bits only.
  static let raise = RedisScript(
    """
    local old = redis.call('HGET', KEYS[1], ARGV[1])
    local new = ARGV[2]
    if not old or #old < #new or (#old == #new and old < new) then
      redis.call('HSET', KEYS[1], ARGV[1], new)
    end
    return 1
    """)

  /// Takes a name away that is still ours.
  static let release = RedisScript(
    """
    if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
    return 0
    """)

  /// Keeps a name that is still ours for longer.
  static let renew = RedisScript(
    """
    if redis.call('GET', KEYS[1]) == ARGV[1] then
      return redis.call('PEXPIRE', KEYS[1], ARGV[2])
    end
    return 0
    """)
}
