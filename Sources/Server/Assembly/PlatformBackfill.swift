import Core
import Features
import Jobs
import Workers

extension BackfillSteps {
  /// Job → online state, or transform columns and the views that are made of them, computed anew.
  init(
    _ online: OnlineState, _ ingestor: Ingestor, _ warehouse: any Warehouse, _ workers: WorkerPool
  ) {
    self.init(
      run: { run, report in
        guard let source = run.backfill?.source else {
          let request = RebuildRequest(view: run.model, rowsPerSecond: run.backfill?.rowsPerSecond)
          let generation = try await online.rebuild(request) { try await report.progress($0.text) }
          let isRanged = run.backfill?.from != nil || run.backfill?.to != nil
          return try await report.progress(
            "generation \(generation) is read"
              + (isRanged ? ", made of all events: there is no transform to run over a range" : ""))
        }
        let backfill = ColumnBackfill(
          online: online, ingestor: ingestor,
          transform: WorkerTransform(pool: workers, definitions: online.visible) {
            report.say(TaskLine($0))
          },
          say: { report.say(TaskLine(level: "info", logger: "martlet", message: $0)) })
        let text = try await backfill.run(
          ColumnBackfillRequest(
            source: source, job: run.id, from: run.backfill?.from, to: run.backfill?.to,
            rowsPerSecond: run.backfill?.rowsPerSecond)
        ) { try await report.progress($0) }
        // Which events lack which columns has changed.
        if let warehouse = warehouse as? any FeatureTablePublishing {
          try await warehouse.publishFeatures(Array(online.visible.current.layouts.values))
        }
        try await report.progress(text)
      },
      abandon: { run in
        if run.backfill?.source != nil {
          try await ColumnBackfill.abandon(run.id, in: warehouse)
        } else {
          try await online.abandonRebuild(of: run.model)
        }
      })
  }
}

/// A backfill as a transport asks for it.
struct BackfillCall: Sendable {
  /// A view, a feature of one, or `source:NAME`.
  var target: String
  var reason: String
  var rowsPerSecond: Int64?
  /// Events that happened in `[from, to)`.
  var from: Timestamp?
  var to: Timestamp?

  init(
    _ target: String, reason: String?, rowsPerSecond: Int64?, from: Timestamp? = nil,
    to: Timestamp? = nil
  ) {
    self.target = target
    self.reason = reason.flatMap { $0.isEmpty ? nil : $0 } ?? "asked for"
    self.rowsPerSecond = rowsPerSecond
    self.from = from
    self.to = to
  }

  private static let sourcePrefix = "source:"

  /// The job that does it.
  func job(_ snapshot: Snapshot) throws -> NewJob {
    if let rowsPerSecond, rowsPerSecond < 1 {
      throw PlatformError(
        .invalidArgument, "'rows_per_second' must be at least 1, not \(rowsPerSecond)")
    }
    if let from, let to, from >= to {
      throw PlatformError(.invalidArgument, "'from' (\(from)) must be before 'to' (\(to))")
    }
    var parameters = BackfillParameters(rowsPerSecond: rowsPerSecond, from: from, to: to)
    if target.hasPrefix(Self.sourcePrefix) {
      let name = String(target.dropFirst(Self.sourcePrefix.count))
      try check(source: name, snapshot)
      parameters.source = name
      return NewJob(backfillOf: name, reason: reason, parameters)
    }
    let view = try view(snapshot)
    if from != nil || to != nil, let name = snapshot.layouts[view]?.source,
      snapshot.project.source(name)?.transform != nil
    {
      // What a range chooses are the columns of its events, which all views of the source share.
      parameters.source = name
    }
    return NewJob(backfillOf: view, reason: reason, parameters)
  }

  private func check(source name: String, _ snapshot: Snapshot) throws {
    let sources = snapshot.project.sources.map(\.name)
    guard let source = snapshot.project.source(name) else {
      throw PlatformError(
        .notFound, "there is no source '\(name)'\(suggestion(for: name, among: sources))")
    }
    guard source.transform != nil else {
      throw PlatformError(
        .failedPrecondition,
        "source '\(name)' has no transform, so that nothing of its events can be computed anew; give it one in martlet.yaml and apply, or name a view"
      )
    }
  }

  private func view(_ snapshot: Snapshot) throws -> String {
    let (view, feature) = FeatureName(target).map { ($0.view, $0.feature) } ?? (target, nil)
    let views = snapshot.project.views.map(\.name)
    guard let layout = snapshot.layouts[view] else {
      if snapshot.project.source(view) != nil {
        throw PlatformError(
          .notFound,
          "there is no view '\(view)'; write '\(Self.sourcePrefix)\(view)' for the columns that the transform of source '\(view)' makes"
        )
      }
      throw PlatformError(
        .notFound, "there is no view '\(view)'\(suggestion(for: view, among: views))")
    }
    let features = layout.readers.map(\.name)
    if let feature, !features.contains(feature) {
      throw PlatformError(
        .notFound,
        "there is no feature '\(feature)' in view '\(view)'\(suggestion(for: feature, among: features))"
      )
    }
    return view
  }
}
