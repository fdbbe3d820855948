import Core
import Foundation
import Logging

/// Files training jobs when the models' cron schedules say so.
///
/// A schedule that was missed while the platform was down fires once at start, not once for each time missed.
package struct Scheduler: Sendable {
  private let queue: JobQueue
  private let snapshot: Published<Snapshot>
  private let clock: any WallClock
  private let log: Logger

  package init(
    queue: JobQueue, snapshot: Published<Snapshot>, clock: any WallClock, log: Logger
  ) {
    self.queue = queue
    self.snapshot = snapshot
    self.clock = clock
    self.log = log
  }

  /// The due jobs of now are filed; gives when to look again.
  package func tick() async throws -> Timestamp {
    let now = clock.now
    var next = now + .minutes(1)
    for model in snapshot.current.project.models {
      guard let train = model.train, let text = train.schedule,
        let schedule = try? CronSchedule(text), let zone = TimeZone(identifier: train.zone)
      else { continue }
      guard let last = try await queue.lastFired(schedule: model.name) else {
        // First sight of the schedule: it counts from now.
        try await queue.markFired(schedule: model.name, at: now)
        continue
      }
      guard let due = schedule.next(after: last, in: zone) else { continue }
      guard due <= now else {
        next = min(next, due)
        continue
      }
      _ = try await queue.file(
        NewJob(
          model: model.name, reason: "schedule \(text)",
          parameters: TrainingParameters(promote: true),
          idempotencyKey: "schedule:\(model.name):\(due.microseconds)"))
      try await queue.markFired(schedule: model.name, at: now)
      log.info("scheduled training filed", metadata: ["model": "\(model.name)"])
    }
    return next
  }
}
