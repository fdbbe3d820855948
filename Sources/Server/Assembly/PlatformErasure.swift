import Core
import Features
import Foundation
import Serving

/// Erasing entity keys, and the other work that keeps the platform from growing without end.
extension PlatformServices {
  /// What keeps entity keys beside event tables, quarantine and online state: whatever comes to keep some is one more here.
  private var erasureTargets: [any ErasureTarget] {
    [
      LoggedKeys(name: "model_logs", warehouse: warehouse) { [log] in try await log.flush() },
      LoggedKeys(name: "labels", warehouse: warehouse) {}, datasets,
    ]
  }

  var erasure: EntityErasure {
    EntityErasure(ingestor: ingestor, online: online, targets: erasureTargets)
  }

  /// Where this process is, for other ones.
  var placeName: String {
    let directory = URL(fileURLWithPath: configuration.data.directory).standardizedFileURL.path
    return "\(ProcessInfo.processInfo.hostName):\(directory)"
  }

  /// Finishes erasures, drops what retention says, and measures the quarantine.
  func upkeep() async throws {
    try await erasure.resume()
    let sources = online.visible.current.project.sources
    for (source, count) in try await Retention(warehouse: warehouse, clock: clock).sweep(sources) {
      metrics.makeCounter(
        label: "martlet_retention_dropped_events_total", dimensions: [("source", source)]
      ).increment(by: Int64(count))
    }
    let dropped = try await quarantine.drop(
      olderThan: configuration.quarantine.maxAge, beyond: configuration.quarantine.maxRecords)
    for (why, count) in [("age", dropped.byAge), ("number", dropped.byNumber)] {
      metrics.makeCounter(
        label: "martlet_quarantine_dropped_total", dimensions: [("why", why)]
      ).increment(by: Int64(count))
    }
    let counts = try await quarantine.counts()
    for status in QuarantineEntry.Status.allCases {
      metrics.setGauge(
        "martlet_quarantine_records", [("status", status.rawValue)],
        to: Double(counts[status] ?? 0))
    }
  }
}

/// A table whose `entity_keys` are JSON objects of key columns.
private struct LoggedKeys: ErasureTarget {
  let name: String
  let warehouse: any Warehouse
  /// Brings what waits to be written into the table first.
  let flush: @Sendable () async throws -> Void

  init(name: String, warehouse: any Warehouse, flush: @escaping @Sendable () async throws -> Void) {
    self.name = name
    self.warehouse = warehouse
    self.flush = flush
  }

  func erase(_ subject: ErasureSubject) async throws -> Int {
    try await flush()
    let named = subject.isNamed(in: "entity_keys")
    return try await warehouse.transaction { [name] appender in
      try appender.execute("DELETE FROM \(name) WHERE \(named.sql)", named.parameters)
    }
  }
}
