import Core
import Foundation
import Synchronization

/// Training sets that are kept: their rows as Parquet among the blobs, and how they were made in the table `datasets`.
///
/// Guarantees: a set does not change when events come, are corrected or definitions change; computed again from the events that
/// it was made of it gives the same rows, and by the same version of DuckDB the same file byte for byte. Only an erasure changes it, and
/// says so.
package struct DatasetStore: Sendable {
  /// What it takes from other rooms.
  package struct Surroundings: Sendable {
    /// By source, the last sequence of what is stored, while no commit is in flight.
    package var positions: @Sendable ([String]) async throws -> [String: Int64]
    /// The definitions of a version.
    package var snapshot: @Sendable (Int64) async throws -> Snapshot

    package init(
      positions: @escaping @Sendable ([String]) async throws -> [String: Int64],
      snapshot: @escaping @Sendable (Int64) async throws -> Snapshot
    ) {
      self.positions = positions
      self.snapshot = snapshot
    }
  }

  let warehouse: any Warehouse
  private let tables: any TableFiles
  let blobs: any BlobStore
  private let clock: any WallClock
  private let scratch: String
  private let surroundings: Surroundings

  /// - Parameter scratch: a folder whose files the warehouse may read.
  package init(
    warehouse: any Warehouse, tables: any TableFiles, blobs: any BlobStore, clock: any WallClock,
    scratch: String, surroundings: Surroundings
  ) {
    self.warehouse = warehouse
    self.tables = tables
    self.blobs = blobs
    self.clock = clock
    self.scratch = scratch
    self.surroundings = surroundings
  }

  // MARK: Saving

  /// Computes a set and keeps it.
  package func save(_ new: NewDataset, snapshot: Snapshot) async throws -> SavedDataset {
    let erasures = try await erasures()
    switch new.content {
    case .model(let name):
      guard let model = snapshot.project.model(name) else {
        let near = suggestion(for: name, among: snapshot.project.models.map(\.name))
        throw PlatformError(.notFound, "there is no model '\(name)'\(near)")
      }
      return try await save(
        model, name: new.name, asOf: new.asOf ?? clock.now, snapshot: snapshot
      ).saved
    case .features(let features, let spine, let spineName, let time, let mode):
      let plan = try PointInTimeJoinPlan(features, snapshot: snapshot)
      let through = try await surroundings.positions(plan.sources.map(\.name))
      let recomputed = try await recomputed(by: new.asOf)
      let bound = StoredBound(through: through, knownAt: new.asOf, recomputed: recomputed)
      let set = try await PointInTimeJoin(HistoryScan(warehouse).within(bound)).run(
        spine: spine, time: time, features: features, mode: mode, snapshot: snapshot)
      let names = spine.columns.map(\.name)
      let keys = Set(snapshot.project.entities.flatMap(\.key)).intersection(names)
      return try await keep(
        set.columns, erasures,
        as: SavedDataset(
          id: "", name: new.name, model: nil, features: features.map(\.description),
          definitionsVersion: snapshot.definitionsVersion, mode: mode, asOf: new.asOf,
          through: through, recomputed: recomputed, spine: spineName, time: time,
          keyColumns: Dictionary(uniqueKeysWithValues: keys.map { ($0, $0) }), rows: 0,
          incompleteRows: set.report.nullKeyOrTime, hash: "", file: BlobDigest(hex: ""),
          createdAt: clock.now, spineColumns: names))
    }
  }

  /// Builds what a model learns from and keeps it.
  package func save(
    _ model: ModelDefinition, name: String, asOf: Timestamp, snapshot: Snapshot
  ) async throws -> (set: ModelTrainingSet, saved: SavedDataset) {
    let plan = try TrainingSetPlan(model, asOf: asOf, snapshot: snapshot)
    let erasures = try await erasures()
    let through = try await surroundings.positions(plan.sources(snapshot))
    let recomputed = try await recomputed()
    var set = try await TrainingSetBuilder(warehouse: warehouse).build(
      model, asOf: asOf, snapshot: snapshot,
      within: StoredBound(through: through, recomputed: recomputed))
    let rows = set.rows(of: model, snapshot)
    let saved = try await keep(
      rows.batch, erasures,
      as: SavedDataset(
        id: "", name: name, model: model.name, features: set.features.columns.map(\.name),
        definitionsVersion: snapshot.definitionsVersion, mode: .asCorrected, asOf: asOf,
        through: through, recomputed: recomputed, spine: "source \(plan.source.name)",
        time: TrainingSetPlan.timeName,
        keyColumns: rows.keys, rows: 0, incompleteRows: 0, hash: "", file: BlobDigest(hex: ""),
        createdAt: clock.now, spineColumns: []))
    set.record.dataset = saved.id
    return (set, saved)
  }

  /// The last recomputation of transform columns that is in force: later ones change nothing of a set.
  private func recomputed(by time: Timestamp? = nil) async throws -> Int64 {
    let all = try await Recomputations(warehouse: warehouse).inForce()
    return time.map { all.last(by: $0) } ?? all.last?.number ?? 0
  }

  private func erasures() async throws -> Int64 {
    try await warehouse.query("SELECT count(*) FROM erasures", as: Int64.self).first ?? 0
  }

  /// - Parameter erasures: how many there had been before the rows were read.
  private func keep(
    _ batch: ColumnBatch, _ erasures: Int64, as draft: SavedDataset
  ) async throws -> SavedDataset {
    var saved = draft
    saved.rows = batch.count
    if case .timestamp(let times)? = batch[saved.time]?.values {
      let known = times.indices.filter { batch[saved.time]?.isPresent($0) ?? false }
        .map { times[$0] }
      saved.first = known.min().map(Timestamp.init(microseconds:))
      saved.last = known.max().map(Timestamp.init(microseconds:))
    }
    saved.hash = TrainingSetHash.of(batch)
    saved.file = try await put(batch)
    saved.identify()
    if let known = try await records("WHERE id = ?", [.string(saved.id)]).first { return known }
    try await warehouse.execute(
      "INSERT INTO datasets VALUES (?, ?, ?, ?, ?, ?)",
      [
        .string(saved.id), .string(saved.name), saved.model.map { .string($0) } ?? .null,
        .int64(Int64(saved.rows)), .timestamp(saved.createdAt), .string(try text(saved)),
      ])
    // An erasure that begins from here on finds the record; one that began since the rows were read may not have.
    guard try await self.erasures() == erasures else {
      try await warehouse.execute("DELETE FROM datasets WHERE id = ?", [.string(saved.id)])
      try await removeUnused(saved.file)
      throw PlatformError(
        .conflict, "a key was erased while the dataset was being saved; save it again",
        retryable: true)
    }
    return saved
  }

  func update(_ dataset: SavedDataset) async throws {
    try await warehouse.execute(
      "UPDATE datasets SET row_count = ?, record = ? WHERE id = ?",
      [.int64(Int64(dataset.rows)), .string(try text(dataset)), .string(dataset.id)])
  }

  private func text(_ dataset: SavedDataset) throws -> String {
    let encoder = JSONEncoder()
    encoder.outputFormatting = .sortedKeys
    return String(decoding: try encoder.encode(dataset), as: UTF8.self)
  }

  // MARK: Finding

  /// The newest first.
  package func list(limit: Int) async throws -> [SavedDataset] {
    try await records("ORDER BY created_at DESC, id LIMIT \(max(0, limit))", [])
  }

  /// By id, or the newest of a name.
  package func dataset(_ name: String) async throws -> SavedDataset {
    let found = try await records(
      "WHERE id = ? OR name = ? ORDER BY id = ? DESC, created_at DESC LIMIT 1",
      [.string(name), .string(name), .string(name)])
    if let found = found.first { return found }
    let known = try await list(limit: 1_000).flatMap { [$0.name, $0.id] }
    throw PlatformError(
      .notFound,
      "there is no dataset '\(name)'\(suggestion(for: name, among: known)); `martlet datasets list` shows them"
    )
  }

  func records(_ clause: String, _ parameters: [Value]) async throws -> [SavedDataset] {
    let decoder = JSONDecoder()
    return try await warehouse.query(
      "SELECT record FROM datasets \(clause)", parameters, as: String.self
    ).map { try decoder.decode(SavedDataset.self, from: Data($0.utf8)) }
  }

  // MARK: Files

  /// Writes rows as Parquet and stores the file by its content.
  func put(_ batch: ColumnBatch) async throws -> BlobDigest {
    try await withFile { path in
      try await tables.write(batch, to: path, format: .parquet)
      return try await blobs.put(fileAt: path)
    }
  }

  /// The saved rows.
  package func rows(of dataset: SavedDataset) async throws -> ColumnBatch {
    let stored = try await blobs.localPath(of: dataset.file)
    return try await withFile { path in
      try FileManager.default.copyItem(atPath: stored, toPath: path)
      let batches = Mutex<[ColumnBatch]>([])
      try await warehouse.stream("SELECT * FROM read_parquet(\(path.sqlLiteral))", []) { batch in
        let batch = copy batch
        batches.withLock { $0.append(batch) }
      }
      guard let rows = ColumnBatch(joining: batches.withLock { $0 }) else {
        throw PlatformError(
          .storage, "the file of dataset '\(dataset.id)' has no rows; restore it from a backup")
      }
      return rows
    }
  }

  /// Writes the saved rows to a new file.
  package func export(
    _ dataset: SavedDataset, to path: String, format: FileFormat
  ) async throws {
    if format == .parquet {
      let stored = try await blobs.localPath(of: dataset.file)
      try FileManager.default.copyItem(atPath: stored, toPath: path)
    } else {
      try await tables.write(try await rows(of: dataset), to: path, format: format)
    }
  }

  private func withFile<Result>(_ body: (String) async throws -> Result) async throws -> Result {
    let path = "\(scratch)/\(UUID().uuidString.lowercased())"
    defer { try? FileManager.default.removeItem(atPath: path) }
    return try await body(path)
  }

  // MARK: Computing again

  /// Computes a saved set again, from the events that it was made of and under the definitions of then.
  package func verify(_ dataset: SavedDataset) async throws -> DatasetVerdict {
    var verdict = DatasetVerdict(dataset: dataset)
    let snapshot = try await surroundings.snapshot(dataset.definitionsVersion)
    do {
      let again = try await compute(dataset, snapshot)
      verdict.hash = TrainingSetHash.of(again)
      verdict.file = try await put(again)
      if let file = verdict.file, !verdict.isSameFile { try await removeUnused(file) }
    } catch let error as PlatformError
      where [.storage, .notFound, .failedPrecondition].contains(error.code)
    {
      verdict.note = error.message
    }
    if !verdict.isReproduced { verdict.note += try await reason(dataset, verdict.note) }
    return verdict
  }

  private func compute(_ dataset: SavedDataset, _ snapshot: Snapshot) async throws -> ColumnBatch {
    // A damaged file is found here, whether its rows are needed or not.
    let stored = try await rows(of: dataset)
    if let name = dataset.model {
      guard let model = snapshot.project.model(name), let asOf = dataset.asOf else {
        throw PlatformError(
          .failedPrecondition, "the definitions of then have no model '\(name)' any more")
      }
      let set = try await TrainingSetBuilder(warehouse: warehouse).build(
        model, asOf: asOf, snapshot: snapshot,
        within: StoredBound(through: dataset.through, recomputed: dataset.recomputed ?? 0))
      return set.rows(of: model, snapshot).batch
    }
    let spine = ColumnBatch(
      columns: dataset.spineColumns.compactMap { stored[$0] }, count: stored.count)
    let bound = StoredBound(
      through: dataset.through, knownAt: dataset.asOf, recomputed: dataset.recomputed ?? 0)
    return try await PointInTimeJoin(HistoryScan(warehouse).within(bound)).run(
      spine: spine, time: dataset.time, features: dataset.features.compactMap { FeatureName($0) },
      mode: dataset.mode, snapshot: snapshot
    ).columns
  }

  /// What is known to have changed the events of a set.
  private func reason(_ dataset: SavedDataset, _ told: String) async throws -> String {
    if !told.isEmpty { return "" }
    let since = try await warehouse.query(
      "SELECT count(*) FROM erasures WHERE erased_at >= ?", [.timestamp(dataset.createdAt)],
      as: Int.self)
    if (since.first ?? 0) > 0 {
      return "entity keys were erased since it was saved; what was made of their events is gone"
    }
    let marked = try await warehouse.query(
      "SELECT DISTINCT source FROM source_marks", as: String.self
    ).filter { dataset.through[$0] != nil }
    if !marked.isEmpty {
      return "events of \(marked.sorted().joined(separator: ", ")) were dropped by retention"
    }
    return "the stored events are not those of then"
  }

  func removeUnused(_ file: BlobDigest) async throws {
    let all = try await records("", [])
    if all.contains(where: { $0.file == file }) { return }
    try await blobs.remove(file)
  }
}
