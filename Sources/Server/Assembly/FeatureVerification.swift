import Catalog
import Core
import Features
import Foundation
import Metrics
import Synchronization

/// What is verified, as a transport asks for it.
struct VerificationCall: Sendable {
  enum Sample: Sendable {
    /// Logged predictions of the last `window`; nil takes every model.
    case logged(model: String?, window: Span)
    /// Features of random known keys, read now; no views are all.
    case live(views: [String])
  }

  /// The most vectors of one run (of each view, when live).
  static let maximumVectors: Int64 = 100_000

  var sample: Sample
  var vectors: Int
  /// The share of differing values that is borne.
  var threshold: Double

  /// - Parameters: as the caller wrote them; nil and empty texts take the default.
  init(
    isLive: Bool, model: String?, window: String?, views: [String], vectors: Int64?,
    threshold: Double?
  ) throws {
    if isLive {
      if let model, !model.isEmpty {
        throw PlatformError(
          .invalidArgument, "'model' chooses logged predictions; a live check takes 'views'")
      }
      sample = .live(views: views)
    } else {
      if !views.isEmpty {
        throw PlatformError(
          .invalidArgument, "'views' belong to a live check; logged predictions take 'model'")
      }
      let text = window.flatMap { $0.isEmpty ? nil : $0 } ?? "24h"
      guard let span = Span(text) else {
        throw PlatformError(
          .invalidArgument, "'window' must be a length of time like 24h, not '\(text)'")
      }
      sample = .logged(model: model.flatMap { $0.isEmpty ? nil : $0 }, window: span)
    }
    let wanted = vectors ?? 1_000
    guard (1...Self.maximumVectors).contains(wanted) else {
      throw PlatformError(
        .invalidArgument,
        "'sample' must be a number from 1 to \(Self.maximumVectors), not \(wanted)"
      )
    }
    self.vectors = Int(wanted)
    let threshold = threshold ?? 0
    guard (0...1).contains(threshold) else {
      throw PlatformError(
        .invalidArgument, "'threshold' is a share from 0 to 1, not \(threshold)")
    }
    self.threshold = threshold
  }
}

/// What came of a verification.
struct VerificationOutcome: Sendable {
  var report = ParityCheck.Report()
  /// Values of the window that were served by other definitions than those in force, which cannot be recomputed by them; also
  /// what a model derived from such, or from inputs that were not logged.
  var ofFormerDefinitions = 0
  var threshold = 0.0

  /// Nothing that was compared proves nothing.
  var isPassed: Bool { report.comparedValues > 0 && report.mismatchShare <= threshold }
}

/// Samples served feature vectors, from the prediction log or by asking now, and checks their parity with the warehouse.
struct FeatureVerification {
  /// Keys that are read at one instant by a live check.
  private static let probesAtOnce = 500

  let services: PlatformServices

  func run(_ call: VerificationCall) async throws -> VerificationOutcome {
    var outcome =
      switch call.sample {
      case .logged(let model, let window): try await logged(model, window, call.vectors)
      case .live(let views): try await live(views, call.vectors)
      }
    outcome.threshold = call.threshold
    record(outcome.report)
    return outcome
  }

  /// Recomputes a random sample of logged predictions.
  private func logged(
    _ model: String?, _ window: Span, _ count: Int
  ) async throws -> VerificationOutcome {
    if let model { try services.requireModel(model) }
    try await services.log.flush()
    let snapshot = services.online.visible.current
    let read = snapshot.project.models.filter { model == nil || $0.name == model }
      .flatMap { $0.features.compactMap { FeatureName($0.name)?.view } }
    try await services.online.requireWhole(Set(read).sorted(), to: "verify them")
    let since = try await inForceSince(snapshot)
    let name = model.map { Value.string($0) } ?? .null
    let rows = try await services.warehouse.query(
      """
      SELECT request_id, model_id, model_version, entity_keys, model_inputs, request_inputs, event_datetime FROM (
        SELECT * FROM model_logs WHERE model_inputs IS NOT NULL AND model_inputs <> '[]' AND entity_keys <> 'null'
          AND event_datetime >= ? AND (? IS NULL OR model_id = ?))
      USING SAMPLE reservoir(\(count) ROWS)
      """, [.timestamp(services.clock.now - window), name, name], as: LoggedVector.self)
    var outcome = VerificationOutcome()
    var served: [ParityCheck.Served] = []
    let models = services.catalog.changes.current.models
    for row in rows {
      var vector = try row.served(snapshot, models)
      let all = vector.values.count + row.derivedCount(models)
      let known = vector.values.filter {
        since[$0.key.view].map { $0 <= vector.time } ?? false
      }
      vector.values = known
      vector.derived = vector.derived.filter { derived in
        derived.expression.names.compactMap { FeatureName($0) }.allSatisfy { known[$0] != nil }
      }
      outcome.ofFormerDefinitions += all - vector.values.count - vector.derived.count
      if !vector.values.isEmpty || !vector.derived.isEmpty { served.append(vector) }
    }
    outcome.report = try await ParityCheck(warehouse: services.warehouse, clock: services.clock)
      .run(
        served, snapshot: snapshot)
    return outcome
  }

