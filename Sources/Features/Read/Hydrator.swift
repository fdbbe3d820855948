import Core
import Synchronization

/// Reads the features of entity keys as they are now: the first step of every prediction.
///
/// Guarantees: all values of a call are of one instant and one snapshot of the definitions (semantics §8); one read of the
/// store for each view, whatever the number of rows; no waiting but for the store.
package final class Hydrator: Sendable {
  private struct Plans {
    var edition: Snapshot.Edition
    var bySelection: [HydrateSelection: HydrationPlan] = [:]
  }

  /// Plans that are kept; callers have few distinct lists of features, and a stranger's lists must not fill the memory.
  private static let maximumPlans = 512

  private let snapshots: Published<Snapshot>
  private let store: any OnlineStore
  private let clock: any WallClock
  private let plans = Mutex(Plans(edition: Snapshot.Edition(version: -1, build: 0)))

  /// - Parameter snapshots: the definitions whose views the store has; see `OnlineState.visible`.
  package init(snapshots: Published<Snapshot>, store: any OnlineStore, clock: any WallClock) {
    self.snapshots = snapshots
    self.store = store
    self.clock = clock
  }

  /// The features of every row, in the order of the request.
  ///
  /// - Throws: `not_found` for an unknown view or feature, `invalid_argument` for a row without a key column, with one that no
  ///   feature asked for is keyed by, or with a value of another type.
  package func hydrate(_ request: HydrateRequest) async throws -> HydratedRows {
    var snapshot = snapshots.current
    while true {
      do {
        return try await hydrate(request.rows, by: plan(request.selection, snapshot))
      } catch let error as PlatformError where error.code == .failedPrecondition {
        // A view that changed since: its old states are gone once the new definitions are visible.
        let newer = snapshots.current
        guard newer.edition != snapshot.edition else { throw error }
        snapshot = newer
      }
    }
  }

  /// What a selection is made of under the current definitions; throws as `hydrate` does.
  package func plan(_ selection: HydrateSelection) throws -> HydrationPlan {
    try plan(selection, snapshots.current)
  }

  private func plan(_ selection: HydrateSelection, _ snapshot: Snapshot) throws -> HydrationPlan {
    let known = plans.withLock { plans in
      plans.edition == snapshot.edition ? plans.bySelection[selection] : nil
    }
    if let known { return known }
    let plan = try HydrationPlan(selection, snapshot: snapshot)
    plans.withLock { plans in
      if plans.edition != snapshot.edition || plans.bySelection.count >= Hydrator.maximumPlans {
        plans = Plans(edition: snapshot.edition)
      }
      plans.bySelection[selection] = plan
    }
    return plan
  }

  private func hydrate(_ rows: [RequestRow], by plan: HydrationPlan) async throws -> HydratedRows {
    try plan.names.check(rows)
    let keys = try plan.keys.map { key in
      try rows.enumerated().map { try key.value(in: $1, row: $0) }
    }
    let blank = FeatureValue(value: .null, status: .notFound)
    var cells = rows.map { _ in [FeatureValue](repeating: blank, count: plan.types.count) }
    // By key the rows that have one; nil where all of them have.
    let present = keys.map { keys in
      keys.contains { $0 == nil } ? keys.indices.filter { keys[$0] != nil } : nil
    }
    let reads = plan.views.map { view in
      OnlineRead(view: view.storageName, keys: keys[view.key].compactMap { $0 })
    }
    var time: Timestamp?
    try await store.read(reads) { read, key, state in
      // Taken when the states are there, so that no event of them is dated after it.
      let now = time ?? clock.now
      time = now
      let view = plan.views[read]
      view.read(state, at: now, into: &cells[present[view.key]?[key] ?? key])
    }
    for input in plan.inputs {
      for row in rows.indices { cells[row][input.cell] = try input.value(in: rows[row], row: row) }
    }
    if !plan.derived.isEmpty { plan.evaluate(&cells, keys: keys) }
    if plan.types.count > plan.features.count {
      for row in cells.indices { cells[row].removeLast(plan.types.count - plan.features.count) }
    }
    return HydratedRows(
      features: plan.features, vectors: cells.map(FeatureVector.init), time: time ?? clock.now)
  }
}

extension HydrationPlan.View {
  fileprivate func read(_ state: EntityState?, at time: Timestamp, into row: inout [FeatureValue]) {
    row.withUnsafeMutableBufferPointer { row in
      reader.read(state, at: time) { index, value in row[cells[index]] = value }
    }
  }
}

extension HydrationPlan {
  /// Evaluates the derived features of all rows at once.
  fileprivate func evaluate(_ rows: inout [[FeatureValue]], keys: [[EntityKey?]]) {
    var columns = [Column?](repeating: nil, count: types.count)
    for step in derived {
      for (_, cell) in step.names where columns[cell] == nil {
        columns[cell] = Column(name: "", type: types[cell], rows.map { $0[cell].value })
      }
      let result = step.expression.evaluate(count: rows.count) { name in
        step.names.first { $0.name == name }.flatMap { columns[$0.cell] }
      }
      for row in rows.indices {
        if let key = step.key, keys[key][row] == nil { continue }
        rows[row][step.cell] = step.value(of: result[row].widened(to: step.type), from: rows[row])
      }
    }
  }
}

extension HydrationPlan.Derived {
  /// The status of a derived value follows from what it was made of: `not_found` where nothing of it was found, and for
  /// a null `expired` where a part had expired.
  fileprivate func value(of value: Value, from row: [FeatureValue]) -> FeatureValue {
    var newest: Timestamp?
    var isFound = names.isEmpty
    var isExpired = false
    for (_, cell) in names {
      let part = row[cell]
      if part.status != .notFound { isFound = true }
      if part.status == .expired { isExpired = true }
      if let time = part.eventTimestamp { newest = max(newest ?? time, time) }
    }
    let status: FeatureStatus =
      if !isFound { .notFound } else if !value.isNull { .present } else if isExpired {
        .expired
      } else { .null }
    return FeatureValue(value: value, status: status, eventTimestamp: newest)
  }
}

extension Value {
  /// An int64 as a double where the feature is one.
  fileprivate func widened(to type: ColumnType) -> Value {
    if type == .double, case .int64(let number) = self { .double(Double(number)) } else { self }
  }
}
