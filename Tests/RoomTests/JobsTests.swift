import Core
import Foundation
import Jobs
import Testing

private func pendingRun(_ change: (inout JobRun) -> Void = { _ in }) -> JobRun {
  var run = JobRun(
    id: "train-churn-1", kind: "train", model: "churn", state: .pending, attempt: 0, maxAttempts: 2,
    parameters: TrainingParameters(), reason: "test", notBefore: Timestamp(microseconds: 0),
    leaseOwner: nil, leaseUntil: nil, progress: "", error: nil, version: nil,
    createdAt: Timestamp(microseconds: 0), finishedAt: nil)
  change(&run)
  return run
}

private func runningRun(attempt: Int = 1) -> JobRun {
  pendingRun {
    $0.state = .running
    $0.attempt = attempt
    $0.leaseOwner = "me"
    $0.leaseUntil = Timestamp(microseconds: 100)
  }
}

@Suite("The job state machine")
struct JobRunStateMachineTests {
  let now = Timestamp(microseconds: 10)
  let later = Timestamp(microseconds: 50)

  @Test("claiming a pending job begins its next attempt under a lease")
  func claim() throws {
    let next = try #require(
      JobRunStateMachine.apply(.claim(owner: "me", leaseUntil: later), to: pendingRun(), now: now))
    #expect(next.state == .running && next.attempt == 1 && next.leaseOwner == "me")
  }

  @Test("a job that waits for its back-off is not claimed")
  func notBefore() {
    let run = pendingRun { $0.notBefore = later }
    #expect(
      JobRunStateMachine.apply(.claim(owner: "me", leaseUntil: later), to: run, now: now) == nil)
  }

  @Test("only the attempt that holds the lease may finish the job")
  func fencing() {
    let run = runningRun(attempt: 2)
    for event: JobRunStateMachine.Event in [
      .succeed(owner: "me", attempt: 1, version: 1),
      .succeed(owner: "other", attempt: 2, version: 1),
      .fail(owner: "me", attempt: 1, error: "", retryable: true, retryAt: later),
    ] {
      #expect(JobRunStateMachine.apply(event, to: run, now: now) == nil)
    }
    let done = JobRunStateMachine.apply(
      .succeed(owner: "me", attempt: 2, version: 7), to: run, now: now)
    #expect(done?.state == .completed && done?.version == 7 && done?.leaseOwner == nil)
  }

  @Test("a retryable failure waits and is tried again until attempts run out")
  func failure() {
    let event = JobRunStateMachine.Event.fail(
      owner: "me", attempt: 1, error: "boom", retryable: true, retryAt: later)
    let retried = JobRunStateMachine.apply(event, to: runningRun(), now: now)
    #expect(retried?.state == .pending && retried?.notBefore == later && retried?.error == "boom")
    let last = JobRunStateMachine.Event.fail(
      owner: "me", attempt: 2, error: "boom", retryable: true, retryAt: later)
    #expect(JobRunStateMachine.apply(last, to: runningRun(attempt: 2), now: now)?.state == .failed)
    let user = JobRunStateMachine.Event.fail(
      owner: "me", attempt: 1, error: "boom", retryable: false, retryAt: later)
    #expect(JobRunStateMachine.apply(user, to: runningRun(), now: now)?.state == .failed)
  }

  @Test("an orphaned job goes back to the queue, and fails when its attempts are used up")
  func orphan() {
    #expect(JobRunStateMachine.apply(.orphan, to: runningRun(), now: now)?.state == .pending)
    #expect(
      JobRunStateMachine.apply(.orphan, to: runningRun(attempt: 2), now: now)?.state == .failed)
  }

  @Test("final states stay, save that failed and cancelled jobs can be retried by hand")
  func finals() {
    for state in [JobState.completed, .failed, .cancelled] {
      let run = pendingRun { $0.state = state }
      #expect(
        JobRunStateMachine.apply(.claim(owner: "me", leaseUntil: later), to: run, now: now) == nil)
      #expect(JobRunStateMachine.apply(.cancel, to: run, now: now) == nil)
      let retried = JobRunStateMachine.apply(.retry, to: run, now: now)
      #expect(retried?.state == (state == .completed ? nil : .pending))
    }
  }

  @Test("back-off doubles from its base and stops at its limit")
  func backOff() {
    let backOff = BackOff(base: .seconds(5), limit: .minutes(1))
    #expect(
      (1...5).map { backOff.delay(afterAttempt: $0) } == [
        .seconds(5), .seconds(10), .seconds(20), .seconds(40), .minutes(1),
      ])
  }
}

