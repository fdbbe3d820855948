import Core
import NIOCore
import NIOPosix

/// The errors of the Redis client, in one place so that they speak alike. No password is ever part of one.
enum RedisFault {
  /// The server cannot be reached, or the connection was lost.
  static func away(
    _ address: RedisAddress, _ what: String, retryAfter: Span? = nil, cause: (any Error)? = nil
  ) -> PlatformError {
    PlatformError(
      .unavailable,
      "Redis at \(address) \(what); the call may be repeated (`martlet doctor` shows whether it answers)",
      cause: cause.map(Cause.init), context: ["redis": "\(address)"],
      retryAfter: retryAfter ?? .milliseconds(100))
  }

  /// What the system says, without the path that it came by.
  private struct Cause: Error, CustomStringConvertible {
    let description: String

    init(_ error: any Error) {
      let last = (error as? NIOConnectionError)?.connectionErrors.last?.error ?? error
      switch last {
      case let error as IOError: description = String(cString: strerror(error.errnoCode))
      case ChannelError.connectTimeout: description = "no answer to the attempt to connect"
      default: description = "\(last)"
      }
    }
  }

  static func late(_ address: RedisAddress, after timeout: Span, wasSent: Bool) -> PlatformError {
    PlatformError(
      .deadlineExceeded,
      wasSent
        ? "Redis at \(address) did not answer within \(timeout); the call may be repeated"
        : "a request to Redis at \(address) waited \(timeout) for a free place; the call may be repeated",
      context: ["redis": "\(address)"], retryAfter: .milliseconds(100))
  }

  static func full(_ address: RedisAddress, limit: Int) -> PlatformError {
    PlatformError(
      .overloaded,
      "more than \(limit) requests to Redis at \(address) wait already; repeat the call later, or allow more in the configuration",
      context: ["redis": "\(address)"], retryAfter: .milliseconds(200))
  }

  static func stopped() -> PlatformError {
    PlatformError(
      .unavailable, "the connection to Redis is closed: the platform is stopping",
      retryAfter: .seconds(1))
  }

  static func noMaster(
    _ what: String, retryAfter: Span, cause: (any Error)? = nil
  )
    -> PlatformError
  {
    PlatformError(
      .unavailable, "\(what); the call may be repeated", cause: cause, retryAfter: retryAfter)
  }

  /// What an error reply means, where it is not one that the client deals with itself.
  static func refused(_ text: String, by address: RedisAddress?) -> PlatformError {
    let place = address.map { " at \($0)" } ?? ""
    switch text.prefix(while: { $0 != " " }) {
    case "NOAUTH", "WRONGPASS":
      return unauthorized(text, place)
    case "ERR" where text.contains("AUTH"):
      return unauthorized(text, place)
    case "NOPERM":
      return PlatformError(
        .invalidConfiguration,
        "Redis\(place) does not let this user run a command that is needed (\(text)); extend its ACL"
      )
    case "OOM":
      return PlatformError(
        .unavailable,
        "Redis\(place) is out of memory and takes no writes; raise maxmemory or shorten windows and ttls, then the writes go on by themselves",
        retryAfter: .seconds(5))
    case "LOADING", "BUSY", "MASTERDOWN", "TRYAGAIN", "CLUSTERDOWN", "READONLY", "NOREPLICAS",
      "MISCONF", "MOVED", "ASK", "UNBLOCKED":
      return PlatformError(
        .unavailable, "Redis\(place) cannot serve this now (\(text)); the call may be repeated",
        retryAfter: .milliseconds(500))
    default:
      return PlatformError(.storage, "Redis\(place) refused a command: \(text)")
    }
  }

  private static func unauthorized(_ text: String, _ place: String) -> PlatformError {
    PlatformError(
      .invalidConfiguration,
      "Redis\(place) refused the user or password (\(text)); correct redis.username and the secret that holds redis.password"
    )
  }

  static func foreign(_ what: String, key: [UInt8]) -> PlatformError {
    PlatformError(
      .storage,
      "the key '\(String(decoding: key, as: UTF8.self))' of the online store holds \(what); it was changed by another program or another version: rebuild the online store from the warehouse",
      context: ["key": String(decoding: key, as: UTF8.self)])
  }

  static func isForeign(_ error: PlatformError) -> Bool {
    error.code == .storage && error.context["key"] != nil
  }
}

extension RESPValue {
  /// The reply itself, unless it is an error.
  func unlessError(from address: RedisAddress? = nil) throws -> RESPValue {
    if case .error(let text) = self { throw RedisFault.refused(text, by: address) }
    return self
  }

  /// The reply about a key that this store keeps as a hash: `isForeign` where another program has put something else there.
  func unlessForeign(key: [UInt8]) throws -> RESPValue {
    if isError("WRONGTYPE") { throw RedisFault.foreign("something that is no hash", key: key) }
    return try unlessError()
  }
}
