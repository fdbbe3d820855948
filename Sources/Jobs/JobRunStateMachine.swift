import Core

/// The rules of a job's life, as a value: what each event does to a run, and which it refuses.
package struct JobRunStateMachine: Sendable {
  package enum Event: Sendable, Equatable {
    case claim(owner: String, leaseUntil: Timestamp)
    case renew(owner: String, attempt: Int, leaseUntil: Timestamp)
    case succeed(owner: String, attempt: Int, version: Int64?)
    /// `retryable` failures are tried again after `retryAt` while attempts are left.
    case fail(owner: String, attempt: Int, error: String, retryable: Bool, retryAt: Timestamp)
    /// The owner is gone or its lease has run out.
    case orphan
    case cancel
    case retry
  }

  /// The run after the event, nil where the event is refused (a final state, another owner, an older attempt).
  package static func apply(_ event: Event, to run: JobRun, now: Timestamp) -> JobRun? {
    var next = run
    switch (event, run.state) {
    case (.claim(let owner, let until), .pending) where run.notBefore <= now:
      next.state = .running
      next.attempt += 1
      next.leaseOwner = owner
      next.leaseUntil = until
      next.error = nil
    case (.renew(let owner, let attempt, let until), .running)
    where holds(run, owner, attempt):
      next.leaseUntil = until
    case (.succeed(let owner, let attempt, let version), .running) where holds(run, owner, attempt):
      next.state = .completed
      next.version = version
      release(&next, now: now)
    case (.fail(let owner, let attempt, let error, let retryable, let retryAt), .running)
    where holds(run, owner, attempt):
      next.error = error
      release(&next, now: now)
      if retryable, run.attempt < run.maxAttempts {
        next.state = .pending
        next.notBefore = retryAt
        next.finishedAt = nil
      } else {
        next.state = .failed
      }
    case (.orphan, .running):
      release(&next, now: now)
      if run.attempt < run.maxAttempts {
        next.state = .pending
        next.notBefore = now
        next.finishedAt = nil
      } else {
        next.state = .failed
        next.error = "the platform stopped during attempt \(run.attempt) of \(run.maxAttempts)"
      }
    case (.cancel, .pending), (.cancel, .running):
      next.state = .cancelled
      release(&next, now: now)
    case (.retry, .failed), (.retry, .cancelled):
      next.state = .pending
      next.notBefore = now
      next.maxAttempts = run.attempt + max(1, run.maxAttempts)
      next.finishedAt = nil
    default:
      return nil
    }
    return next
  }

  private static func holds(_ run: JobRun, _ owner: String, _ attempt: Int) -> Bool {
    run.leaseOwner == owner && run.attempt == attempt
  }

  private static func release(_ run: inout JobRun, now: Timestamp) {
    run.leaseOwner = nil
    run.leaseUntil = nil
    run.finishedAt = now
  }
}

/// How long a failed attempt waits for the next: doubling from a base, bounded.
package struct BackOff: Sendable {
  package var base: Span
  package var limit: Span

  package init(base: Span, limit: Span = .minutes(10)) {
    self.base = base
    self.limit = limit
  }

  package func delay(afterAttempt attempt: Int) -> Span {
    let factor = Int64(1) << Int64(min(max(attempt - 1, 0), 20))
    let (product, overflow) = base.microseconds.multipliedReportingOverflow(by: factor)
    return overflow ? limit : min(Span(microseconds: product), limit)
  }
}
