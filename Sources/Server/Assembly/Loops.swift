import Core
import Features
import Foundation
import Jobs
import Logging
import ServiceLifecycle

/// A long-running function as a service; it is cancelled when the platform stops.
struct Loop: Service, CustomStringConvertible {
  let description: String
  private let body: @Sendable () async throws -> Void

  init(_ name: String, _ body: @escaping @Sendable () async throws -> Void) {
    description = name
    self.body = body
  }

  func run() async throws {
    try await cancelWhenGracefulShutdown {
      try await body()
      // A loop that ended by itself must not stop the platform.
      try? await gracefulShutdown()
    }
  }
}

/// Does something again and again, with a pause between.
struct Ticker: Service {
  private let interval: Span
  private let body: @Sendable () async -> Void

  init(every interval: Span, _ body: @escaping @Sendable () async -> Void) {
    self.interval = interval
    self.body = body
  }

  func run() async throws {
    await cancelWhenGracefulShutdown {
      while !Task.isCancelled {
        try? await Task.sleep(for: interval.duration)
        if !Task.isCancelled { await body() }
      }
    }
  }
}

/// The committer of ingest: stops after what waits is stored.
struct IngestService: Service {
  private let ingestor: Ingestor

  init(_ ingestor: Ingestor) { self.ingestor = ingestor }

  func run() async throws {
    try await withGracefulShutdownHandler {
      try await ingestor.run()
    } onGracefulShutdown: {
      ingestor.stop()
    }
  }
}

/// The orchestrator: takes up what a former process left, then runs jobs as they come due.
struct JobService: Service {
  let queue: JobQueue
  let runner: Runner
  let scheduler: Scheduler
  let announce: @Sendable (JobRun, JobAttemptNews) -> Void
  let log: Logger

  func run() async throws {
    let recovered = try await queue.recover()
    for run in recovered where !run.isBackfill {
      announce(run, .aborted("the process that ran it is gone"))
    }
    if !recovered.isEmpty {
      log.notice("jobs taken up again", metadata: ["count": "\(recovered.count)"])
    }
    await cancelWhenGracefulShutdown {
      await withTaskGroup(of: Void.self) { group in
        group.addTask { await runJobs() }
        group.addTask { await schedule() }
      }
    }
  }

  /// Runs what is due; looks again when something changed, and every second for back-offs that end.
  private func runJobs() async {
    while !Task.isCancelled {
      do {
        while try await runner.runOne(), !Task.isCancelled {}
      } catch {
        if Task.isCancelled { return }
        log.error("the job queue failed", metadata: ["error": "\(error)"])
      }
      await nextLook()
    }
  }

  private func nextLook() async {
    let wakeUps = queue.wakeUps().dropFirst()
    await withTaskGroup(of: Void.self) { group in
      group.addTask { for await _ in wakeUps { return } }
      group.addTask { try? await Task.sleep(for: .seconds(1)) }
      await group.next()
      group.cancelAll()
    }
  }

  private func schedule() async {
    while !Task.isCancelled {
      do {
        _ = try await scheduler.tick()
      } catch {
        log.error("the scheduler failed", metadata: ["error": "\(error)"])
      }
      try? await Task.sleep(for: .seconds(1))
    }
  }
}

/// Holds the stores open; closes them when everything that uses them has stopped.
struct StoreService: Service {
  private let services: PlatformServices
  private let log: Logger

  init(_ services: PlatformServices, _ log: Logger) {
    self.services = services
    self.log = log
  }

  func run() async throws {
    try? await gracefulShutdown()
    do {
      _ = try await services.online.save()
    } catch {
      // Nothing is lost: the warehouse has every event. But the next start takes longer.
      log.error(
        "the online state could not be saved; the next start reads the events since the last snapshot",
        metadata: ["error": "\(error)"])
    }
    try await services.warehouse.close()
    try services.jobs.close()
    try services.catalog.close()
  }
}