@Suite("Cron schedules")
struct CronScheduleTests {
  @Test(
    "the next time is found in the schedule's own zone, across changes of clocks",
    arguments: [
      ("0 2 * * SUN", "UTC", "2026-01-01T00:00:00Z", "2026-01-04T02:00:00Z"),
      ("*/15 * * * *", "UTC", "2026-01-01T00:07:00Z", "2026-01-01T00:15:00Z"),
      ("30 9 1,15 * *", "Europe/Berlin", "2026-07-02T00:00:00Z", "2026-07-15T07:30:00Z"),
      // 02:30 does not exist on 2026-03-08 in New York: the day is left out.
      ("30 2 * * *", "America/New_York", "2026-03-08T00:00:00Z", "2026-03-09T06:30:00Z"),
      // 01:30 comes twice on 2026-11-01: the first one counts, and only it.
      ("30 1 * * *", "America/New_York", "2026-11-01T00:00:00Z", "2026-11-01T05:30:00Z"),
      ("30 1 * * *", "America/New_York", "2026-11-01T05:30:00Z", "2026-11-02T06:30:00Z"),
      ("0 0 29 2 *", "UTC", "2026-01-01T00:00:00Z", "2028-02-29T00:00:00Z"),
      // 2100 is no leap year.
      ("0 0 29 2 *", "UTC", "2096-03-01T00:00:00Z", "2104-02-29T00:00:00Z"),
      ("0 0 30 2 MON", "UTC", "2026-01-01T00:00:00Z", "2026-02-02T00:00:00Z"),
      ("0 12 * jan-mar mon-fri", "UTC", "2026-03-31T13:00:00Z", "2027-01-01T12:00:00Z"),
      ("0 0 13 * FRI", "UTC", "2026-02-10T00:00:00Z", "2026-02-13T00:00:00Z"),
    ])
  func next(text: String, zone: String, after: String, expected: String) throws {
    let schedule = try CronSchedule(text)
    let found = try schedule.next(
      after: Timestamp(iso8601: after), in: #require(TimeZone(identifier: zone)))
    #expect(found?.description == expected)
  }

  @Test(
    "what is not a schedule is refused with the part that is wrong",
    arguments: [
      "", "* * * *", "60 * * * *", "* 24 * * *", "* * 0 * *", "* * * 13 *", "* * * * 8",
      "a * * * *", "5-1 * * * *", "*/0 * * * *", "1,,2 * * * *",
    ])
  func refused(text: String) {
    #expect(throws: PlatformError.self) { try CronSchedule(text) }
  }

  @Test("a day that never comes is refused", arguments: ["0 0 30 2 *", "0 0 31 4,6,9,11 *"])
  func never(text: String) {
    let error = #expect(throws: PlatformError.self) { try CronSchedule(text) }
    #expect(error?.message.contains("never comes") == true)
  }
}

@Suite("The job queue")
struct JobQueueTests {
  private struct FixedClock: WallClock { let now = Timestamp(microseconds: 1_000_000) }

  private func queue() throws -> (JobQueue, String) {
    let path = FileManager.default.temporaryDirectory.appendingPathComponent(
      "jobs-\(UUID().uuidString).sqlite"
    ).path
    return (try JobQueue(path: path, clock: FixedClock()), path)
  }

  @Test("one training job of a model is in flight, and an idempotency key files one job for ever")
  func once() async throws {
    let (queue, path) = try queue()
    defer { try? FileManager.default.removeItem(atPath: path) }
    let first = try await queue.file(NewJob(model: "churn", reason: "a", idempotencyKey: "k"))
    let second = try await queue.file(NewJob(model: "churn", reason: "b"))
    #expect(first.id == second.id)
    try await queue.apply(.cancel, to: first.id)
    let again = try await queue.file(NewJob(model: "churn", reason: "c", idempotencyKey: "k"))
    #expect(again.id == first.id && again.state == .cancelled)
    #expect(try await queue.file(NewJob(model: "churn", reason: "d")).id != first.id)
  }

  @Test(
    "a job survives the process that ran it: reopened, it is taken up again as the next attempt")
  func recovery() async throws {
    let (first, path) = try queue()
    defer { try? FileManager.default.removeItem(atPath: path) }
    let job = try await first.file(NewJob(model: "churn", reason: "a"))
    #expect(try await first.claim(owner: "old", lease: .hours(1))?.id == job.id)
    try first.close()
    let second = try JobQueue(path: path, clock: FixedClock())
    #expect(try await second.claim(owner: "new", lease: .hours(1)) == nil)
    #expect(try await second.recover().count == 1)
    let taken = try #require(try await second.claim(owner: "new", lease: .hours(1)))
    #expect(taken.id == job.id && taken.attempt == 2)
    #expect(
      try await second.apply(.succeed(owner: "old", attempt: 1, version: 1), to: job.id) == nil)
    #expect(
      try await second.apply(.succeed(owner: "new", attempt: 2, version: 1), to: job.id)?.state
        == .completed)
  }
}

@Suite("Evaluation")
struct EvaluationTests {
  @Test("ROC AUC shares ranks among ties and is undefined for one class")
  func auc() {
    #expect(
      Evaluation.score(.rocAUC, predictions: [0.1, 0.4, 0.35, 0.8], labels: [0, 0, 1, 1]) == 0.75)
    #expect(Evaluation.score(.rocAUC, predictions: [0.5, 0.5], labels: [0, 1]) == 0.5)
    #expect(Evaluation.score(.rocAUC, predictions: [0.5, 0.6], labels: [1, 1]) == nil)
  }
}