  /// By view, since when it has been defined as it is now.
  private func inForceSince(_ snapshot: Snapshot) async throws -> [String: Timestamp] {
    var since: [String: Timestamp] = [:]
    var open = snapshot.layouts
    for applied in try await services.catalog.history() {
      let former = Snapshot(
        version: 0, definitionsVersion: applied.version, definitionsDigest: applied.digest,
        projectDirectory: applied.projectDirectory, project: applied.project, models: [:])
      for (view, layout) in open {
        if former.layouts[view] == layout {
          since[view] = applied.appliedAt
        } else {
          open[view] = nil
        }
      }
      if open.isEmpty { break }
    }
    for (view, time) in services.online.visibleSince {
      if let known = since[view] { since[view] = max(known, time) }
    }
    return since
  }

  /// Asks for the features of random known keys, and recomputes them as of that instant.
  private func live(_ views: [String], _ count: Int) async throws -> VerificationOutcome {
    let snapshot = services.online.visible.current
    let known = snapshot.project.views.map(\.name)
    for view in views where !known.contains(view) {
      throw PlatformError(
        .notFound, "there is no view '\(view)'\(suggestion(for: view, among: known))")
    }
    let wanted = known.filter { views.isEmpty || views.contains($0) }
    try await services.online.requireWhole(wanted, to: "verify them")
    var outcome = VerificationOutcome()
    for view in snapshot.project.views where views.isEmpty || views.contains(view.name) {
      guard let layout = snapshot.layouts[view.name] else { continue }
      let rows = try await keys(of: layout, count)
      let names = plainFeatures(of: view, snapshot)
      for start in stride(from: 0, to: rows.count, by: Self.probesAtOnce) {
        let some = Array(rows[start..<min(start + Self.probesAtOnce, rows.count)])
        let answer = try await services.hydrator.hydrate(
          HydrateRequest(features: names, rows: some))
        let served = zip(some, answer.vectors).enumerated().map { number, found in
          ParityCheck.Served(
            id: "\(view.name) #\(start + number + 1)", keys: found.0, time: answer.time,
            values: Dictionary(uniqueKeysWithValues: zip(names, found.1.values)))
        }
        outcome.report.add(
          try await ParityCheck(warehouse: services.warehouse, clock: services.clock).run(
            served, snapshot: snapshot))
      }
    }
    return outcome
  }

  /// Those that the view's own key is enough for: a derived feature may read views of other entities.
  private func plainFeatures(of view: ViewDefinition, _ snapshot: Snapshot) -> [FeatureName] {
    let keys = Set(snapshot.layouts[view.name]?.keyColumns ?? [])
    return view.features.map { FeatureName(view: view.name, feature: $0.name) }.filter { name in
      guard let needed = try? ParityCheck.keyColumns(of: name, snapshot) else { return false }
      return needed.isSubset(of: keys)
    }
  }

  private func keys(of layout: ViewLayout, _ count: Int) async throws -> [RequestRow] {
    // A view of everything has one key, which names nothing.
    if layout.keyColumns.isEmpty { return [[:]] }
    let columns = layout.keyColumns.map(EventTable.quoted)
    let gathered = Mutex<[RequestRow]>([])
    try await services.warehouse.stream(
      """
      SELECT * FROM (SELECT DISTINCT \(columns.joined(separator: ", "))
        FROM \(EventTable.quoted(EventTable.name(for: layout.source)))
        WHERE \(columns.map { "\($0) IS NOT NULL" }.joined(separator: " AND ")))
      USING SAMPLE reservoir(\(count) ROWS)
      """, []
    ) { batch in
      for row in 0..<batch.count {
        let one = RequestRow(uniqueKeysWithValues: batch.columns.map { ($0.name, $0[row]) })
        gathered.withLock { $0.append(one) }
      }
    }
    return gathered.withLock { $0 }
  }

  private func record(_ report: ParityCheck.Report) {
    let wrong = Dictionary(grouping: report.wrong, by: \.feature).mapValues(\.count)
    for (feature, compared) in report.compared {
      let labels = [("feature", feature.description)]
      Counter(label: "martlet_parity_compared_total", dimensions: labels).increment(
        by: Int64(compared))
      Counter(label: "martlet_parity_mismatch_total", dimensions: labels).increment(
        by: Int64(wrong[feature] ?? 0))
    }
  }
}
