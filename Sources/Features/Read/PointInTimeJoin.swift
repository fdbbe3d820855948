import Core
import Synchronization

/// Joins features to a spine as they were at each of its rows, with nothing from the future
/// (semantics §7).
///
/// Every source is streamed once, past an index of the spine; memory is bounded by the spine, never
/// by the history.
package struct PointInTimeJoin: Sendable {
  private let scan: HistoryScan

  package init(_ scan: HistoryScan) { self.scan = scan }

  /// The spine's rows, each once and in order, with one more column per feature.
  ///
  /// - Parameters:
  ///   - time: the spine's timestamp column.
  ///   - features: of any views; derived ones bring what they are made of.
  ///   - withStatuses: also tells why each value is what it is.
  /// - Throws: `.notFound` for unknown features, `.invalidArgument` for a spine that lacks a column
  ///   or has one of a wrong type.
  package static func run(
    spine: ColumnBatch, time: String, features: [FeatureName], mode: HistoryMode,
    snapshot: Snapshot, warehouse: any Warehouse, withStatuses: Bool = false
  ) async throws -> TrainingSet {
    try await PointInTimeJoin(HistoryScan(warehouse)).run(
      spine: spine, time: time, features: features, mode: mode, snapshot: snapshot,
      withStatuses: withStatuses)
  }

  package func run(
    spine: ColumnBatch, time: String, features: [FeatureName], mode: HistoryMode,
    snapshot: Snapshot, withStatuses: Bool = false
  ) async throws -> TrainingSet {
    let plan = try PointInTimeJoinPlan(features, snapshot: snapshot)
    let sources = plan.sources.map(\.name)
    var recomputations = try await scan.recomputations(sources)
    while true {
      let epochs = SpineEpochs(spine, time: time, mode: mode, recomputations)
      var parts: [TrainingSet] = []
      for epoch in epochs.parts {
        let seen = epoch.recomputed.map { scan.recomputed(through: $0) } ?? scan
        parts.append(
          try await PointInTimeJoin(seen).join(
            spine: epochs.isWhole ? spine : spine.gather(epoch.rows), time: time,
            features: features, mode: mode, snapshot: snapshot, withStatuses: withStatuses))
      }
      let after = try await scan.recomputations(sources)
      // Columns that were replaced while they were read may be of both sides.
      if after.map(\.number) == recomputations.map(\.number) { return epochs.joined(parts) }
      recomputations = after
    }
  }

  /// By one state of the events' cells.
  private func join(
    spine: ColumnBatch, time: String, features: [FeatureName], mode: HistoryMode,
    snapshot: Snapshot, withStatuses: Bool
  ) async throws -> TrainingSet {
    let plan = try PointInTimeJoinPlan(features, snapshot: snapshot)
    let columns = try SpineColumns(spine, time: time, features: features)
    let indexes = try columns.indexes(for: plan.views)
    var found = FoundFeatures(count: spine.count)
    for source in plan.sources {
      try await read(
        source, plan.views.filter { $0.source.name == source.name }, indexes, mode,
        withStatuses: withStatuses, into: &found)
    }
    for derived in plan.derived {
      let places = plan.view(derived.name.view).flatMap { indexes[$0.keyName]?.places }
      found.evaluate(derived, isNull: places.map { $0.map { $0 < 0 } } ?? columns.isTimeNull)
    }
    return TrainingSet(
      columns: ColumnBatch(
        columns: spine.columns + Self.once(features).compactMap { found.columns[$0] },
        count: spine.count),
      statuses: withStatuses ? found.statuses : nil,
      report: TrainingSet.Report(
        rows: spine.count, nullKeyOrTime: columns.incompleteRows(indexes.values),
        eventsRead: found.eventsRead))
  }

  /// A table has one column for a feature, however often it is asked for.
  private static func once(_ features: [FeatureName]) -> [FeatureName] {
    var seen = Set<FeatureName>()
    return features.filter { seen.insert($0).inserted }
  }

  /// Streams one source past all the views that read it.
  private func read(
    _ source: SourceDefinition, _ views: [PointInTimeJoinPlan.View],
    _ indexes: [String: SpineIndex], _ mode: HistoryMode, withStatuses: Bool,
    into found: inout FoundFeatures
  ) async throws {
    let request = try await request(source, views, indexes, mode, withStatuses)
    let passing = views.compactMap { view in
      indexes[view.keyName].map { index in
        HistoryView(
          layout: view.layout, wanted: view.wanted, index: index, mode: mode,
          hasAbsentCells: request?.withAbsent ?? false, withStatuses: withStatuses)
      }
    }
    let state = Mutex((views: passing, events: 0))
    if let request {
      try await scan.stream(request) { batch in
        guard let events = HistoryEvents(batch) else {
          throw PlatformError(
            .storage,
            "the table of source '\(source.name)' lacks the platform's columns; see `martlet doctor`"
          )
        }
        state.withLock { state in
          state.events += events.count
          for view in state.views.indices { state.views[view].take(events) }
        }
      }
    }
    state.withLock { state in
      found.eventsRead += state.events
      for view in state.views.indices { found.add(state.views[view].finish()) }
    }
  }

  /// What to read of a source; nil where the spine has no row that could see anything.
  private func request(
    _ source: SourceDefinition, _ views: [PointInTimeJoinPlan.View],
    _ indexes: [String: SpineIndex], _ mode: HistoryMode, _ withStatuses: Bool
  ) async throws -> HistoryRequest? {
    let request = HistoryRequest(
      source: source, views: views, indexes: indexes, mode: mode, isPruned: !withStatuses)
    guard var request, views.contains(where: \.readsLatest) else { return request }
    request.withAbsent = try await scan.hasAbsentCells(request)
    return request
  }
}

/// Feature columns by name, as they come together.
private struct FoundFeatures {
  let count: Int
  var columns: [FeatureName: Column] = [:]
  var statuses: [FeatureName: [FeatureStatus]] = [:]
  var eventsRead = 0

  init(count: Int) { self.count = count }

  mutating func add(_ read: [(name: FeatureName, column: Column, statuses: [FeatureStatus])]) {
    for one in read {
      columns[one.name] = one.column
      statuses[one.name] = one.statuses
    }
  }

  mutating func evaluate(_ derived: PointInTimeJoinPlan.Derived, isNull: [Bool]) {
    var column = derived.expression.evaluate(count: count) { name in
      columns[FeatureName(name, in: derived.name.view)]
    }
    column.name = derived.name.description
    if derived.type == .double, case .int64(let whole) = column.values {
      column.values = .double(whole.map { Double($0) })
    }
    if isNull.contains(true) {
      var presence = column.presence ?? [UInt8](repeating: 0, count: count)
      for row in 0..<count where isNull[row] { presence[row] = Presence.null.rawValue }
      column.presence = presence
    }
    columns[derived.name] = column
  }
}
