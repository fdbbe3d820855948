import Core
import Logging
import NIOCore

/// Which of a server's connections a command takes: a read never stands behind a batch of writes.
enum RedisLane: Sendable {
  case reads
  case writes
}

/// A server, with one connection a lane.
final class RedisNode: Sendable {
  let address: RedisAddress
  private let reads: RedisLink
  private let writes: RedisLink
  private let largestCall: Int

  init(
    address: RedisAddress, settings: LinkSettings, group: any EventLoopGroup, logger: Logger
  ) {
    self.address = address
    largestCall = settings.inFlight
    reads = RedisLink(address: address, settings: settings, loop: group.next(), logger: logger)
    writes = RedisLink(address: address, settings: settings, loop: group.next(), logger: logger)
  }

  /// The replies in order. More commands than may be in flight go out part by part.
  func send(_ requests: [RedisRequest], lane: RedisLane) async throws -> [RESPValue] {
    let link = lane == .reads ? reads : writes
    if requests.count <= largestCall { return try await link.send(requests) }
    var replies: [RESPValue] = []
    replies.reserveCapacity(requests.count)
    for start in stride(from: 0, to: requests.count, by: largestCall) {
      let end = min(start + largestCall, requests.count)
      replies += try await link.send(Array(requests[start..<end]))
    }
    return replies
  }

  func close() {
    reads.close()
    writes.close()
  }
}

/// Makes nodes with the settings that all of them share.
struct RedisNodeFactory: Sendable {
  let settings: LinkSettings
  let group: any EventLoopGroup
  let logger: Logger

  func node(_ address: RedisAddress) -> RedisNode {
    RedisNode(address: address, settings: settings, group: group, logger: logger)
  }
}

/// Finds the server for each command.
protocol RedisRouter: Sendable {
  /// The replies in order; errors of a server are replies, unless they are about where to go.
  func send(_ requests: [RedisRequest], lane: RedisLane) async throws -> [RESPValue]
  /// Every server that has keys of its own.
  func masters() async throws -> [RedisNode]
  func close()
}

/// One server at a fixed address.
struct SingleRouter: RedisRouter {
  let node: RedisNode

  func send(_ requests: [RedisRequest], lane: RedisLane) async throws -> [RESPValue] {
    try await node.send(requests, lane: lane)
  }

  func masters() async throws -> [RedisNode] { [node] }
  func close() { node.close() }
}
