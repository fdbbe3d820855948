import Core
import Foundation
import RedisBackend

/// Applies what comes through the queue of writes, batch by batch, in its order.
struct DatabaseWrites: Sendable {
  private struct Read {
    var job: RedisJobQueue.Job
    var parsed: QueuedJob
  }

  let warehouse: any SharedWarehouse
  let lane: DatabaseLane
  /// Jobs of one transaction.
  let batch: Int

  func run() async {
    await lane.persistently {
      try await resume()
      var applied = 0
      while !DatabaseLane.isStopping {
        let jobs = try await lane.queue.take(atMost: batch)
        try await apply(jobs)
        applied += jobs.count
        // Only here: no job that an earlier service took is still to come.
        if applied > Limits.databaseNotes / 10 {
          try await warehouse.forgetJobs(keeping: Limits.databaseNotes)
          applied = 0
        }
      }
    }
  }

  /// Ends what an earlier service had begun, each job by itself, so that one which ends the service is found out.
  private func resume() async throws {
    let (taken, refused) = try await lane.queue.unfinished()
    if !refused.isEmpty { try await lane.refuse(refused) }
    for job in taken {
      let attempts = try await lane.queue.countAttempt(job)
      try await apply(
        [job], wasBegunBefore: true, isGivenUp: attempts > DatabaseLane.attempts)
    }
  }

  private func apply(
    _ jobs: [RedisJobQueue.Job], wasBegunBefore: Bool = false, isGivenUp: Bool = false
  ) async throws {
    guard !jobs.isEmpty else { return }
    let begin = lane.clock.now
    var ended: [EndedJob] = []
    var good: [Read] = []
    for job in jobs {
      do {
        good.append(Read(job: job, parsed: try QueuedJob(parsing: job.text)))
      } catch let error as PlatformError {
        ended.append(try await lane.failed(job, error, wasBegunBefore: wasBegunBefore))
      }
    }
    let outcomes = try await warehouse.apply(
      good.map { read in
        let isLate = read.parsed.deadline.map { $0 < begin } ?? false
        return WriteJob(
          id: read.parsed.id, sql: read.parsed.sql, runs: read.parsed.runs,
          onlyIfNoted: isLate || isGivenUp)
      })
    for (read, outcome) in zip(good, outcomes) {
      ended.append(
        try await end(read, outcome, wasBegunBefore: wasBegunBefore, isGivenUp: isGivenUp))
    }
    try await lane.queue.finish(ended)
    lane.timer.recordMicroseconds((lane.clock.now - begin).microseconds)
  }

  private func end(
    _ read: Read, _ outcome: WriteOutcome, wasBegunBefore: Bool, isGivenUp: Bool
  ) async throws -> EndedJob {
    func changed(_ rows: Int, before: Bool) -> EndedJob {
      lane.count(before ? "before" : "done")
      return EndedJob(
        read.job, id: read.parsed.id, responseKey: read.parsed.responseKey,
        .changed(rows: rows, before: before), wasBegunBefore: wasBegunBefore)
    }
    switch outcome {
    case .applied(let rows): return changed(rows, before: false)
    case .appliedBefore(let rows): return changed(rows, before: true)
    case .refused(let error):
      return try await lane.failed(read.job, error, wasBegunBefore: wasBegunBefore)
    case .notBegun:
      return try await lane.failed(
        read.job, isGivenUp ? DatabaseLane.givenUp() : DatabaseLane.late(),
        wasBegunBefore: wasBegunBefore)
    }
  }
}
