import Core
import Crypto
import Logging
import NIOCore
import NIOPosix

/// The service's side of one queue.
///
/// Guarantees: a job is on one of the lists from the moment it was sent until `finish`; whoever takes jobs and dies finds them with
/// `unfinished`. One service at a time takes from a queue.
package final class RedisJobQueue: Sendable {
  /// A job as it was sent.
  package struct Job: Sendable, Hashable {
    package let text: [UInt8]

    /// Tells it apart where it is counted how often it was begun.
    var digest: [UInt8] { SHA256.hash(data: text).map { $0 } }
  }

  private let keys: QueueKeys
  private let router: any RedisRouter
  /// For the call that waits inside the server, which must not hold up others.
  private let waiting: any RedisRouter
  private let answerExpiry: Span

  /// Connects when it is first used.
  ///
  /// - Parameter answerExpiry: how long an answer waits to be fetched.
  package init(
    _ configuration: RedisConfiguration, _ kind: QueueKeys.Kind, namespace: String?,
    answerExpiry: Span, group: any EventLoopGroup = MultiThreadedEventLoopGroup.singleton,
    clock: any Clock<Duration> = ContinuousClock(), logger: Logger
  ) throws {
    try configuration.validate()
    keys = QueueKeys(kind, namespace: namespace)
    self.answerExpiry = answerExpiry
    router = try RedisRouting.router(configuration, group: group, clock: clock, logger: logger)
    waiting = try RedisRouting.router(
      configuration.waitingLonger, group: group, clock: clock, logger: logger)
  }

  package func close() {
    router.close()
    waiting.close()
  }

  // MARK: Taking

  /// The next jobs, in the order in which they came; none where none comes within a second.
  package func take(atMost count: Int) async throws -> [Job] {
    let ready = try await move(from: keys.queue, to: keys.processing, atMost: count, side: "LEFT")
    if !ready.isEmpty { return ready }
    let reply = try await waiting.send(
      [
        RedisRequest(
          [Array("BLMOVE".utf8), keys.queue, keys.processing] + Self.words("LEFT", "RIGHT", "1"),
          key: keys.queue)
      ], lane: .writes)[0].unlessError()
    guard case .bulk(let bytes) = reply else { return [] }
    let first = Job(text: Array(buffer: bytes))
    guard count > 1 else { return [first] }
    return [first]
      + (try await move(from: keys.queue, to: keys.processing, atMost: count - 1, side: "LEFT"))
  }

  /// Jobs that were taken, or were to be refused, and are not ended: what a service that died leaves.
  package func unfinished() async throws -> (taken: [Job], refused: [Job]) {
    let replies = try await router.send(
      [keys.processing, keys.refusing].map {
        RedisRequest([Array("LRANGE".utf8), $0] + Self.words("0", "-1"), key: $0)
      }, lane: .writes)
    return (try Self.jobs(replies[0]), try Self.jobs(replies[1]))
  }

  /// Counts one more beginning of a job that an earlier service did not end.
  package func countAttempt(_ job: Job) async throws -> Int {
    let reply = try await router.send(
      [
        RedisRequest(
          [Array("HINCRBY".utf8), keys.attempts, job.digest, Array("1".utf8)], key: keys.attempts)
      ], lane: .writes)[0].unlessError()
    return Int(reply.integer ?? 0)
  }

  /// Takes the newest jobs beyond a bound out of the queue, to be refused.
  package func takeExcess(
    over limit: Int, atMost count: Int
  ) async throws -> (
    waiting: Int, excess: [Job]
  ) {
    let length = try await router.send(
      [RedisRequest([Array("LLEN".utf8), keys.queue], key: keys.queue)], lane: .writes)[0]
      .unlessError().integer
    let waiting = Int(length ?? 0)
    guard waiting > limit else { return (waiting, []) }
    let excess = try await move(
      from: keys.queue, to: keys.refusing, atMost: min(count, waiting - limit), side: "RIGHT")
    return (waiting, excess)
  }

  private func move(
    from: [UInt8], to: [UInt8], atMost count: Int, side: String
  ) async throws -> [Job] {
    let call = RedisScript.move.call(
      keys: [from, to], Self.words("\(count)", "\(Limits.databaseBatchBytes)", side), isWhole: true)
    return try Self.jobs(try await router.send([call], lane: .writes)[0])
  }

  private static func jobs(_ reply: RESPValue) throws -> [Job] {
    try (reply.unlessError().array ?? []).compactMap { item in
      guard case .bulk(let bytes) = item else { return nil }
      return Job(text: Array(buffer: bytes))
    }
  }

  // MARK: Ending

  /// Answers jobs and then takes them off the list; where it fails between, they are answered again.
  package func finish(_ ended: [EndedJob]) async throws {
    guard !ended.isEmpty else { return }
    let answers = ended.compactMap { answer($0) }
    if !answers.isEmpty {
      for reply in try await router.send(answers, lane: .writes) {
        // A key of another kind is the asker's own doing; its job is ended all the same.
        if case .error(let text) = reply, text.contains("WRONGTYPE") { continue }
        _ = try reply.unlessError()
      }
    }
    let list = ended[0].isRefused ? keys.refusing : keys.processing
    var removals = ended.map { job in
      RedisRequest(
        [Array("LREM".utf8), list, Array("1".utf8), job.job.text], key: list)
    }
    for job in ended where job.wasBegunBefore {
      removals.append(
        RedisRequest(
          [Array("HDEL".utf8), keys.attempts, job.job.digest], key: keys.attempts))
    }
    for reply in try await router.send(removals, lane: .writes) { _ = try reply.unlessError() }
  }

  private func answer(_ ended: EndedJob) -> RedisRequest? {
    guard let key = ended.responseKey else { return nil }
    let milliseconds = max(1, answerExpiry.microseconds / 1_000)
    return RedisScript.answer.call(
      keys: [Array(key.utf8)],
      [ended.answer] + Self.words("\(milliseconds)", "\(Limits.databaseAnswers)"), isWhole: true)
  }

  /// Keeps a job that nobody could be told about, for whoever looks into it.
  package func bury(_ job: Job, _ reason: PlatformError, at time: Timestamp) async throws {
    let note = JSON.object([
      "at": .string(time.description), "code": .string(reason.code.rawValue),
      "reason": .string(reason.description),
      "job": .string(String(decoding: job.text, as: UTF8.self)),
    ])
    let replies = try await router.send(
      [
        RedisRequest([Array("RPUSH".utf8), keys.dead, note.utf8], key: keys.dead),
        RedisRequest(
          [Array("LTRIM".utf8), keys.dead] + Self.words("-\(Limits.databaseDeadJobs)", "-1"),
          key: keys.dead),
      ], lane: .writes)
    for reply in replies { _ = try reply.unlessError() }
  }

  static func words(_ words: String...) -> [[UInt8]] { words.map { Array($0.utf8) } }
}

/// A job with what is to be answered.
package struct EndedJob: Sendable {
  package var job: RedisJobQueue.Job
  package var responseKey: String?
  package var answer: [UInt8]
  /// It was refused for a full queue and never begun.
  package var isRefused = false
  /// An earlier service had begun it.
  package var wasBegunBefore = false

  package init(
    _ job: RedisJobQueue.Job, id: String, responseKey: String?, _ answer: QueueAnswer,
    isRefused: Bool = false, wasBegunBefore: Bool = false
  ) {
    self.job = job
    self.responseKey = responseKey
    self.answer = responseKey == nil ? [] : answer.encoded(id: id)
    self.isRefused = isRefused
    self.wasBegunBefore = wasBegunBefore
  }
}

extension RedisConfiguration {
  /// For calls that wait inside the server for about a second.
  var waitingLonger: RedisConfiguration {
    var longer = self
    longer.requestTimeout = Span(microseconds: requestTimeout.microseconds + 2_000_000)
    return longer
  }
}
