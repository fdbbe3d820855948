import Core

/// Drops events that are older than their source keeps them, a day of event time at a time.
///
/// Guarantees: an event goes when its whole day is past; each day of a source is a transaction of its own, and ingest goes on
/// between them; the online state stays as it is. Sequences are not given again.
package struct Retention: Sendable {
  private let warehouse: any Warehouse
  private let clock: any WallClock

  package init(warehouse: any Warehouse, clock: any WallClock) {
    self.warehouse = warehouse
    self.clock = clock
  }

  /// - Returns: by source how many events were dropped; sources that kept all are left out.
  package func sweep(_ sources: [SourceDefinition]) async throws -> [String: Int] {
    var dropped: [String: Int] = [:]
    for source in sources {
      guard let end = source.keptSince(clock.now) else { continue }
      for day in try await days(of: source.name, before: end) {
        dropped[source.name, default: 0] += try await drop(day, of: source.name)
        if Task.isCancelled { return dropped }
      }
    }
    if !dropped.isEmpty, let warehouse = warehouse as? any ReclaimingWarehouse {
      try await warehouse.reclaim()
    }
    return dropped
  }

  private func days(of source: String, before end: Timestamp) async throws -> [Timestamp] {
    try await warehouse.query(
      "SELECT DISTINCT date_trunc('day', event_timestamp)::TIMESTAMP AS day FROM \(Self.table(source)) "
        + "WHERE event_timestamp < ? ORDER BY day",
      [.timestamp(end)], as: Timestamp.self)
  }

  private func drop(_ day: Timestamp, of source: String) async throws -> Int {
    try await warehouse.transaction { appender in
      try SourceMarks.note(source, on: appender)
      let condition = "event_timestamp >= ? AND event_timestamp < ?"
      let bounds: [Value] = [.timestamp(day), .timestamp(day + .days(1))]
      try Recomputations.forget(condition, bounds, of: source, on: appender)
      return try appender.execute("DELETE FROM \(Self.table(source)) WHERE \(condition)", bounds)
    }
  }

  private static func table(_ source: String) -> String {
    EventTable.quoted(EventTable.name(for: source))
  }
}

extension SourceDefinition {
  /// The first instant whose events are kept at `now`; nil where all are.
  package func keptSince(_ now: Timestamp) -> Timestamp? {
    retention.map { (now - $0).floored(to: .days(1)) }
  }
}
