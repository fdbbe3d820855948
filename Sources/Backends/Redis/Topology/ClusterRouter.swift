import Core
import Logging
import NIOCore
import Synchronization

/// A Cluster: each command goes to the owner of its key's slot, and after it when the slot moves.
final class ClusterRouter: RedisRouter {
  private struct State {
    var table = SlotTable()
    var nodes: [RedisAddress: RedisNode] = [:]
    var isKnown = false
    var isStopped = false
    var random = SystemRandomNumberGenerator()
  }

  /// Where a command goes next.
  private struct Target: Hashable {
    var address: RedisAddress
    var isAsking = false
  }

  /// How often one call follows slots and nodes that change.
  private static let rounds = 12
  /// How often one call waits for a node that says it cannot serve just now.
  private static let waits = 3

  private let seeds: [RedisAddress]
  private let servers: RedisNodeFactory
  private let logger: Logger
  private let clock: any Clock<Duration>
  private let state = Mutex(State())
  private let attempt = SharedAttempt<SlotTable>()

  init(
    seeds: [RedisAddress], servers: RedisNodeFactory, clock: any Clock<Duration>, logger: Logger
  ) {
    self.seeds = seeds
    self.servers = servers
    self.clock = clock
    self.logger = logger
  }

  func masters() async throws -> [RedisNode] {
    try await refresh().masters.map { try node($0) }
  }

  func close() {
    let nodes = state.withLock { state in
      state.isStopped = true
      return Array(state.nodes.values)
    }
    for node in nodes { node.close() }
  }

  // MARK: Sending

  func send(_ requests: [RedisRequest], lane: RedisLane) async throws -> [RESPValue] {
    var call = ClusterCall(requests)
    for round in 0..<ClusterRouter.rounds {
      let groups = try await targets(of: call)
      let outcomes = await send(groups, of: call, lane: lane)
      var isStale = false
      call.mustWait = false
      for outcome in outcomes {
        switch outcome.result {
        case .success(let replies):
          isStale = note(replies, outcome.group, in: &call) || isStale
        case .failure(let error):
          // Its slots may have a new owner by now.
          guard (error as? PlatformError)?.retryable == true else { throw error }
          isStale = true
          call.lastError = error
          call.failures[outcome.group.target.address, default: 0] += 1
        }
      }
      call.settle()
      if call.pending.isEmpty { return call.replies.map { $0 ?? .null } }
      if isStale { _ = try? await refresh() }
      if let error = call.lastError, stays(call) { throw error }
      if call.mustWait {
        call.waits += 1
        try await clock.sleep(for: delay(after: round).duration)
      }
    }
    throw call.lastError
      ?? RedisFault.noMaster(
        "the Redis Cluster has moved or has lost slots of these keys",
        retryAfter: .milliseconds(500))
  }

  private func delay(after round: Int) -> Span {
    let backoff = servers.settings.backoff
    return state.withLock { backoff.delay(after: round, using: &$0.random) }
  }

  /// Whether a node that failed twice is still the owner of what is to be sent.
  private func stays(_ call: ClusterCall) -> Bool {
    let table = state.withLock { $0.table }
    return call.pending.contains { index in
      guard let owner = table.owner(of: call.slots[index]) else { return true }
      return call.failures[owner, default: 0] > 1
    }
  }

  private struct Group: Sendable {
    var target: Target
    var indices: [Int]
  }

  private struct Outcome: Sendable {
    var group: Group
    var result: Result<[RESPValue], any Error>
  }

  private func targets(of call: ClusterCall) async throws -> [Group] {
    var table = state.withLock { $0.isKnown ? $0.table : nil }
    if table == nil { table = try await refresh() }
    guard let table, let any = table.masters.first else {
      throw RedisFault.noMaster(
        "the Redis Cluster has no slots: create it with `redis-cli --cluster create`",
        retryAfter: .seconds(1))
    }
    var groups: [Target: [Int]] = [:]
    for index in call.pending {
      if let asked = call.asks[index] {
        groups[Target(address: asked, isAsking: true), default: []].append(index)
        continue
      }
      guard call.requests[index].key != nil else {
        groups[Target(address: any), default: []].append(index)
        continue
      }
      guard let owner = table.owner(of: call.slots[index]) else {
        state.withLock { $0.isKnown = false }
        throw RedisFault.noMaster(
          "nobody in the Redis Cluster has slot \(call.slots[index])",
          retryAfter: .milliseconds(500))
      }
      groups[Target(address: owner), default: []].append(index)
    }
    return groups.map { Group(target: $0.key, indices: $0.value) }
  }

