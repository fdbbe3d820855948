import Core
import Synchronization

/// Finds out what a training set was made from, once it has been built.
///
/// Ranges are read after the rows: events that came while it was built are inside, so every event
/// that was used lies within; they bound what was read and do not list it.
struct TrainingSetOriginReader {
  let warehouse: any Warehouse
  let plan: TrainingSetPlan
  let snapshot: Snapshot

  func read() async throws -> TrainingSetOrigin {
    let sources = try PointInTimeJoinPlan(plan.storedFeatures, snapshot: snapshot).sources
    var events = [try await range(of: plan.source, for: "spine", time: spineTime, plan.range)]
    if plan.label.join != nil {
      events.append(
        try await range(
          of: plan.labelSource, for: "label", time: TrainingSetPlan.timeName, (nil, plan.asOf)))
    }
    for source in sources {
      events.append(
        try await range(
          of: source, for: "features", time: TrainingSetPlan.timeName, (nil, plan.range.last)))
    }
    var transformed: [SourceDefinition] = []
    for source in sources + [plan.source, plan.labelSource]
    where !transformed.contains(where: { $0.name == source.name }) {
      transformed.append(source)
    }
    let references =
      transformed.compactMap(\.transform) + (plan.model.train.map { [$0.run] } ?? [])
    return TrainingSetOrigin(events: events, code: await codes(references))
  }

  private var spineTime: String {
    plan.source.stored(plan.spine.time) ?? TrainingSetPlan.timeName
  }

  private func range(
    of source: SourceDefinition, for use: String, time: String,
    _ range: (first: Timestamp?, last: Timestamp)
  ) async throws -> TrainingSetOrigin.Events {
    var sql = """
      SELECT count(*) AS events, min(event_timestamp) AS first, max(event_timestamp) AS last, \
      min(sequence) AS first_sequence, max(sequence) AS last_sequence \
      FROM \(quoted("events_\(source.name)")) WHERE \(quoted(time)) <= ?
      """
    var parameters: [Value] = [.timestamp(range.last)]
    if let first = range.first {
      sql += " AND \(quoted(time)) >= ?"
      parameters.append(.timestamp(first))
    }
    let found = Mutex(
      TrainingSetOrigin.Events(
        source: source.name, use: use, count: 0, first: nil, last: nil, firstSequence: nil,
        lastSequence: nil))
    try await warehouse.stream(sql, parameters) { batch in
      guard batch.count > 0, batch.columns.count == 5 else { return }
      func number(_ column: Int) -> Int64? {
        if case .int64(let number) = batch.columns[column][0] { number } else { nil }
      }
      func time(_ column: Int) -> Timestamp? {
        if case .timestamp(let time) = batch.columns[column][0] { time } else { nil }
      }
      let (count, first, last) = (number(0) ?? 0, time(1), time(2))
      let (firstSequence, lastSequence) = (number(3), number(4))
      found.withLock { found in
        found.count = count
        found.first = first
        found.last = last
        found.firstSequence = firstSequence
        found.lastSequence = lastSequence
      }
    }
    return found.withLock { $0 }
  }

  private func codes(_ references: [CodeReference]) async -> [TrainingSetOrigin.Code] {
    var codes: [TrainingSetOrigin.Code] = []
    for reference in references where !codes.contains(where: { $0.reference == reference }) {
      codes.append(
        TrainingSetOrigin.Code(
          reference: reference,
          digest: await CodeDigest.of(reference, in: snapshot.projectDirectory)))
    }
    return codes
  }
}
