import Core
import Synchronization

/// Finds the label of every spine row.
struct TrainingSetLabels {
  private let plan: TrainingSetPlan
  private let scan: HistoryScan

  init(_ plan: TrainingSetPlan, scan: HistoryScan) {
    self.plan = plan
    self.scan = scan
  }

  /// By row; nil where there is no label event, or its value is null or NaN.
  func read(for spine: ColumnBatch) async throws -> [Double?] {
    guard let join = plan.label.join else {
      return try numbers(plan.label.value.evaluate(count: spine.count) { spine[$0] })
    }
    let (found, hasLabel) = try await newest(join, for: spine)
    let values = try numbers(plan.label.value.evaluate(count: spine.count) { found[$0] })
    return values.indices.map { hasLabel[$0] ? values[$0] : nil }
  }

  /// By spine row, the newest label event of its join value up to the as-of time (semantics §2).
  private func newest(
    _ join: String, for spine: ColumnBatch
  ) async throws -> (found: ColumnBatch, hasLabel: [Bool]) {
    // The join field may be the id of the event, which is text.
    let stored = plan.labelSource.stored(join)
    guard let own = spine[join], let stored, stored != "event_timestamp",
      own.type == plan.labelSource.column(stored)?.type ?? .string
    else {
      throw PlatformError(
        .invalidDefinition,
        "model '\(plan.model.name)' joins labels by '\(join)', which must be a field of one type in its spine source and in '\(plan.label.source)'"
      )
    }
    let asOf = Column(
      name: TrainingSetPlan.timeName,
      values: .timestamp([Int64](repeating: plan.asOf.microseconds, count: spine.count)))
    let index = SpineIndex(keyColumns: [own], types: [own.type], time: asOf, count: spine.count)
    let columns = plan.label.value.names.compactMap { plan.labelSource.column($0) }
    let state = Mutex(
      HistoryLatest(columns: columns, hasAbsentCells: false, places: index.times.count))
    let names = [stored] + columns.map(\.name).filter { $0 != stored }
    let request = HistoryRequest(
      source: plan.labelSource, columns: names, withAbsent: false, through: plan.asOf)
    try await scan.stream(request) { batch in
      guard let events = HistoryEvents(batch), let keys = events.batch[stored] else { return }
      let numbers = index.keys.find([keys], count: events.count)
      let places = index.firstPlaces(of: events, keys: numbers, mode: .asCorrected)
      state.withLock { $0.take(events, places: places) }
    }
    var latest = state.withLock { $0 }
    latest.finish(index)
    let read = columns.indices.map {
      latest.read(column: $0, ttl: nil, name: columns[$0].name, index: index).column
    }
    let hasLabel = index.places.map { $0 >= 0 && latest.hasEvents(at: Int($0)) }
    return (ColumnBatch(columns: read, count: spine.count), hasLabel)
  }

  private func numbers(_ column: Column) throws -> [Double?] {
    switch column.type {
    case .bool, .int64, .double:
      return (0..<column.count).map { row in
        column[row].number.flatMap { $0.isNaN ? nil : $0 }
      }
    case .string, .timestamp, .array:
      throw PlatformError(
        .invalidDefinition,
        "the label of model '\(plan.model.name)' is \(column.type.rawValue); write an expression that is a number or a bool, as in `value: arr_delay > 15`"
      )
    }
  }
}
