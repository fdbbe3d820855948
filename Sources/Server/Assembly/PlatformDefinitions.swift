import Catalog
import Core

/// Planning definitions and putting them in force.
extension PlatformServices {
  func plan(yaml: [UInt8], directory: String) async throws -> DefinitionPlan {
    try await catalog.plan(
      yaml: yaml, directory: directory, jobs: try await unfinishedJobs(), stored: storedSource)
  }

  /// Puts definitions in force and returns when the running rooms have them.
  func apply(yaml: [UInt8], directory: String, author: String) async throws -> Snapshot {
    let retyped = try await catalog.retypedSources(
      yaml: yaml, directory: directory, stored: storedSource)
    if retyped.isEmpty {
      return try await putInForce(yaml: yaml, directory: directory, author: author)
    }
    // No event of the old type comes between the look into the table and the change of it: one on its way then is refused, and sent again.
    return try await ingestor.pause {
      try await putInForce(yaml: yaml, directory: directory, author: author)
    }
  }

  private func putInForce(
    yaml: [UInt8], directory: String, author: String
  ) async throws -> Snapshot {
    let snapshot = try await catalog.apply(
      yaml: yaml, directory: directory, author: author, now: clock.now,
      jobs: try await unfinishedJobs(), stored: storedSource)
    do {
      try await online.adopt(snapshot)
    } catch let error as PlatformError where error.retryable {
      throw PlatformError(
        error.code,
        "version \(snapshot.definitionsVersion) of the definitions is stored, but not in force yet: \(error.message); it "
          + "comes in force by itself once the online store is back",
        context: error.context, retryAfter: error.retryAfter)
    }
    if let warehouse = warehouse as? any FeatureTablePublishing {
      try await warehouse.publishFeatures(Array(snapshot.layouts.values))
    }
    return snapshot
  }

  private var storedSource: StoredSource.Look {
    { [warehouse] source in
      struct Column: Decodable, Sendable {
        var name: String
        var type: ColumnType
      }
      let columns = try await warehouse.query(
        "SELECT name, type FROM event_columns WHERE source = ?", [.string(source)], as: Column.self)
      if columns.isEmpty {
        try await Self.refuseForeign(EventTable.name(for: source), of: source, in: warehouse)
        return StoredSource(events: 0, columns: [:])
      }
      let table = EventTable.quoted(EventTable.name(for: source))
      let events = try await warehouse.query("SELECT count(*) FROM \(table)", as: Int.self)
      return StoredSource(
        events: events.first ?? 0,
        columns: Dictionary(columns.map { ($0.name, $0.type) }) { first, _ in first })
    }
  }

  /// Throws where the warehouse has something by the name of a new source's events that is not the platform's.
  private static func refuseForeign(
    _ table: String, of source: String, in warehouse: any Warehouse
  ) async throws {
    let found = try await warehouse.query(
      "SELECT count(*) FROM information_schema.tables WHERE lower(table_name) = lower(?)",
      [.string(table)], as: Int.self)
    guard found.first ?? 0 > 0 else { return }
    throw PlatformError(
      .failedPrecondition,
      "source '\(source)' would keep its events in the table '\(table)', but the warehouse has one of that name which is not "
        + "the platform's; give the source another name, or rename the table while the platform is stopped"
    )
  }
}