  private func send(
    _ groups: [Group], of call: ClusterCall, lane: RedisLane
  ) async -> [Outcome] {
    if groups.count == 1 { return [await send(groups[0], of: call, lane: lane)] }
    return await withTaskGroup(of: Outcome.self) { tasks in
      for group in groups { tasks.addTask { await self.send(group, of: call, lane: lane) } }
      return await tasks.reduce(into: []) { $0.append($1) }
    }
  }

  private func send(_ group: Group, of call: ClusterCall, lane: RedisLane) async -> Outcome {
    var requests: [RedisRequest] = []
    for index in group.indices {
      if group.target.isAsking { requests.append(RedisRequest("ASKING")) }
      requests.append(call.requests[index])
    }
    do {
      var replies = try await node(group.target.address).send(requests, lane: lane)
      if group.target.isAsking {
        replies = replies.enumerated().filter { $0.offset % 2 == 1 }.map(\.element)
      }
      return Outcome(group: group, result: .success(replies))
    } catch {
      return Outcome(group: group, result: .failure(error))
    }
  }

  /// True where the table of slots is out of date.
  private func note(_ replies: [RESPValue], _ group: Group, in call: inout ClusterCall) -> Bool {
    var isStale = false
    for (index, reply) in zip(group.indices, replies) {
      call.asks[index] = nil
      switch ClusterRedirect(reply, from: group.target.address) {
      case nil: call.answered(index, reply)
      case .later:
        isStale = true
        if call.waits < ClusterRouter.waits {
          call.mustWait = true
        } else {
          call.answered(index, reply)
        }
      case .ask(let address): call.asks[index] = address
      case .moved(let slot, let address):
        state.withLock { $0.table.assign(slot, to: address) }
        isStale = true
      }
    }
    return isStale
  }

  // MARK: The table of slots

  private func node(_ address: RedisAddress) throws -> RedisNode {
    try state.withLock { state in
      if state.isStopped { throw RedisFault.stopped() }
      if let node = state.nodes[address] { return node }
      let node = servers.node(address)
      state.nodes[address] = node
      return node
    }
  }

  private func refresh() async throws -> SlotTable {
    do {
      return try await attempt.run { try await askForTable() }
    } catch is SharedAttemptMissed {
      return state.withLock { $0.table }
    }
  }

  private func askForTable() async throws -> SlotTable {
    let known = state.withLock { $0.table.masters }
    var lastError: (any Error)?
    for address in known + seeds.filter({ !known.contains($0) }) {
      do {
        let reply = try await node(address).send(
          [RedisRequest("CLUSTER", "SLOTS")], lane: .reads)[0].unlessError(from: address)
        guard let table = SlotTable(reply, from: address), !table.masters.isEmpty else { continue }
        adopt(table)
        return table
      } catch {
        if let error = error as? PlatformError, !error.retryable { throw error }
        lastError = error
      }
    }
    throw lastError
      ?? RedisFault.noMaster(
        "no node of the Redis Cluster knows who has which slot", retryAfter: .milliseconds(500))
  }

  private func adopt(_ table: SlotTable) {
    let gone = state.withLock { state in
      state.table = table
      state.isKnown = true
      // Seeds stay, as those who are asked when all masters have gone.
      let kept = Set(table.masters + seeds)
      let gone = state.nodes.filter { !kept.contains($0.key) }
      for address in gone.keys { state.nodes[address] = nil }
      return Array(gone.values)
    }
    for node in gone { node.close() }
  }
}

/// Some commands on their way through a Cluster.
private struct ClusterCall: Sendable {
  let requests: [RedisRequest]
  let slots: [UInt16]
  /// Positions of the commands without a reply.
  private(set) var pending: [Int]
  private(set) var replies: [RESPValue?]
  /// Where a command is to be asked once, by position.
  var asks: [Int: RedisAddress] = [:]
  var failures: [RedisAddress: Int] = [:]
  var lastError: (any Error)?
  var mustWait = false
  var waits = 0

  init(_ requests: [RedisRequest]) {
    self.requests = requests
    slots = requests.map { $0.key.map(ClusterSlots.slot) ?? 0 }
    pending = Array(requests.indices)
    replies = Array(repeating: nil, count: requests.count)
  }

  mutating func answered(_ index: Int, _ reply: RESPValue) { replies[index] = reply }

  /// Leaves out what was answered.
  mutating func settle() { pending = pending.filter { replies[$0] == nil } }
}
