import Core
import Features
import Logging
import Metrics
import ServiceLifecycle
import Synchronization
import Workers

/// What was answered, on its way to the version that is only watched.
///
/// Guarantees: `take` never waits, so no answer is later for it; at most `Limits.shadowRows` rows wait, and a call that finds no
/// room is dropped and counted; one call at a time is mirrored. A failure of the shadow reaches the log and nobody else.
package final class ShadowMirror: Service, Sendable {
  /// A call that one version answered.
  struct Answered: Sendable {
    var attempt: PredictAttempt
    var values: [Double]
    var hydrated: HydratedRows
    var by: ServedModel
    var shadow: ServedModel
  }

  private struct Queue {
    var calls: [Answered] = []
    var rows = 0
  }

  private static let timeout = Span.seconds(5)

  private let hydrator: any FeatureHydrating
  private let engine: any ScoringEngine
  private let log: PredictionLog
  private let stopwatch: WorkerClock
  private let queue = Mutex(Queue())
  private let wakeUps = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))

  package init(
    hydrator: any FeatureHydrating, engine: any ScoringEngine, log: PredictionLog,
    stopwatch: WorkerClock = .system
  ) {
    self.hydrator = hydrator
    self.engine = engine
    self.log = log
    self.stopwatch = stopwatch
  }

  func take(_ call: Answered) {
    let rows = call.attempt.rows.count
    let fits = queue.withLock { queue in
      guard queue.rows + rows <= Limits.shadowRows else { return false }
      queue.calls.append(call)
      queue.rows += rows
      return true
    }
    if fits { wakeUps.continuation.yield() } else { count("dropped", call) }
  }

  package func run() async throws {
    await cancelWhenGracefulShutdown {
      for await _ in self.wakeUps.stream { await self.mirrorAll() }
    }
  }

  private func mirrorAll() async {
    while !Task.isCancelled {
      // All at once, so that the front of the queue is not moved for every call.
      let calls = queue.withLock { queue in
        defer { queue.calls = [] }
        return queue.calls
      }
      if calls.isEmpty { return }
      for call in calls {
        if Task.isCancelled { return }
        await mirror(call)
        queue.withLock { $0.rows -= call.attempt.rows.count }
      }
    }
  }

  private func mirror(_ call: Answered) async {
    var attempt = call.attempt
    attempt.becomeShadow(call.shadow, of: call.by)
    let start = stopwatch.now()
    do {
      let scored = try await score(&attempt, call)
      attempt.latency.queue = Int(scored.queue.microseconds)
      attempt.latency.compute = Int(scored.compute.microseconds)
      attempt.latency.total = Int(stopwatch.now().microseconds - start.microseconds)
      log.record(
        attempt.records(
          scored.values, nil, at: call.hydrated.time, answered: call.values))
      count("ok", call)
    } catch {
      if Task.isCancelled { return }
      let failure = error as? PlatformError ?? PlatformError(.internalError, "\(error)")
      attempt.latency.total = Int(stopwatch.now().microseconds - start.microseconds)
      log.record(attempt.records(nil, failure, at: call.hydrated.time))
      count("failed", call)
    }
  }

  /// With the vectors that were answered from, so that what differs is the model; read anew only where it takes other features.
  private func score(
    _ attempt: inout PredictAttempt, _ call: Answered
  ) async throws -> ScoredRows {
    let model = attempt.call.model
    let features = call.shadow.artifact.features
    var hydrated = call.hydrated
    if features != call.by.artifact.features, let vectors = attempt.call.vectors {
      hydrated = try GivenVectors.rows(
        vectors.gather(attempt.places), for: call.shadow.artifact, at: call.hydrated.time)
    } else if features != call.by.artifact.features {
      hydrated = try await hydrator.hydrate(
        HydrateRequest(
          vector: features, inputs: model.inputs, entities: model.entities, rows: attempt.rows))
    }
    attempt.hydrated = hydrated
    let columns = try MissingFeatures.resolve(model.missing, hydrated, model: model.name)
      .flattened(as: features, missing: model.missing)
    attempt.isScoring = true
    let scored = try await engine.score(call.shadow.key, columns, timeout: Self.timeout)
    guard scored.values.count == attempt.rows.count else {
      throw PlatformError(
        .userCode,
        "\(call.shadow.key) answered \(scored.values.count) numbers for \(attempt.rows.count) rows")
    }
    attempt.isScoring = false
    return scored
  }

  private func count(_ outcome: String, _ call: Answered) {
    Counter(
      label: "martlet_shadow_total",
      dimensions: [
        ("model", call.shadow.key.model), ("version", String(call.shadow.version)),
        ("outcome", outcome),
      ]
    ).increment(by: call.attempt.rows.count)
  }
}
