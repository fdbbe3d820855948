import Core
import Logging
import NIOCore
import Synchronization

/// The master that Sentinels name, followed through failovers.
final class SentinelRouter: RedisRouter {
  private struct State {
    var discovery: SentinelDiscovery
    var node: RedisNode?
    var random = SystemRandomNumberGenerator()
    var isStopped = false
  }

  private let masterName: String
  private let sentinels: RedisNodeFactory
  private let servers: RedisNodeFactory
  private let logger: Logger
  private let state: Mutex<State>
  private let attempt = SharedAttempt<RedisNode>()

  init(
    masterName: String, addresses: [RedisAddress], sentinels: RedisNodeFactory,
    servers: RedisNodeFactory, logger: Logger
  ) {
    self.masterName = masterName
    self.sentinels = sentinels
    self.servers = servers
    self.logger = logger
    state = Mutex(State(discovery: SentinelDiscovery(sentinels: addresses)))
  }

  func send(_ requests: [RedisRequest], lane: RedisLane) async throws -> [RESPValue] {
    let node = try await master()
    do {
      let replies = try await node.send(requests, lane: lane)
      // A master that was made a replica while we were connected.
      if replies.contains(where: { $0.isError("READONLY") }) {
        throw RedisFault.away(node.address, "is not the master any more")
      }
      return replies
    } catch let error as PlatformError where error.code == .unavailable {
      // The Sentinels are asked again before the next command.
      forget(node)
      throw error
    }
  }

  func masters() async throws -> [RedisNode] { [try await master()] }

  func close() {
    let node = state.withLock { state in
      state.isStopped = true
      return state.node
    }
    node?.close()
  }

  private func forget(_ node: RedisNode) {
    let isForgotten = state.withLock { state in
      guard state.node === node else { return false }
      state.discovery.lost(node.address)
      state.node = nil
      return true
    }
    if isForgotten { node.close() }
  }

  private func master() async throws -> RedisNode {
    if let node = state.withLock({ $0.node }) { return node }
    do {
      return try await attempt.run { try await discover() }
    } catch is SharedAttemptMissed {
      return try await master()
    }
  }

  private func discover() async throws -> RedisNode {
    let now = RedisLink.now
    let (known, discovery, isStopped) = state.withLock { ($0.node, $0.discovery, $0.isStopped) }
    if let known { return known }
    if isStopped { throw RedisFault.stopped() }
    if now < discovery.notBefore {
      throw RedisFault.noMaster(
        "no Sentinel named a usable master '\(masterName)'",
        retryAfter: Span(microseconds: discovery.notBefore - now))
    }
    var lastError: (any Error)?
    for address in discovery.sentinels {
      do {
        guard let node = try await ask(address) else { continue }
        state.withLock { state in
          state.discovery.found(node.address, by: address)
          state.node = node
        }
        logger.info(
          "following a Redis master",
          metadata: ["redis": "\(node.address)", "name": "\(masterName)"])
        return node
      } catch {
        lastError = error
      }
    }
    let backoff = servers.settings.backoff
    let wait = state.withLock { state in
      state.discovery.failed(now: RedisLink.now, backoff: backoff, using: &state.random)
      return Span(microseconds: max(1, state.discovery.notBefore - RedisLink.now))
    }
    if let error = lastError as? PlatformError, !error.retryable { throw error }
    throw RedisFault.noMaster(
      "no Sentinel of \(discovery.sentinels.count) named a usable master '\(masterName)'",
      retryAfter: wait, cause: lastError)
  }

  /// A connected master; nil where this Sentinel knows none of the name.
  private func ask(_ sentinel: RedisAddress) async throws -> RedisNode? {
    let node = sentinels.node(sentinel)
    defer { node.close() }
    let question = SentinelDiscovery.question(master: masterName)
    let reply = try await node.send([question], lane: .reads)[0].unlessError(from: sentinel)
    guard let address = SentinelDiscovery.answer(reply) else { return nil }
    let master = servers.node(address)
    do {
      _ = try await master.send([RedisRequest("PING")], lane: .reads)
      return master
    } catch {
      master.close()
      throw error
    }
  }
}
