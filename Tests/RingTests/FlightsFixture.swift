import Catalog
import Core
import DuckDBBackend
import EmbeddedBackend
import Features
import Foundation
import Logging
import TestKit
import Testing

/// The flights example and the real data that it is about.
enum Flights {
  static let repository = URL(fileURLWithPath: #filePath)
    .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent().path

  static let example = repository + "/examples/flights"

  /// The folder of the data; nil where there is none.
  static let data: String? = {
    let given = ProcessInfo.processInfo.environment["MARTLET_TEST_DATA"]
    let folder = given ?? URL(fileURLWithPath: repository + "/../shared/data").standardized.path
    return FileManager.default.isReadableFile(atPath: folder + "/flights_2013_01_04.parquet")
      ? folder : nil
  }()

  static let absent: Comment =
    "the flights data are not there: set MARTLET_TEST_DATA to the folder of flights_2013_01_04.parquet"

  static var flightsFile: String { (data ?? "") + "/flights_2013_01_04.parquet" }
  static var weatherFile: String { (data ?? "") + "/weather_2013_01_04.parquet" }

  /// - Parameter views: more of them, as they stand in a definition file.
  static func snapshot(adding views: String = "") throws -> Snapshot {
    let text = String(decoding: try DefinitionFile.bytes(in: example), as: UTF8.self)
    let project = try DefinitionFile.parse(
      Array(text.replacing("\nviews:\n", with: "\nviews:\n" + views).utf8), directory: example)
    return Snapshot(
      version: 1, definitionsVersion: 1, definitionsDigest: "flights", projectDirectory: example,
      project: project, models: [:])
  }

  /// Every feature of every view.
  static func features(of snapshot: Snapshot) -> [FeatureName] {
    snapshot.project.views.flatMap { view in
      view.features.map { FeatureName(view: view.name, feature: $0.name) }
    }
  }
}

/// The feature store over an empty warehouse in memory, at a time that the test decides.
struct FlightsStore: Sendable {
  let snapshot: Snapshot
  let warehouse: DuckDBWarehouse
  let clock: TestClock
  let hydrator: Hydrator
  private let ingestor: Ingestor
  private let files: FileIngest

  private init(at time: Timestamp, _ snapshot: Snapshot, folder: String) async throws {
    let log = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
    self.snapshot = snapshot
    clock = TestClock(time)
    warehouse = try await DuckDBWarehouse.open(path: nil, clock: clock)
    let store = MemoryOnlineStore()
    let online = OnlineState(
      definitions: Published(snapshot), store: store, warehouse: warehouse, clock: clock,
      snapshotPath: folder + "/online.snapshot", logger: log)
    try await online.restore()
    hydrator = Hydrator(snapshots: online.visible, store: store, clock: clock)
    ingestor = Ingestor(
      warehouse: warehouse, applier: online, definitions: online.visible, clock: clock, log: log)
    files = FileIngest(reader: DuckDBFileReader(), ingestor: ingestor)
  }

  /// Runs the store in a folder of its own for the length of `body`.
  static func with(
    at time: Timestamp, _ snapshot: Snapshot? = nil,
    _ body: @Sendable (FlightsStore, _ folder: String) async throws -> Void
  ) async throws {
    let folder =
      FileManager.default.temporaryDirectory.path + "/martlet-flights-\(UUID().uuidString)"
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(atPath: folder) }
    let store = try await FlightsStore(
      at: time, snapshot ?? Flights.snapshot(), folder: folder)
    try await withThrowingTaskGroup(of: Void.self) { group in
      group.addTask { try await store.ingestor.run() }
      let outcome: Result<Void, any Error>
      do {
        try await body(store, folder)
        outcome = .success(())
      } catch {
        outcome = .failure(error)
      }
      store.ingestor.stop()
      try await group.waitForAll()
      try await store.warehouse.close()
      try outcome.get()
    }
  }

  func ingest(_ source: String, _ path: String) async throws -> FileReport {
    let definition = try #require(snapshot.project.source(source))
    return try await files.ingest(
      path: path, name: (path as NSString).lastPathComponent, source: definition)
  }

  /// Stores events as a file of their own.
  func ingest(_ events: ColumnBatch, into source: String, _ folder: String) async throws {
    let path = "\(folder)/\(UUID().uuidString).parquet"
    try await DuckDBTableFiles().write(events, to: path, format: .parquet)
    _ = try await ingest(source, path)
  }

  /// Features of one key, now.
  func online(_ features: [FeatureName], _ row: RequestRow) async throws -> [Value] {
    let answer = try await hydrator.hydrate(HydrateRequest(features: features, rows: [row]))
    return answer.vectors[0].values.map(\.value)
  }

  /// Features of one key at a time, by everything that is stored.
  func history(
    _ features: [FeatureName], _ row: RequestRow, at time: Timestamp
  ) async throws -> [Value] {
    let spine = ColumnBatch(
      columns: row.map { name, value in
        Column(name: name, type: value.type ?? .int64, [value])
      } + [Column(name: "t", values: .timestamp([time.microseconds]))], count: 1)
    let set = try await PointInTimeJoin.run(
      spine: spine, time: "t", features: features, mode: .asCorrected, snapshot: snapshot,
      warehouse: warehouse)
    return features.map { set.columns[$0.description]?[0] ?? .null }
  }

  /// The rows of a query, as one batch.
  func query(_ sql: String) async throws -> ColumnBatch {
    let rows = FlightsRows()
    try await warehouse.stream(sql, []) { rows.add($0) }
    return rows.batch
  }
}
