import Core
import Synchronization

/// Finds why served values differ, by answering as if the newest events of their key had not come yet.
///
/// Where that gives what was served, those events had not reached the online store: they were in flight, or it is stale.
struct ParityCauses: Sendable {
  /// Vectors that are looked into; the others keep what the two values tell.
  static let maximumVectors = 200
  /// Arrivals that are taken back, one after the other, and events of a key that are read for it.
  private static let maximumCuts = 64
  private static let maximumEvents = 100_000

  let warehouse: any Warehouse
  let snapshot: Snapshot

  /// What one view knows of the vector's key.
  private struct Past {
    var view: PointInTimeJoinPlan.View
    /// By arrival.
    var events: [PendingEvent]

    /// The key's state without the events that arrived at `cut` or later; nil where none is left.
    func state(before cut: Int64) -> EntityState? {
      var state = EntityState(layout: view.layout)
      state.pending = events.filter { $0.createdAt < cut }
      return state.pending.isEmpty ? nil : state
    }
  }

  func explain(
    _ mismatches: inout [ParityCheck.Mismatch], of vector: ParityCheck.Served
  ) async throws {
    let plan = try PointInTimeJoinPlan(mismatches.map(\.feature), snapshot: snapshot)
    var past: [Past] = []
    for view in plan.views {
      guard let events = try await events(of: view, vector) else { return }
      past.append(Past(view: view, events: events))
    }
    let arrivals = Set(past.flatMap { $0.events.map(\.createdAt) }).sorted(by: >)
    var open = mismatches.indices.filter { mismatches[$0].cause.counts }
    for cut in arrivals.prefix(Self.maximumCuts) {
      let answers = answers(plan, past, before: cut, at: vector.time)
      open.removeAll { index in
        let served = mismatches[index].served
        guard var answer = answers[mismatches[index].feature] else { return false }
        if case .derived? = reader(of: mismatches[index].feature) { answer.status = served.status }
        guard ParityCheck.agrees(served, answer) else { return false }
        let isInFlight = cut >= (vector.time - ParityCheck.inFlight).microseconds
        let isMissing = served.status == .notFound
        mismatches[index].cause =
          isInFlight ? .inFlight : isMissing ? .missingOnline : .staleOnline
        return true
      }
      if open.isEmpty { return }
    }
  }

  private func reader(of name: FeatureName) -> ViewLayout.Reader? {
    snapshot.layouts[name.view]?.readers.first { $0.name == name.feature }?.reader
  }

  /// All features of the plan, by the events that had arrived before `cut`.
  private func answers(
    _ plan: PointInTimeJoinPlan, _ past: [Past], before cut: Int64, at time: Timestamp
  ) -> [FeatureName: FeatureValue] {
    var answers: [FeatureName: FeatureValue] = [:]
    for one in past {
      let layout = one.view.layout
      let readers = one.view.wanted.compactMap { wanted in
        layout.readers.firstIndex { $0.name == wanted.name.feature }
      }
      let values = FeatureReader(layout, readers: readers).read(one.state(before: cut), at: time)
      for (wanted, value) in zip(one.view.wanted, values) { answers[wanted.name] = value }
    }
    for derived in plan.derived {
      let column = derived.expression.evaluate(count: 1) { operand in
        let name = FeatureName(operand, in: derived.name.view)
        guard let answer = answers[name],
          let type = snapshot.layouts[name.view]?.readers.first(where: { $0.name == name.feature })?
            .type
        else { return nil }
        return Column(name: operand, type: type, [answer.value])
      }
      var value = column[0]
      if derived.type == .double, case .int64(let whole) = value { value = .double(Double(whole)) }
      answers[derived.name] = FeatureValue(value: value, status: .present)
    }
    return answers
  }

  /// The events of the vector's key that count at its time; nil where there are too many to look into.
  private func events(
    of view: PointInTimeJoinPlan.View, _ vector: ParityCheck.Served
  ) async throws -> [PendingEvent]? {
    let layout = view.layout
    let parts = zip(layout.keyColumns, layout.keyTypes).map { name, type in
      (vector.keys[name] ?? .null).asKey(of: type)
    }
    if parts.contains(where: \.isNull) { return [] }
    let source = view.source.name
    let inForce = try await Recomputations(warehouse: warehouse).inForce(of: [source])
    let cells = try await StoredCells(
      of: source, asOf: inForce.last(by: vector.time), in: warehouse)
    let query = try await ReplayQuery(
      view.source, layouts: [layout], warehouse: warehouse, cells: cells)
    let isOfKey = layout.keyColumns.map { " AND \(quoted($0)) = ?" }.joined()
    let found = Mutex<[PendingEvent]>([])
    try await warehouse.stream(
      query.sql + isOfKey + " AND created_at <= ? AND event_timestamp <= ? "
        + "LIMIT \(Self.maximumEvents + 1)",
      [.int64(.min), .int64(.max)] + parts + [.timestamp(vector.time), .timestamp(vector.time)]
    ) { batch in
      let writes = OnlinePipeline.writes(for: try query.events(of: batch), layouts: [layout])
      for write in writes {
        let events = write.keys.indices.map { PendingEvent(write, row: $0) }
        found.withLock { $0 += events }
      }
    }
    let events = found.withLock { $0 }
    return events.count > Self.maximumEvents ? nil : events
  }
}
