import Core
import Synchronization

/// What a model learns from: its vector and label for every spine row, sorted by time.
package struct ModelTrainingSet: Sendable {
  /// The model's vector, in order; numbers and truth values as doubles.
  package var features: ColumnBatch
  package var label: [Double]
  /// Microseconds since the epoch, the time of each spine row.
  package var times: [Int64]
  package var record: TrainingSetRecord
  /// What the spine brought: keys, inputs and times, row by row.
  package var spine: ColumnBatch
  /// Spine rows left out because their label is not known.
  package var unlabelled: Int
}

/// Builds training sets: spine → labels → features as of each row's own time (semantics §7).
///
/// Guarantees: no feature knows anything after its row's time, no label anything after `asOf`; the
/// same data and definitions
/// give the same rows, in the same order, with the same hash.
package struct TrainingSetBuilder: Sendable {
  private let warehouse: any Warehouse

  package init(warehouse: any Warehouse) { self.warehouse = warehouse }

  /// The training set as it could be built at `asOf`.
  ///
  /// Spine rows lie in [asOf − data, asOf − label delay]; of several label events of a row the
  /// newest that happened by `asOf` counts;
  /// rows without a label are left out. Values that the model's policy states for missing features
  /// are filled in, as in a
  /// prediction.
  ///
  /// - Parameter bound: what of the stored events counts; nil is all.
  /// - Throws: `.failedPrecondition` where the model has no spine or label, or no row has a label;
  ///   `.invalidDefinition` for a
  ///   label that is no number.
  package func build(
    _ model: ModelDefinition, asOf: Timestamp, snapshot: Snapshot, within bound: StoredBound? = nil
  ) async throws -> ModelTrainingSet {
    let plan = try TrainingSetPlan(model, asOf: asOf, snapshot: snapshot)
    let scan = HistoryScan(warehouse).within(bound)
    let spine = try await rows(of: plan, within: bound)
    let labels = try await TrainingSetLabels(plan, scan: scan).read(for: spine)
    let known = labels.indices.filter { labels[$0] != nil }
    guard !known.isEmpty else {
      throw plan.nothing("none of the \(spine.count) rows has a label yet")
    }
    let rows = known.count == spine.count ? spine : spine.gather(known)
    let joined = try await PointInTimeJoin(scan).run(
      spine: rows, time: TrainingSetPlan.timeName, features: plan.storedFeatures,
      mode: .asCorrected, snapshot: snapshot)
    let features = model.missing.filled(plan.vector(from: joined.columns))
    guard case .timestamp(let times)? = rows[TrainingSetPlan.timeName]?.values else {
      throw plan.nothing("the column '\(plan.spine.time)' has no times")
    }
    let label = known.compactMap { labels[$0] }
    let record = TrainingSetRecord(
      definitionsVersion: snapshot.definitionsVersion, asOf: asOf, rows: rows.count,
      evaluationFrom: Self.evaluationStart(times, holdout: model.train?.holdout ?? 0.2),
      hash: TrainingSetHash.of(features, label: label, times: times),
      origin: try await TrainingSetOriginReader(
        warehouse: warehouse, plan: plan, snapshot: snapshot
      ).read())
    return ModelTrainingSet(
      features: features, label: label, times: times, record: record, spine: rows,
      unlabelled: spine.count - rows.count)
  }

  /// The spine's rows in the range of time, sorted by time, equal times by arrival.
  private func rows(
    of plan: TrainingSetPlan, within bound: StoredBound?
  ) async throws -> ColumnBatch {
    let batches = Mutex<[ColumnBatch]>([])
    let cells = try await StoredCells(
      of: plan.source.name, asOf: bound?.recomputed, in: warehouse)
    let (sql, parameters) = plan.spineQuery(within: bound, from: cells.table)
    try await warehouse.stream(sql, parameters) { batch in
      let batch = copy batch
      batches.withLock { $0.append(batch) }
    }
    guard let rows = ColumnBatch(joining: batches.withLock { $0 }) else {
      let range = plan.range
      let from = range.first.map { " from \($0)" } ?? ""
      throw plan.nothing(
        "source '\(plan.source.name)' has no events with \(plan.spine.time)\(from) to \(range.last)"
      )
    }
    return rows
  }

  /// The first row of the last `holdout` share; rows of one time are never parted.
  static func evaluationStart(_ times: [Int64], holdout: Double) -> Int {
    guard let first = times.first else { return 0 }
    let share = Int((Double(times.count) * holdout).rounded())
    var start = max(0, min(times.count - 1, times.count - share))
    while start > 0, times[start - 1] == times[start] { start -= 1 }
    if start == 0 { start = times.firstIndex { $0 != first } ?? times.count }
    return start
  }
}
