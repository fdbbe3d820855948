import Core
import Foundation
import Logging
import NIOCore
import NIOPosix
import Synchronization

/// The warehouse of a platform, for a process that does not own its file: statements go through the queues of the database service.
///
/// Guarantees: parameters are bound, never part of the text; a call ends by its time-out; a write is applied once, also where
/// it had to be sent again. `run` must be running, as it is inside `with`.
package final class DatabaseClient: Sendable {
  private struct Pending {
    var continuation: CheckedContinuation<QueueAnswer, any Error>?
    var answer: QueueAnswer?
  }

  private let router: any RedisRouter
  private let waiting: any RedisRouter
  private let reads: QueueKeys
  private let writes: QueueKeys
  private let queueLimit: Int
  private let responseKey: String
  private let clock: any Clock<Duration>
  private let wallClock: any WallClock
  private let backoff: Backoff
  private let newID: @Sendable () -> String
  private let pending = Mutex<[String: Pending]>([:])

  /// - Parameters:
  ///   - namespace: as in the setting `database_service.namespace` of the platform.
  ///   - queueLimit: jobs that may wait in a queue; a further one is refused.
  package init(
    _ configuration: RedisConfiguration, namespace: String? = nil,
    queueLimit: Int = Limits.databaseQueueJobs,
    group: any EventLoopGroup = MultiThreadedEventLoopGroup.singleton,
    clock: any Clock<Duration> = ContinuousClock(), wallClock: any WallClock = SystemClock(),
    newID: @escaping @Sendable () -> String = { UUID().uuidString.lowercased() }, logger: Logger
  ) throws {
    try configuration.validate()
    router = try RedisRouting.router(configuration, group: group, clock: clock, logger: logger)
    waiting = try RedisRouting.router(
      configuration.waitingLonger, group: group, clock: clock, logger: logger)
    reads = QueueKeys(.read, namespace: namespace)
    writes = QueueKeys(.write, namespace: namespace)
    self.queueLimit = queueLimit
    self.clock = clock
    self.wallClock = wallClock
    self.newID = newID
    backoff = configuration.backoff
    responseKey = QueuedJob.responsePrefix + newID()
  }

  /// Gives `body` a client that receives answers, and closes it afterwards.
  package static func with<Result: Sendable>(
    _ configuration: RedisConfiguration, namespace: String? = nil,
    queueLimit: Int = Limits.databaseQueueJobs, logger: Logger,
    _ body: @Sendable @escaping (DatabaseClient) async throws -> Result
  ) async throws -> Result {
    let client = try DatabaseClient(
      configuration, namespace: namespace, queueLimit: queueLimit, logger: logger)
    defer { client.close() }
    return try await withThrowingTaskGroup(of: Void.self) { group in
      group.addTask { await client.run() }
      defer { group.cancelAll() }
      return try await body(client)
    }
  }

  package func close() {
    router.close()
    waiting.close()
  }

  // MARK: Calls

  /// The rows of a SELECT, decoded straight into the caller's type: columns go to the coding keys of the same name, a type of a
  /// single value takes the only column.
  ///
  /// - Throws: what the service answers, `.overloaded` with a time to retry after where too many wait, `.deadlineExceeded`
  ///   after the time-out.
  package func query<Row: Decodable & Sendable>(
    _ sql: String, _ parameters: [Value] = [], timeout: Span = .seconds(30),
    as type: Row.Type = Row.self
  ) async throws -> [Row] {
    try RowDecoder(try await columns(sql, parameters, timeout: timeout)).decode(type)
  }

  /// The rows of a SELECT as columns.
  package func columns(
    _ sql: String, _ parameters: [Value] = [], timeout: Span = .seconds(30)
  ) async throws -> ColumnBatch {
    let job = QueuedJob(id: newID(), sql: sql, runs: [parameters])
    guard case .rows(let batch) = try await ask(job, through: reads, timeout: timeout) else {
      throw Self.foreign()
    }
    return batch
  }

  /// Runs a statement that changes rows; returns how many it changed.
  ///
  /// - Parameter id: the same id is the same job and applied once: give one to send a job again after `.deadlineExceeded`.
  @discardableResult
  package func execute(
    _ sql: String, _ parameters: [Value] = [], id: String? = nil, timeout: Span = .seconds(30)
  ) async throws -> Int {
    try await execute(sql, rows: [parameters], id: id, timeout: timeout)
  }

  /// Runs a statement once for each row of parameters, all or none; returns how many rows were changed.
  @discardableResult
  package func execute(
    _ sql: String, rows: [[Value]], id: String? = nil, timeout: Span = .seconds(30)
  ) async throws -> Int {
    guard !rows.isEmpty else { return 0 }
    let job = QueuedJob(id: id ?? newID(), sql: sql, runs: rows)
    guard case .changed(let changed, _) = try await ask(job, through: writes, timeout: timeout)
    else { throw Self.foreign() }
    return changed
  }

  private static func foreign() -> PlatformError {
    PlatformError(
      .internalError,
      "the database service answered with something else than was asked for; do client and platform have the same version?"
    )
  }

  private func ask(
    _ job: QueuedJob, through keys: QueueKeys, timeout: Span
  ) async throws -> QueueAnswer {
    var job = job
    job.responseKey = responseKey
    job.deadline = wallClock.now + timeout
    let text = job.json.utf8
    guard text.count <= Limits.databaseJobBytes else {
      throw PlatformError(
        .invalidArgument,
        "the job has \(text.count) bytes; at most \(Limits.databaseJobBytes) are taken: send its rows in several jobs"
      )
    }
    let id = job.id
    let isNew = pending.withLock { $0.updateValue(Pending(), forKey: id) == nil }
    guard isNew else {
      throw PlatformError(.conflict, "a job with the id '\(id)' waits for its answer already")
    }
    defer { pending.withLock { _ = $0.removeValue(forKey: id) } }
    let answer = try await withThrowingTaskGroup(of: QueueAnswer.self) { group in
      group.addTask {
        try await self.submit(text, to: keys)
        return try await self.answer(to: id)
      }
      group.addTask { [clock] in
        try await clock.sleep(for: timeout.duration)
        throw PlatformError(
          .deadlineExceeded,
          "the database service did not answer within \(timeout); is a platform with database_service.enabled running on this Redis?"
        )
      }
      defer { group.cancelAll() }
      return try await group.next() ?? .failed(Self.foreign())
    }
    if case .failed(let error) = answer { throw error }
    return answer
  }

  /// Puts a job into its queue; while the server is away it is tried again, which the job's id makes harmless.
  private func submit(_ text: [UInt8], to keys: QueueKeys) async throws {
    var attempt = 0
    var random = SystemRandomNumberGenerator()
    while true {
      do {
        let call = RedisScript.submit.call(
          keys: [keys.queue], [text] + RedisJobQueue.words("\(queueLimit)"), isWhole: true)
        let reply = try await router.send([call], lane: .writes)[0].unlessError()
        guard reply.integer == 1 else {
          throw PlatformError(
            .overloaded,
            "\(queueLimit) jobs wait for the database service already; send it again later",
            retryable: true, retryAfter: .seconds(1))
        }
        return
      } catch let error as PlatformError where error.code == .unavailable {
        try await clock.sleep(for: backoff.delay(after: attempt, using: &random).duration)
        attempt += 1
      }
    }
  }

  private func answer(to id: String) async throws -> QueueAnswer {
    try await withTaskCancellationHandler {
      try await withCheckedThrowingContinuation { continuation in
        let (answer, isGone): (QueueAnswer?, Bool) = pending.withLock { pending in
          if Task.isCancelled { return (nil, true) }
          if let answer = pending[id]?.answer { return (answer, false) }
          pending[id]?.continuation = continuation
          return (nil, pending[id] == nil)
        }
        if let answer { return continuation.resume(returning: answer) }
        if isGone { continuation.resume(throwing: CancellationError()) }
      }
    } onCancel: {
      let waiting = pending.withLock { pending in
        defer { pending[id]?.continuation = nil }
        return pending[id]?.continuation
      }
      waiting?.resume(throwing: CancellationError())
    }
  }

  // MARK: Answers

  /// Receives answers until it is cancelled.
  package func run() async {
    var attempt = 0
    var random = SystemRandomNumberGenerator()
    while !Task.isCancelled {
      do {
        for text in try await nextAnswers() { deliver(text) }
        attempt = 0
      } catch {
        // Calls that wait end by their own time-out; answers stay where they are until they expire.
        try? await clock.sleep(for: backoff.delay(after: attempt, using: &random).duration)
        attempt += 1
      }
    }
  }

  private func nextAnswers() async throws -> [[UInt8]] {
    let key = Array(responseKey.utf8)
    let first = try await waiting.send(
      [RedisRequest([Array("BLPOP".utf8), key] + RedisJobQueue.words("1"), key: key)],
      lane: .reads)[0].unlessError()
    guard let parts = first.array, parts.count == 2, case .bulk(let bytes) = parts[1] else {
      return []
    }
    let more = try await router.send(
      [RedisRequest([Array("LPOP".utf8), key] + RedisJobQueue.words("256"), key: key)],
      lane: .reads)[0].unlessError()
    let others = (more.array ?? []).compactMap { item -> [UInt8]? in
      if case .bulk(let bytes) = item { Array(buffer: bytes) } else { nil }
    }
    return [Array(buffer: bytes)] + others
  }

  /// Hands an answer to the call that waits for it; one that nobody waits for any more is dropped.
  private func deliver(_ text: [UInt8]) {
    guard let (id, answer) = QueueAnswer.decode(text) else { return }
    let waiting = pending.withLock { pending in
      pending[id]?.answer = answer
      defer { pending[id]?.continuation = nil }
      return pending[id]?.continuation
    }
    waiting?.resume(returning: answer)
  }
}
