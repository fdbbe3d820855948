import Catalog
import Core
import Logging

/// Keeps the warehouse's view `model_metadata` as the registry is: its tables are written anew with every change.
struct ModelMetadata: Sendable {
  let catalog: CatalogStore
  let warehouse: any Warehouse
  let log: Logger
  let sleep: @Sendable (Duration) async throws -> Void

  init(
    _ catalog: CatalogStore, _ warehouse: any Warehouse, _ log: Logger,
    sleep: @escaping @Sendable (Duration) async throws -> Void = { try await Task.sleep(for: $0) }
  ) {
    self.catalog = catalog
    self.warehouse = warehouse
    self.log = log
    self.sleep = sleep
  }

  /// Follows the registry until the task is cancelled.
  func run() async {
    for await _ in catalog.changes.changes() {
      while !Task.isCancelled {
        do {
          try await write()
          break
        } catch {
          log.error("model_metadata could not be written; it is tried again: \(error)")
          do { try await sleep(.seconds(5)) } catch { return }
        }
      }
    }
  }

  func write() async throws {
    let versions = try await catalog.registeredModels().flatMap(\.versions)
    let rows = Self.versions(versions)
    let features = Self.features(versions.compactMap(\.trained))
    try await warehouse.transaction { appender in
      for table in ["registry_versions", "registry_features"] {
        try appender.execute("DELETE FROM \(table)", [])
      }
      if !versions.isEmpty { try appender.append(rows, to: "registry_versions") }
      if features.count > 0 { try appender.append(features, to: "registry_features") }
    }
  }

  private static func versions(_ versions: [RegisteredVersion]) -> ColumnBatch {
    ColumnBatch(columns: [
      text("model_id", versions.map(\.model)), number("version", versions.map(\.version)),
      text("stage", versions.map(\.stage.rawValue)),
      text("artifact_type", versions.map { $0.trained?.format ?? "" }),
      time("trained_date", versions.map { $0.trained?.trainingSet.asOf ?? $0.createdAt }),
      text(
        "location", versions.map { $0.trained.map { "sha256:\($0.artifact.hex)" } ?? $0.source }),
      time("created_at", versions.map(\.createdAt)),
    ])
  }

  private static func features(_ versions: [ModelVersion]) -> ColumnBatch {
    let rows = versions.flatMap { version in
      version.features.enumerated().map { (version, index: Int64($0), feature: $1) }
    }
    return ColumnBatch(columns: [
      text("model_id", rows.map(\.0.model)), number("version", rows.map(\.0.version)),
      number("position", rows.map(\.index)), text("name", rows.map(\.feature.name)),
      text("type", rows.map(\.feature.type.rawValue)),
    ])
  }

  private static func text(_ name: String, _ cells: [String]) -> Column {
    Column(name: name, values: .string(cells))
  }

  private static func number(_ name: String, _ cells: [Int64]) -> Column {
    Column(name: name, values: .int64(cells))
  }

  private static func time(_ name: String, _ cells: [Timestamp]) -> Column {
    Column(name: name, values: .timestamp(cells.map(\.microseconds)))
  }
}
