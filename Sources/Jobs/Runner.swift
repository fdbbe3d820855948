import Core
import Foundation
import Logging
import Metrics

/// What becomes of one attempt of a job: it begins once and ends once.
package enum JobAttemptNews: Sendable {
  case begun
  case completed(ModelVersion)
  case failed(String)
  /// Cancelled, taken over, or the platform stopped.
  case aborted(String)
}

/// Takes jobs from the queue and runs them, one at a time, holding a lease on each.
package struct Runner: Sendable {
  private let queue: JobQueue
  private let training: TrainingJob
  private let backfill: BackfillSteps
  private let clock: any WallClock
  private let owner: String
  private let lease: Span
  private let backOff: BackOff
  private let log: Logger
  private let announce: @Sendable (JobRun, JobAttemptNews) -> Void

  /// - Parameter announce: told of every attempt of a training; must not wait.
  package init(
    queue: JobQueue, training: TrainingJob, backfill: BackfillSteps, clock: any WallClock,
    owner: String, lease: Span,
    backOff: BackOff, log: Logger,
    announce: @escaping @Sendable (JobRun, JobAttemptNews) -> Void = { _, _ in }
  ) {
    self.queue = queue
    self.training = training
    self.backfill = backfill
    self.clock = clock
    self.owner = owner
    self.lease = lease
    self.backOff = backOff
    self.log = log
    self.announce = announce
  }

  /// Runs the job that has waited longest; false when there is none.
  package func runOne() async throws -> Bool {
    guard let run = try await queue.claim(owner: owner, lease: lease) else { return false }
    log.info("job begins", metadata: ["job": "\(run.id)", "attempt": "\(run.attempt)"])
    if run.isBackfill {
      do { try await runBackfill(run) } catch {
        try await settle(run, after: error)
        if (error as? PlatformError)?.code == .cancelled { try await backfill.abandon(run) }
      }
      return true
    }
    announce(run, .begun)
    do {
      let version = try await withLease(of: run) { try await training.run(run, $0) }
      try await queue.apply(
        .succeed(owner: owner, attempt: run.attempt, version: version.version), to: run.id)
      Self.count(run, "completed")
      announce(run, .completed(version))
      log.info(
        "job completed", metadata: ["job": "\(run.id)", "version": "\(version.version)"])
    } catch {
      try await settle(run, after: error)
    }
    return true
  }

  private func runBackfill(_ run: JobRun) async throws {
    try await withLease(of: run) { try await backfill.run(run, $0) }
    try await queue.apply(
      .succeed(owner: owner, attempt: run.attempt, version: nil), to: run.id)
    Self.count(run, "completed")
    log.info("job completed", metadata: ["job": "\(run.id)"])
  }

  private func tell(_ run: JobRun, _ news: JobAttemptNews) {
    if !run.isBackfill { announce(run, news) }
  }

  private static func count(_ run: JobRun, _ outcome: String) {
    Counter(label: "martlet_jobs_total", dimensions: [("kind", run.kind), ("outcome", outcome)])
      .increment()
  }

  private func settle(_ run: JobRun, after error: any Error) async throws {
    if error is CancellationError || Task.isCancelled {
      // The platform stops: the lease is given back at the next start, without counting as the user's failure.
      log.info("job interrupted", metadata: ["job": "\(run.id)"])
      tell(run, .aborted("the platform stops"))
      return
    }
    Self.count(run, "failed")
    let failure = error as? PlatformError
    tell(run, failure?.code == .cancelled ? .aborted("\(error)") : .failed("\(error)"))
    let retryable = failure?.retryable ?? true
    try await queue.apply(
      .fail(
        owner: owner, attempt: run.attempt, error: "\(error)", retryable: retryable,
        retryAt: clock.now + backOff.delay(afterAttempt: run.attempt)), to: run.id)
    log.error("job failed", metadata: ["job": "\(run.id)", "error": "\(error)"])
  }

  private static let flushEvery = Duration.seconds(1)

  /// Runs `body` while the lease is renewed and what it says is stored; a lease that is lost (cancelled, taken over) cancels the body.
  private func withLease<Result: Sendable>(
    of run: JobRun, _ body: @escaping @Sendable (JobReport) async throws -> Result
  ) async throws -> Result {
    let lines = JobLog(queue, run, clock: clock)
    let queue = queue
    let report = JobReport(
      progress: { try await queue.report($0, of: run) }, say: { lines.say($0) })
    do {
      let result = try await withLease(of: run, lines) { try await body(report) }
      try await lines.flush()
      return result
    } catch {
      try? await lines.flush()
      throw error
    }
  }

  private func withLease<Result: Sendable>(
    of run: JobRun, _ lines: JobLog, _ body: @escaping @Sendable () async throws -> Result
  ) async throws -> Result {
    let (queue, owner, lease, clock) = (queue, owner, lease, clock)
    return try await withThrowingTaskGroup(of: Result?.self) { group in
      group.addTask { try await body() }
      group.addTask {
        while true {
          try await Task.sleep(for: Self.flushEvery)
          try await lines.flush()
        }
      }
      group.addTask {
        while true {
          try await Task.sleep(for: Span(microseconds: lease.microseconds / 6).duration)
          let renewed = try await queue.apply(
            .renew(owner: owner, attempt: run.attempt, leaseUntil: clock.now + lease), to: run.id)
          if renewed == nil {
            throw PlatformError(.cancelled, "job \(run.id) was cancelled or taken over")
          }
        }
      }
      defer { group.cancelAll() }
      while let result = try await group.next() {
        if let result { return result }
      }
      throw CancellationError()
    }
  }
}
