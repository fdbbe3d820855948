import Core
import Logging
import Metrics
import RedisBackend
import ServiceLifecycle

/// The warehouse for processes that do not own its file: takes statements from two queues on Redis and answers on the sender's key.
///
/// Guarantees: a job stays on a list of the queue until it is answered, so that one which a service took and died with is done by the
/// next; a write is applied once all the same. No job holds up the queue: what cannot be read, or ended the service several
/// times, is answered with an error and put aside.
struct DatabaseService: Service {
  private let writes: DatabaseWrites
  private let reads: DatabaseReads
  private let lanes: [DatabaseLane]

  init(
    _ warehouse: any SharedWarehouse, _ settings: Configuration.DatabaseService,
    redis: RedisConfiguration, clock: any WallClock, log: Logger
  ) throws {
    func lane(_ kind: QueueKeys.Kind) throws -> DatabaseLane {
      DatabaseLane(
        kind: kind,
        queue: try RedisJobQueue(
          redis, kind, namespace: settings.namespace, answerExpiry: settings.answerExpiry,
          logger: log), limit: settings.queueJobs, clock: clock, log: log)
    }
    let (write, read) = (try lane(.write), try lane(.read))
    lanes = [write, read]
    writes = DatabaseWrites(warehouse: warehouse, lane: write, batch: settings.writeBatch)
    reads = DatabaseReads(
      warehouse: warehouse, lane: read, timeout: settings.readTimeout,
      slots: Slots(settings.concurrentReads))
  }

  func run() async throws {
    await withTaskGroup(of: Void.self) { group in
      group.addTask { await writes.run() }
      group.addTask { await reads.run() }
      for lane in lanes {
        group.addTask { await cancelWhenGracefulShutdown { await lane.keepBounded() } }
      }
    }
    for lane in lanes { lane.queue.close() }
  }
}

/// One queue with what both kinds of jobs share.
struct DatabaseLane: Sendable {
  let kind: QueueKeys.Kind
  let queue: RedisJobQueue
  /// Jobs that may wait.
  let limit: Int
  let clock: any WallClock
  let log: Logger

  /// How often a job may have been begun when its service ended before it is given up.
  static let attempts = 3
  private static let refusedAtOnce = 500
  private static let pause = Duration.seconds(1)

  /// What is left of running services: none is begun any more.
  static var isStopping: Bool { Task.isCancelled || Task.isShuttingDownGracefully }

  /// Runs `body` again and again after a pause where it fails, as it does while Redis is away.
  func persistently(_ body: () async throws -> Void) async {
    var isFailing = false
    while !Self.isStopping {
      do {
        try await body()
        isFailing = false
      } catch {
        if !isFailing, !Task.isCancelled {
          log.warning(
            "the database service cannot work now; it tries again every second",
            metadata: ["queue": "\(kind.rawValue)", "error": "\(error)"])
        }
        isFailing = true
        try? await Task.sleep(for: Self.pause)
      }
    }
  }

  /// Refuses the newest jobs while more wait than may.
  func keepBounded() async {
    let gauge = Gauge(label: "martlet_database_queue_jobs", dimensions: [("queue", kind.rawValue)])
    await persistently {
      while !Self.isStopping {
        let (waiting, excess) = try await queue.takeExcess(
          over: limit, atMost: Self.refusedAtOnce)
        gauge.record(waiting)
        if excess.isEmpty {
          try await Task.sleep(for: Self.pause)
        } else {
          try await refuse(excess)
        }
      }
    }
  }

  func refuse(_ jobs: [RedisJobQueue.Job]) async throws {
    let error = PlatformError(
      .overloaded, "more than \(limit) jobs wait in \(kind.rawValue); send it again later",
      retryable: true, retryAfter: .seconds(1))
    var ended: [EndedJob] = []
    for job in jobs {
      let sender = QueuedJob.sender(of: job.text)
      if sender.responseKey == nil { try await queue.bury(job, error, at: clock.now) }
      ended.append(
        EndedJob(
          job, id: sender.id, responseKey: sender.responseKey, .failed(error), isRefused: true))
      count("refused")
    }
    try await queue.finish(ended)
  }

  /// Answers a job that is no job, or whose failure nobody may hear of.
  func failed(
    _ job: RedisJobQueue.Job, _ error: PlatformError, wasBegunBefore: Bool
  ) async throws -> EndedJob {
    let sender = QueuedJob.sender(of: job.text)
    if sender.responseKey == nil { try await queue.bury(job, error, at: clock.now) }
    count(error.code == .deadlineExceeded ? "late" : "failed")
    return EndedJob(
      job, id: sender.id, responseKey: sender.responseKey, .failed(error),
      wasBegunBefore: wasBegunBefore)
  }

  func count(_ outcome: String) {
    Counter(
      label: "martlet_database_jobs_total",
      dimensions: [("queue", kind.rawValue), ("outcome", outcome)]
    ).increment()
  }

  var timer: Metrics.Timer {
    Metrics.Timer(
      label: "martlet_database_job_seconds", dimensions: [("queue", kind.rawValue)])
  }

  static func givenUp() -> PlatformError {
    PlatformError(
      .failedPrecondition,
      "the job was begun \(attempts) times and the service ended each time; it is not begun again: make it smaller"
    )
  }

  static func late() -> PlatformError {
    PlatformError(
      .deadlineExceeded,
      "the job's time was over before it was begun; nothing was done: send it again with more time")
  }
}
