import Core
import RedisBackend
import Synchronization

/// Answers what comes through the queue of reads, several at a time.
struct DatabaseReads: Sendable {
  let warehouse: any SharedWarehouse
  let lane: DatabaseLane
  /// How long a read may take, whatever its sender allows.
  let timeout: Span
  let slots: Slots

  func run() async {
    await lane.persistently {
      try await resume()
      try await withThrowingDiscardingTaskGroup { group in
        while !DatabaseLane.isStopping {
          let free = await slots.takeAll()
          var jobs: [RedisJobQueue.Job] = []
          do {
            jobs = try await lane.queue.take(atMost: free)
          } catch {
            slots.give(back: free)
            throw error
          }
          slots.give(back: free - jobs.count)
          for job in jobs {
            group.addTask {
              defer { slots.give(back: 1) }
              try await serve(job)
            }
          }
        }
      }
    }
  }

  private func resume() async throws {
    let (taken, refused) = try await lane.queue.unfinished()
    if !refused.isEmpty { try await lane.refuse(refused) }
    for job in taken {
      let attempts = try await lane.queue.countAttempt(job)
      guard attempts <= DatabaseLane.attempts else {
        let ended = try await lane.failed(job, DatabaseLane.givenUp(), wasBegunBefore: true)
        try await lane.queue.finish([ended])
        continue
      }
      try await serve(job, wasBegunBefore: true)
    }
  }

  /// Runs one read and answers it; throws only where it is to be begun again.
  private func serve(_ job: RedisJobQueue.Job, wasBegunBefore: Bool = false) async throws {
    let begin = lane.clock.now
    let ended: EndedJob
    do {
      let parsed = try QueuedJob(parsing: job.text)
      guard parsed.runs.count == 1 else {
        throw PlatformError(
          .invalidArgument, "a read has one set of 'parameters'; 'rows' are for writes")
      }
      let rows = try await read(parsed, at: begin)
      lane.count("done")
      ended = EndedJob(
        job, id: parsed.id, responseKey: parsed.responseKey, .rows(rows),
        wasBegunBefore: wasBegunBefore)
      guard ended.answer.count <= Limits.databaseAnswerBytes else {
        throw Self.tooLarge("\(Limits.databaseAnswerBytes) bytes")
      }
    } catch let error as PlatformError {
      let ended = try await lane.failed(job, error, wasBegunBefore: wasBegunBefore)
      return try await lane.queue.finish([ended])
    }
    try await lane.queue.finish([ended])
    lane.timer.recordMicroseconds((lane.clock.now - begin).microseconds)
  }

  private func read(_ job: QueuedJob, at now: Timestamp) async throws -> ColumnBatch {
    let allowed = job.deadline.map { min($0 - now, timeout) } ?? timeout
    guard allowed.microseconds > 0 else { throw DatabaseLane.late() }
    return try await withThrowingTaskGroup(of: ColumnBatch.self) { group in
      group.addTask { try await collect(job) }
      group.addTask {
        try await Task.sleep(for: allowed.duration)
        throw PlatformError(
          .deadlineExceeded,
          "the read was ended after \(allowed.duration); ask for less, or allow more time (at most database_service.read_timeout)"
        )
      }
      defer { group.cancelAll() }
      guard let rows = try await group.next() else { throw CancellationError() }
      return rows
    }
  }

  private func collect(_ job: QueuedJob) async throws -> ColumnBatch {
    let found = Mutex(ColumnBatch(columns: []))
    let limit = job.maxRows ?? Limits.databaseRows
    try await warehouse.read(job.sql, job.runs[0]) { batch in
      let batch = copy batch
      let count = found.withLock { found in
        found.append(contentsOf: batch)
        return found.count
      }
      if count > limit { throw Self.tooLarge("\(limit) rows") }
    }
    return found.withLock { $0 }
  }

  private static func tooLarge(_ limit: String) -> PlatformError {
    PlatformError(
      .invalidArgument, "the result has more than \(limit); add LIMIT, or ask for it in parts")
  }
}

/// So many places, for work that is done several at a time.
final class Slots: Sendable {
  private struct State {
    var free: Int
    var waiting: CheckedContinuation<Int, Never>?
  }

  private let state: Mutex<State>

  init(_ count: Int) { state = Mutex(State(free: count)) }

  /// All places that are free, at least one; used by one task.
  func takeAll() async -> Int {
    await withCheckedContinuation { continuation in
      let free = state.withLock { state in
        let free = state.free
        state.free = 0
        if free == 0 { state.waiting = continuation }
        return free
      }
      if free > 0 { continuation.resume(returning: free) }
    }
  }

  func give(back count: Int) {
    guard count > 0 else { return }
    let waiting = state.withLock { state in
      guard let waiting = state.waiting.take() else {
        state.free += count
        return nil as CheckedContinuation<Int, Never>?
      }
      return waiting
    }
    waiting?.resume(returning: count)
  }
}
