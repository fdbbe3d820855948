import Catalog
import Core
import DuckDBBackend
import Features

extension Platform {
  /// - Parameter spool: a folder whose files the warehouse may read.
  static func datasets(
    _ warehouse: any Warehouse, _ ingestor: Ingestor, _ catalog: CatalogStore,
    _ blobs: any BlobStore, _ clock: any WallClock, spool: String
  ) -> DatasetStore {
    DatasetStore(
      warehouse: warehouse, tables: DuckDBTableFiles(), blobs: blobs, clock: clock,
      scratch: spool, surroundings: surroundings(warehouse, ingestor, catalog))
  }

  /// What saved sets take from ingest and from the catalog.
  private static func surroundings(
    _ warehouse: any Warehouse, _ ingestor: Ingestor, _ catalog: CatalogStore
  ) -> DatasetStore.Surroundings {
    DatasetStore.Surroundings(
      positions: { sources in
        // No commit is in flight meanwhile: whatever is stored later has a greater sequence.
        try await ingestor.pause {
          var positions: [String: Int64] = [:]
          for source in sources {
            let table = EventTable.quoted(EventTable.name(for: source))
            let last = try await warehouse.query(
              "SELECT coalesce(max(sequence), -1) FROM \(table)", as: Int64.self)
            positions[source] = last.first ?? -1
          }
          return positions
        }
      }, snapshot: { try await catalog.snapshot(ofDefinitions: $0) })
  }
}

extension CatalogStore {
  /// The definitions of an applied version, without models' versions.
  func snapshot(ofDefinitions version: Int64) async throws -> Snapshot {
    guard let applied = try await definitions([version]).first else {
      throw PlatformError(
        .notFound,
        "version \(version) of the definitions is not known, or was stored by another version of Martlet"
      )
    }
    return Snapshot(
      version: -applied.version, definitionsVersion: applied.version,
      definitionsDigest: applied.digest, projectDirectory: applied.projectDirectory,
      project: applied.project, models: [:])
  }
}

/// What transports ask of saved training sets, and of definitions of the past.
extension PlatformServices {
  /// The definitions that a call reads features by; throws where they say another type of a column than it is stored with now.
  func snapshot(for call: HistoryCall) async throws -> Snapshot {
    let current = online.visible.current
    guard let version = call.definitions, version != current.definitionsVersion else {
      return current
    }
    let earlier = try await catalog.snapshot(ofDefinitions: version)
    for view in earlier.project.views where call.reads(view, of: earlier.project) {
      for column in earlier.project.source(view.source)?.columns ?? [] {
        guard let now = current.project.source(view.source)?.column(column.name),
          now.type != column.type
        else { continue }
        throw PlatformError(
          .failedPrecondition,
          "version \(version) of the definitions has column '\(column.name)' of source '\(view.source)' as "
            + "\(column.type.rawValue), and its events are \(now.type.rawValue) since; read by a later version"
        )
      }
    }
    return earlier
  }

  /// The rows of a spine in a file; of a query, its text.
  func spine(_ call: HistoryCall, at path: String, _ snapshot: Snapshot) async throws -> ColumnBatch
  {
    let reader = SpineReader(warehouse: warehouse, files: files.reader)
    switch call.spine {
    case .file(let format):
      return try await reader.read(
        path, called: call.spineName, format: format, time: call.time, features: call.features,
        snapshot: snapshot)
    case .sql:
      return try await reader.read(
        sql: try SpineText.read(path), time: call.time, features: call.features, snapshot: snapshot)
    }
  }

  /// Saves a set of a user's spine.
  func saveDataset(
    _ name: String, _ call: HistoryCall, spine path: String, asOf: Timestamp?
  ) async throws -> SavedDataset {
    let snapshot = try await snapshot(for: call)
    let rows = try await spine(call, at: path, snapshot)
    let origin = call.spine == .sql ? "query: \(try SpineText.read(path))" : call.spineName
    return try await datasets.save(
      NewDataset(
        name: try Self.datasetName(name),
        content: .features(
          call.features, spine: rows, spineName: origin, time: call.time, call.mode), asOf: asOf),
      snapshot: snapshot)
  }

  /// Saves what a model would learn from.
  func saveDataset(
    _ name: String, model: String, asOf: Timestamp?
  ) async throws -> SavedDataset {
    try requireModel(model)
    return try await datasets.save(
      NewDataset(name: try Self.datasetName(name), content: .model(model), asOf: asOf),
      snapshot: online.visible.current)
  }

  private static func datasetName(_ text: String) throws -> String {
    let isPlain = !text.contains { $0.isNewline || "/\\\0".contains($0) }
    guard !text.isEmpty, text.utf8.count <= 200, isPlain else {
      throw PlatformError(
        .invalidArgument,
        "a dataset needs a name of at most 200 characters on one line, without / and \\, but got '\(text.prefix(200))'"
      )
    }
    return text
  }

  func time(_ text: String?, _ field: String) throws -> Timestamp? {
    guard let text, !text.isEmpty else { return nil }
    guard let time = try? Timestamp(iso8601: text) else {
      throw PlatformError(
        .invalidArgument, "'\(field)' is '\(text)'; write a time as in 2026-01-31T12:00:00Z")
    }
    return time
  }
}

extension HistoryCall {
  /// Whether a view may be read: one that is asked for, and any where a derived feature is.
  fileprivate func reads(_ view: ViewDefinition, of project: ProjectDefinition) -> Bool {
    features.contains { name in
      if name.view == view.name { return true }
      guard case .derived? = project.view(name.view)?.feature(name.feature)?.kind else {
        return false
      }
      return true
    }
  }
}
