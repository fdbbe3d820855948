import Core
import Logging
import Metrics
import Synchronization

/// Compares live predictions with the baselines, on demand and on a ticker; stores, exports and acts on what it finds.
package final class DriftMonitor: Sendable {
  /// What monitoring needs of the orchestrator; the composition root fills it in.
  package struct Retraining: Sendable {
    package var file: @Sendable (Trigger) async throws -> Void
    package var isInFlight: @Sendable (String) async throws -> Bool
    package var lastTriggered: @Sendable (String) async throws -> Timestamp?

    package init(
      file: @escaping @Sendable (Trigger) async throws -> Void,
      isInFlight: @escaping @Sendable (String) async throws -> Bool,
      lastTriggered: @escaping @Sendable (String) async throws -> Timestamp?
    ) {
      self.file = file
      self.isInFlight = isInFlight
      self.lastTriggered = lastTriggered
    }
  }

  private let warehouse: any Warehouse
  private let blobs: any BlobStore
  private let snapshot: Published<Snapshot>
  private let retraining: Retraining
  private let clock: any WallClock
  private let log: Logger
  private let baselines = Mutex<[BlobDigest: Baseline]>([:])

  package init(
    warehouse: any Warehouse, blobs: any BlobStore, snapshot: Published<Snapshot>,
    retraining: Retraining, clock: any WallClock, log: Logger
  ) {
    self.warehouse = warehouse
    self.blobs = blobs
    self.snapshot = snapshot
    self.retraining = retraining
    self.clock = clock
    self.log = log
  }

  /// One round over every model that serves and has a drift rule; a model that fails does not stop the others.
  package func tick() async {
    let snapshot = snapshot.current
    for model in snapshot.project.models {
      guard let rule = model.drift, snapshot.production(of: model.name) != nil else { continue }
      do {
        let report = try await run(model: model.name, window: rule.window)
        try await act(on: report, rule)
      } catch {
        log.error("drift check failed", metadata: ["model": "\(model.name)", "error": "\(error)"])
      }
    }
  }

  /// Compares the last `window` (nil: the definition's, else one hour) of the production version's predictions with its baseline.
  package func run(model: String, window: Span?) async throws -> DriftReport {
    let snapshot = snapshot.current
    guard let definition = snapshot.project.model(model) else {
      throw PlatformError(
        .notFound,
        "there is no model '\(model)'\(suggestion(for: model, among: snapshot.project.models.map(\.name)))"
      )
    }
    guard let version = snapshot.production(of: model) else {
      throw PlatformError(
        .failedPrecondition,
        "model '\(model)' has no production version; train one and run `martlet models promote \(model) VERSION`"
      )
    }
    let end = clock.now
    let start = end - (window ?? definition.drift?.window ?? .hours(1))
    let baseline = try await baseline(version.baseline)
    let rows = try await LogReader(warehouse: warehouse).window(of: version, from: start, to: end)
    let report = DriftDetector.compare(
      baseline, window: rows, version: version.version, from: start, to: end)
    try await store(report)
    export(report)
    return report
  }

  private func act(on report: DriftReport, _ rule: DriftDefinition) async throws {
    let decision = TriggerPolicy.evaluate(
      report, rule, lastTriggered: try await retraining.lastTriggered(report.model),
      inFlight: try await retraining.isInFlight(report.model), now: clock.now)
    guard case .fire(let trigger) = decision else {
      log.debug(
        "drift looked at", metadata: ["model": "\(report.model)", "decision": "\(decision)"])
      return
    }
    log.notice("retraining", metadata: ["model": "\(report.model)", "reason": "\(trigger.reason)"])
    try await retraining.file(trigger)
  }

  private func baseline(_ digest: BlobDigest) async throws -> Baseline {
    if let known = baselines.withLock({ $0[digest] }) { return known }
    let baseline = try Baseline(decoding: try await blobs.get(digest))
    baselines.withLock { known in
      if known.count >= 64 { known.removeAll() }
      known[digest] = baseline
    }
    return baseline
  }

  private func store(_ report: DriftReport) async throws {
    guard !report.features.isEmpty else { return }
    var rows: [(feature: FeatureDrift, test: String, score: Double)] = []
    for feature in report.features {
      rows.append((feature, "psi", feature.psi))
      if let ks = feature.ks { rows.append((feature, "ks", ks)) }
    }
    func text(_ name: String, _ cell: (Int) -> String) -> Column {
      Column(name: name, values: .string(rows.indices.map(cell)))
    }
    func number(_ name: String, _ cell: (Int) -> Double) -> Column {
      Column(name: name, values: .double(rows.indices.map(cell)))
    }
    func time(_ name: String, _ value: Timestamp) -> Column {
      Column(name: name, values: .timestamp(rows.map { _ in value.microseconds }))
    }
    let batch = ColumnBatch(columns: [
      text("model_id") { _ in report.model },
      text("model_version") { _ in String(report.version) },
      text("feature") { rows[$0].feature.feature }, text("test") { rows[$0].test },
      number("score") { rows[$0].score },
      number("null_share") { rows[$0].feature.nullShare },
      number("baseline_null_share") { rows[$0].feature.baselineNullShare },
      Column(name: "rows", values: .int64(rows.map { _ in Int64(report.rows) })),
      time("window_start", report.windowStart), time("window_end", report.windowEnd),
      time("created_at", clock.now),
    ])
    try await warehouse.commit(WarehouseCommit(rows: [("drift_scores", batch)]))
  }

  private func export(_ report: DriftReport) {
    for feature in report.features {
      let labels = [("model", report.model), ("feature", feature.feature)]
      Gauge(label: "martlet_drift_score", dimensions: labels + [("test", "psi")]).record(
        feature.psi)
      if let ks = feature.ks {
        Gauge(label: "martlet_drift_score", dimensions: labels + [("test", "ks")]).record(ks)
      }
      Gauge(label: "martlet_null_share", dimensions: labels).record(feature.nullShare)
    }
  }
}
