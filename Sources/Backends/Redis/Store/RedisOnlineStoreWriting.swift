import Core
import NIOCore

extension RedisOnlineStore {
  /// Keys that are read, merged and written in one go, and how many of these goes are under way at once.
  private static let batchKeys = 256
  private static let batchesAtOnce = 4
  /// Keys that one run of the script replaces; the server serves nobody else meanwhile.
  private static let scriptKeys = 16

  /// Brings a write into the states of its keys; returns when every key has it.
  func apply(
    _ write: OnlineWrite, to view: RedisView, origin: WriteOrigin, now: Timestamp
  ) async throws {
    let batches = KeyBatch.batches(
      of: write, view, keys: keys, size: RedisOnlineStore.batchKeys)
    if batches.count == 1 {
      return try await apply(batches[0], of: write, to: view, origin: origin, now: now)
    }
    try await withThrowingTaskGroup(of: Void.self) { tasks in
      for (index, batch) in batches.enumerated() {
        if index >= RedisOnlineStore.batchesAtOnce { try await tasks.next() }
        tasks.addTask {
          try await self.apply(batch, of: write, to: view, origin: origin, now: now)
        }
      }
      try await tasks.waitForAll()
    }
  }

  /// Reads, merges and replaces until no key is left that somebody else had changed in between.
  private func apply(
    _ batch: KeyBatch, of write: OnlineWrite, to view: RedisView, origin: WriteOrigin,
    now: Timestamp
  ) async throws {
    var left = batch
    var patience = Patience(self, "write \(batch.entries.count) keys of view '\(write.view)'")
    while !left.entries.isEmpty {
      do {
        let before = left.entries.count
        left = try await attempt(left, of: write, to: view, origin: origin, now: now)
        if !left.entries.isEmpty {
          try await patience.conflict(isProgress: left.entries.count < before)
        }
      } catch {
        // What arrived all the same is seen by its marks when the states are read again.
        try await patience.wait(after: error)
      }
    }
  }

  /// - Returns: the keys that have to be tried again.
  private func attempt(
    _ batch: KeyBatch, of write: OnlineWrite, to view: RedisView, origin: WriteOrigin,
    now: Timestamp
  ) async throws -> KeyBatch {
    let stored = try await states(of: batch, view)
    var random = SystemRandomNumberGenerator()
    let replacements = try batch.merged(
      write, into: stored, of: view, origin: origin, now: now, random: &random)
    let groups = scriptGroups(replacements)
    let replies = try await run(
      .replace,
      groups.map { group in (group.map(\.name), group.flatMap(\.arguments)) })
    var lost: [Int] = []
    var written: [KeyReplacement] = []
    for (group, reply) in zip(groups, replies) {
      guard let results = reply.array, results.count == group.count else {
        throw PlatformError(
          .storage, "Redis answered a script with something else than its results")
      }
      for (replacement, result) in zip(group, results) {
        if result.integer == 1 {
          written.append(replacement)
        } else {
          lost.append(replacement.entry)
        }
      }
    }
    view.cache.withLock { cache in
      for one in written {
        cache.put(one.new, for: batch.entries[one.entry].key, bytes: one.bytes)
      }
    }
    return KeyBatch(entries: lost.map { batch.entries[$0] })
  }

  /// What this process wrote last, and of other keys what the server has.
  private func states(of batch: KeyBatch, _ view: RedisView) async throws -> [KnownState] {
    let cached = view.cache.withLock { cache in batch.entries.map { cache.take($0.key) } }
    let missing = cached.indices.filter { cached[$0] == nil }
    let replies =
      missing.isEmpty ? [] : try await router.send(batch.requests(missing), lane: .writes)
    var next = replies.makeIterator()
    return cached.map { state in
      state.map { .cached($0) } ?? .read(next.next() ?? .null)
    }
  }

  /// The keys of one run of a script; in a Cluster they have to be of one slot.
  private func scriptGroups(_ replacements: [KeyReplacement]) -> [[KeyReplacement]] {
    guard keys.isCluster else {
      return stride(from: 0, to: replacements.count, by: RedisOnlineStore.scriptKeys).map {
        Array(replacements[$0..<min($0 + RedisOnlineStore.scriptKeys, replacements.count)])
      }
    }
    return Array(Dictionary(grouping: replacements) { ClusterSlots.slot(of: $0.name) }.values)
  }

  /// Runs a script once for each of `calls`; a server that does not know it is given its text.
  func run(
    _ script: RedisScript, _ calls: [(keys: [[UInt8]], arguments: [[UInt8]])]
  ) async throws -> [RESPValue] {
    if calls.isEmpty { return [] }
    var replies = try await router.send(
      calls.map { script.call(keys: $0.keys, $0.arguments) }, lane: .writes)
    let unknown = replies.indices.filter { replies[$0].isError("NOSCRIPT") }
    if !unknown.isEmpty {
      let again = try await router.send(
        unknown.map { script.call(keys: calls[$0].keys, calls[$0].arguments, isWhole: true) },
        lane: .writes)
      for (index, reply) in zip(unknown, again) { replies[index] = reply }
    }
    return try zip(replies, calls).map { try $0.unlessForeign(key: $1.keys.first ?? []) }
  }

  /// One command and its reply.
  func ask(_ request: RedisRequest) async throws -> RESPValue {
    try await router.send([request], lane: .writes)[0].unlessError()
  }

  /// Repeats what fails with a retryable error until it succeeds or the configured patience is over.
  func patiently<Result: Sendable>(
    _ what: String, _ work: @Sendable () async throws -> Result
  ) async throws -> Result {
    var patience = Patience(self, what)
    while true {
      do {
        return try await work()
      } catch {
        try await patience.wait(after: error)
      }
    }
  }
}

/// How long one piece of work still goes on trying.
struct Patience {
  private let what: String
  private let store: RedisOnlineStore
  private let end: Int64
  private let backoff: Backoff
  private var failures = 0
  private var conflicts = 0
  private var random = SystemRandomNumberGenerator()

  init(_ store: RedisOnlineStore, _ what: String) {
    self.what = what
    self.store = store
    end = RedisLink.now + store.configuration.writePatience.microseconds
    backoff = store.configuration.backoff
  }

  /// Waits before the next attempt, or throws when it is not worth it.
  mutating func wait(after error: any Error) async throws {
    guard let error = error as? PlatformError, error.retryable else { throw error }
    let delay = max(
      backoff.delay(after: failures, using: &random),
      min(error.retryAfter ?? .milliseconds(0), backoff.longest))
    failures += 1
    try await pause(delay, error)
  }

  /// Waits a little after others changed the same keys; not at all where some keys got through.
  mutating func conflict(isProgress: Bool) async throws {
    if isProgress { return }
    conflicts += 1
    let bound = Int64(1_000) << Int64(min(conflicts, 6))
    try await pause(
      Span(microseconds: Int64.random(in: 0...bound, using: &random)),
      PlatformError(
        .overloaded, "too many processes write the same keys of the online store at once",
        retryAfter: .seconds(1)))
  }

  private func pause(_ delay: Span, _ error: PlatformError) async throws {
    guard RedisLink.now + delay.microseconds < end else {
      throw PlatformError(
        error.code == .deadlineExceeded ? .unavailable : error.code,
        "gave up after \(store.configuration.writePatience) to \(what): \(error.message)",
        cause: error.cause.map { Cause($0) }, context: error.context,
        retryAfter: error.retryAfter ?? .seconds(1))
    }
    try await store.clock.sleep(for: delay.duration)
  }

  private struct Cause: Error, CustomStringConvertible {
    var description: String
    init(_ description: String) { self.description = description }
  }
}
