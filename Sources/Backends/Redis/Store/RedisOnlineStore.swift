import Core
import Logging
import NIOCore
import NIOPosix
import Synchronization

/// The online store on Redis: a single server, one that Sentinels watch, or a Cluster; shared by any number of processes.
///
/// Guarantees: those of `PositionedOnlineStore`. An entity key is one hash, replaced as a whole by a script inside the server and only
/// while it is still what the writer had read; who loses reads again. Reads fail at once with a retryable error while the server is
/// away; writes wait for it as long as the configuration says, and then fail with one. A write that failed may
/// be there in part: with a stream it is repeated safely at any time and by any process, without one only by the same call
/// on the same store.
package final class RedisOnlineStore: RepairableOnlineStore {
  let configuration: RedisConfiguration
  let router: any RedisRouter
  let keys: RedisKeys
  let clock: any Clock<Duration>
  let logger: Logger
  let connections = ConnectionCount()
  /// Of this process's writes that belong to no stream.
  private let writer = UInt64.random(in: .min ... .max)
  private let state = Mutex(State())

  private struct State {
    var views: [String: RedisView] = [:]
    /// By view, the step that was begun last and what it wrote, where it failed.
    var steps: [String: (step: Int64, failed: Int?)] = [:]
    /// By view and stream, what the server has acknowledged.
    var acknowledged: [String: [String: Int64]] = [:]
    /// Views of which the server lacks something that it had acknowledged.
    var lost: Set<String> = []
  }

  /// The name that a stream of this process's warehouse has among those of others.
  private func ours(_ stream: String) -> String {
    configuration.warehouse.isEmpty ? stream : "\(stream)@\(configuration.warehouse)"
  }

  /// Connects when it is first used.
  package init(
    _ configuration: RedisConfiguration,
    group: any EventLoopGroup = MultiThreadedEventLoopGroup.singleton,
    clock: any Clock<Duration> = ContinuousClock(), logger: Logger
  ) throws {
    try configuration.validate()
    self.configuration = configuration
    self.clock = clock
    self.logger = logger
    keys = RedisKeys(project: configuration.project, isCluster: configuration.mode == .cluster)
    router = try RedisRouting.router(
      configuration, group: group, clock: clock, connections: connections, logger: logger)
  }

  /// Closes every connection; calls that wait fail, and so do later ones.
  package func close() { router.close() }

  /// Answers when every server that has keys does, for health checks; throws what a read would throw.
  package func check() async throws {
    for node in try await router.masters() {
      _ = try await node.send([RedisRequest("PING")], lane: .reads)[0].unlessError(
        from: node.address)
    }
  }

  // MARK: Views

  package func prepare(_ layout: ViewLayout) async throws -> Bool {
    let isLost = state.withLock { $0.lost.contains(layout.view) }
    let view = RedisView(layout, keys: keys, configuration: configuration, isLost: isLost)
    let token = String(UInt64.random(in: .min ... .max), radix: 36)
    let isEmptied = try await patiently("prepare view '\(layout.view)'") {
      try await self.register(view, token: token)
    }
    state.withLock { state in
      state.views[layout.view] = view
      if isEmptied { state.acknowledged[layout.view] = nil }
    }
    return isEmptied
  }

  package func empty(_ layout: ViewLayout) async throws {
    try await patiently("empty view '\(layout.view)'") { try await self.forget(layout.view) }
    _ = try await prepare(layout)
  }

  package func drop(view: String) async throws {
    state.withLock { state in
      state.views[view] = nil
      state.acknowledged[view] = nil
    }
    try await patiently("drop view '\(view)'") { try await self.unregister(view) }
  }

  package func counts() async throws -> [String: Int] {
    let views = state.withLock { $0.views.keys.map { $0 } }
    return try await count(views)
  }

  func view(_ name: String) throws -> RedisView {
    let (view, isHidden) = state.withLock { ($0.views[name], $0.lost.contains(name)) }
    if let view { return view }
    if isHidden {
      throw PlatformError(
        .unavailable, "Redis was not reached yet; view '\(name)' can be read when it is there",
        retryAfter: .seconds(1))
    }
    throw PlatformError(
      .failedPrecondition,
      "the online store has no view '\(name)': apply the definitions, or repeat the read if they just changed"
    )
  }

  // MARK: Losses

  var allViews: [RedisView] { state.withLock { Array($0.views.values) } }

  func acknowledged(of view: String) -> [String: Int64] {
    state.withLock { $0.acknowledged[view] ?? [:] }
  }

  /// Notes that the server lacks something of a view.
  func lose(_ view: RedisView) {
    let name = view.layout.view
    state.withLock { state in
      state.acknowledged[name] = nil
      state.lost.insert(name)
      state.views[name]?.isLost.store(true, ordering: .releasing)
    }
    view.isLost.store(true, ordering: .releasing)
    // What it remembers of keys is not what the server has; the next write finds that out by itself.
  }

  package func hide(view name: String) {
    state.withLock { state in
      state.lost.insert(name)
      state.views[name]?.isLost.store(true, ordering: .releasing)
    }
  }

  package func restored(view name: String) {
    state.withLock { state in
      state.lost.remove(name)
      state.views[name]?.isLost.store(false, ordering: .releasing)
    }
  }

  // MARK: Reading

  package func read(view name: String, keys wanted: [EntityKey]) async throws -> [EntityState?] {
    var states: [EntityState?] = []
    states.reserveCapacity(wanted.count)
    try await read([OnlineRead(view: name, keys: wanted)]) { states.append($2) }
    return states
  }

  package func read(
    _ reads: [OnlineRead], _ take: (_ read: Int, _ key: Int, EntityState?) throws -> Void
  ) async throws {
    let views = try reads.map { try view($0.view) }
    var requests: [RedisRequest] = []
    requests.reserveCapacity(reads.reduce(0) { $0 + $1.keys.count })
    for (view, read) in zip(views, reads) {
      for key in read.keys {
        let name = keys.entity(key, prefix: view.prefix, types: view.layout.keyTypes)
        requests.append(RedisRequest([KeyBatch.get, name, RedisKeys.state], key: name))
      }
    }
    if requests.isEmpty { return }
    let replies = try await intact(views) {
      try await self.router.send(requests, lane: .reads)
    }
    var next = 0
    for (number, view) in views.enumerated() {
      for key in reads[number].keys.indices {
        let state = try state(replies[next], of: view, key: requests[next].key ?? [])
        next += 1
        try take(number, key, state)
      }
    }
  }

  private func state(
    _ reply: RESPValue, of view: RedisView, key: [UInt8]
  ) throws -> EntityState? {
    switch try reply.unlessForeign(key: key) {
    case .null: nil
    case .bulk(let bytes):
      try StoredState.state(in: bytes, layout: view.layout, blank: view.blank, key: key)
    default: throw RedisFault.foreign("something that is no state", key: key)
    }
  }

  // MARK: Writing

  package func apply(_ writes: [OnlineWrite], now: Timestamp) async throws {
    for write in writes {
      let view = try checkedView(of: write)
      if write.keys.isEmpty { continue }
      try await view.gate.pass {
        let step = begin(write)
        let origin = WriteOrigin(number: writer, order: .writer(step: step))
        do {
          try await apply(write, to: view, origin: origin, now: now)
        } catch {
          state.withLock { $0.steps[write.view] = (step, RedisOnlineStore.mark(of: write)) }
          throw error
        }
      }
    }
  }

  /// The step of a write; that of the last one, where it failed and is repeated.
  private func begin(_ write: OnlineWrite) -> Int64 {
    state.withLock { state in
      let last = state.steps[write.view] ?? (0, nil)
      let isRepeated = last.failed == RedisOnlineStore.mark(of: write)
      let step = isRepeated ? last.step : last.step + 1
      state.steps[write.view] = (step, nil)
      return step
    }
  }

  /// Tells a write from another one of this process.
  private static func mark(of write: OnlineWrite) -> Int {
    var hasher = Hasher()
    hasher.combine(write.sequences)
    hasher.combine(write.eventTimestamps)
    hasher.combine(write.createdAt)
    hasher.combine(write.keys)
    return hasher.finalize()
  }

  package func apply(_ writes: [OnlineWrite], now: Timestamp, stream: String) async throws {
    let ours = ours(stream)
    for write in writes {
      let view = try checkedView(of: write)
      guard let last = write.sequences.max() else { continue }
      try await view.gate.pass {
        let completed = try await completed(view, stream: ours)
        guard completed < last else { return }
        do {
          try await apply(
            write, to: view, origin: .stream(ours, completed: completed), now: now)
        } catch let error as PlatformError where RedisFault.isForeign(error) {
          try await forfeit(view)
          throw PlatformError(.failedPrecondition, error.message)
        }
        try await complete(view: write.view, stream: stream, through: last)
      }
    }
  }

  package func remove(view name: String, keys forgotten: [EntityKey]) async throws {
    let view = try view(name)
    if forgotten.isEmpty { return }
    let names = forgotten.map { keys.entity($0, prefix: view.prefix, types: view.layout.keyTypes) }
    let requests = names.map { RedisRequest([Array("UNLINK".utf8), $0], key: $0) }
    // What another process is about to write of these keys it made from states that are gone: it reads again.
    try await view.gate.pass {
      view.cache.withLock { cache in
        for key in forgotten { _ = cache.take(key) }
      }
      try await patiently("forget keys of view '\(name)'") {
        for reply in try await self.router.send(requests, lane: .writes) {
          _ = try reply.unlessError()
        }
      }
    }
  }

  private func checkedView(of write: OnlineWrite) throws -> RedisView {
    let view = try view(write.view)
    guard write.latest.count == view.layout.latestColumns.count,
      write.slots.count == view.layout.slots.count,
      write.sketches.count == view.layout.sketches.count
    else {
      throw PlatformError(
        .internalError, "a write to view '\(write.view)' was made for another layout of the view")
    }
    return view
  }

  // MARK: Positions

  package func positions(of view: String) async throws -> [String: Int64] {
    let key = keys.positions(of: view)
    let reply = try await patiently("read the positions of view '\(view)'") {
      try await self.ask(RedisRequest([Array("HGETALL".utf8), key], key: key))
    }
    var positions: [String: Int64] = [:]
    let parts = reply.array ?? []
    for index in stride(from: 0, to: parts.count - 1, by: 2) {
      guard let stream = parts[index].text, let last = parts[index + 1].text.flatMap({ Int64($0) })
      else { throw RedisFault.foreign("something that is no position", key: key) }
      positions[stream] = last
    }
    // Whoever goes on from here must notice when the server goes back behind it.
    state.withLock { state in
      state.acknowledged[view, default: [:]].merge(positions) { max($0, $1) }
    }
    return ownPositions(positions, of: view)
  }

  package func otherWarehouses(of view: String) async throws -> [String] {
    let key = keys.positions(of: view)
    let reply = try await patiently("read who fills view '\(view)'") {
      try await self.ask(RedisRequest([Array("HKEYS".utf8), key], key: key))
    }
    let names = (reply.array ?? []).compactMap { $0.text?.split(separator: "@").dropFirst().last }
    return Set(names.map(String.init)).subtracting([configuration.warehouse]).sorted()
  }

  /// The positions of this process's warehouse; before the first one where only others have theirs in the view.
  private func ownPositions(_ all: [String: Int64], of view: String) -> [String: Int64] {
    guard !configuration.warehouse.isEmpty else { return all }
    let mark = "@\(configuration.warehouse)"
    var own: [String: Int64] = [:]
    for (stream, last) in all where stream.hasSuffix(mark) {
      own[String(stream.dropLast(mark.count))] = last
    }
    let isShared = all.keys.contains { $0.contains("@") && !$0.hasSuffix(mark) }
    if isShared, let source = state.withLock({ $0.views[view] })?.layout.source,
      own[source] == nil
    {
      own[source] = .min
    }
    return own
  }

  package func complete(view: String, stream: String, through sequence: Int64) async throws {
    // Before the first event there is nothing to note.
    guard sequence >= 0 else { return }
    let key = keys.positions(of: view)
    let stream = ours(stream)
    try await patiently("note the position of view '\(view)'") {
      _ = try await self.run(
        .raise, [(keys: [key], arguments: [Array(stream.utf8), Array(String(sequence).utf8)])])
    }
    state.withLock { state in
      let known = state.acknowledged[view]?[stream] ?? .min
      state.acknowledged[view, default: [:]][stream] = max(known, sequence)
    }
  }

  /// Up to where the view is complete, after a look whether the server still has what it had acknowledged.
  private func completed(_ view: RedisView, stream: String) async throws -> Int64 {
    let name = view.layout.view
    let positions = keys.positions(of: name)
    let replies = try await patiently("read the position of view '\(name)'") {
      try await self.router.send(
        [
          RedisRequest(
            [Array("HGET".utf8), self.keys.views, Array(name.utf8)], key: self.keys.views),
          RedisRequest([Array("HGET".utf8), positions, Array(stream.utf8)], key: positions),
        ], lane: .writes
      ).map { try $0.unlessError() }
    }
    let entry = replies[0].text.flatMap(RegistryEntry.init)
    let stored = replies[1].text.flatMap { Int64($0) } ?? .min
    let known = state.withLock { $0.acknowledged[name]?[stream] } ?? .min
    guard let entry, entry.digest == view.layout.stateDigest, stored >= known else {
      lose(view)
      throw PlatformError(
        .failedPrecondition,
        "Redis has lost events of view '\(name)' that it had acknowledged (it was emptied, or went back to an older copy): prepare the view and fill it from the warehouse again",
        context: [
          "view": name, "stream": stream, "position": stored == .min ? "none" : "\(stored)",
        ])
    }
    return stored
  }
}
