import Core

/// What is said on a new connection before anything else, and whether the answers are good.
package struct Handshake: Sendable {
  private enum Step {
    case authenticate, select, ping, role
  }

  private let steps: [Step]
  package let requests: [RedisRequest]

  /// - Parameter needsMaster: a replica is refused, as after a failover that others saw first.
  package init(username: String?, password: String?, database: Int, needsMaster: Bool) {
    var steps: [Step] = []
    var requests: [RedisRequest] = []
    if let password {
      steps.append(.authenticate)
      requests.append(
        RedisRequest((["AUTH"] + (username.map { [$0] } ?? []) + [password]).map { Array($0.utf8) })
      )
    }
    if database != 0 {
      steps.append(.select)
      requests.append(RedisRequest("SELECT", String(database)))
    }
    // Tells a server that wants a password, or is still loading, from one that is ready.
    steps.append(.ping)
    requests.append(RedisRequest("PING"))
    if needsMaster {
      steps.append(.role)
      requests.append(RedisRequest("ROLE"))
    }
    self.steps = steps
    self.requests = requests
  }

  /// Why the connection cannot be used; nil where it can.
  package func fault(in replies: [RESPValue], from address: RedisAddress) -> PlatformError? {
    for (step, reply) in zip(steps, replies) {
      if case .error(let text) = reply {
        return step == .select
          ? PlatformError(
            .invalidConfiguration,
            "Redis at \(address) has no such database (\(text)); correct redis.database")
          : RedisFault.refused(text, by: address)
      }
      if step == .role, reply.array?.first?.text != "master" {
        return RedisFault.away(address, "is not the master any more")
      }
    }
    return nil
  }
}
