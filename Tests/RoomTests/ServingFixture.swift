import Core
import Features
import Foundation
import Serving
import Synchronization
import TestKit
import Workers

/// A project with one model, and what stands in for the rooms around serving.
enum ServingSample {
  static let features = [
    ModelFeature(
      name: "shopping.orders", origin: .view(FeatureName(view: "shopping", feature: "orders")),
      type: .double),
    ModelFeature(name: "basket", origin: .input, type: .double),
  ]

  static func model(_ missing: MissingPolicy = MissingPolicy()) -> ModelDefinition {
    ModelDefinition(
      name: "churn", features: features,
      inputs: [ColumnDefinition(name: "basket", type: .double)], missing: missing,
      entities: ["customer"])
  }

  static func version(
    _ number: Int64, _ stage: ModelStage = .production, artifact: String? = nil,
    format: String = "pickle", model: String = "churn",
    features: [ModelFeature] = ServingSample.features
  ) -> ModelVersion {
    let time = Timestamp(microseconds: 0)
    return ModelVersion(
      model: model, version: number, stage: stage,
      artifact: BlobDigest(hex: artifact ?? "artifact\(number)"), baseline: BlobDigest(hex: ""),
      format: format, features: features, definitionsVersion: 1,
      trainingSet: TrainingSetRecord(
        definitionsVersion: 1, asOf: time, rows: 0, evaluationFrom: 0, hash: ""),
      metrics: [:], libraries: [:], jobID: "job\(number)", createdAt: time)
  }

  static func snapshot(
    _ versions: [ModelVersion], number: Int64 = 1, missing: MissingPolicy = MissingPolicy(),
    canary share: Double? = nil
  ) -> Snapshot {
    let canary = versions.first { $0.stage == .canary }
    return Snapshot(
      version: number, definitionsVersion: 1, definitionsDigest: "", projectDirectory: ".",
      project: ProjectDefinition(
        name: "shop", entities: [EntityDefinition(name: "customer", key: ["customer_id"])],
        models: [model(missing)]),
      models: versions.isEmpty ? [:] : ["churn": versions],
      canaries: canary.map { version in
        [
          "churn": CanaryState(
            version: version.version, share: share ?? 0.1, since: Timestamp(microseconds: 0))
        ]
      } ?? [:])
  }
}

/// A serving room over fakes.
struct ServingRoom {
  let definitions: Published<Snapshot>
  let host = FakeHost()
  let engine: FakeEngine
  let warehouse = MemoryWarehouse()
  let log: PredictionLog
  let mirror: ShadowMirror
  let reload: ModelReload
  let predictor: Predictor

  init(
    _ versions: [ModelVersion], missing: MissingPolicy = MissingPolicy(),
    hydrator: FakeHydrator = FakeHydrator(), canary share: Double? = nil
  ) {
    definitions = Published(
      ServingSample.snapshot(versions, missing: missing, canary: share))
    engine = FakeEngine(host: host)
    log = PredictionLog(warehouse: warehouse)
    reload = ModelReload(
      snapshot: definitions, blobs: FakeBlobs(), workers: host,
      clock: WorkerClock(now: { Span(microseconds: 0) }, sleep: { _ in await Task.yield() }))
    mirror = ShadowMirror(hydrator: hydrator, engine: engine, log: log)
    predictor = Predictor(
      served: reload, hydrator: hydrator, engine: engine, log: log, definitions: definitions,
      clock: TestClock(), timeout: .minutes(10), requestIDs: RequestIDs(random: 35),
      mirror: mirror)
  }

  func publish(_ versions: [ModelVersion], number: Int64, canary share: Double? = nil) {
    definitions.publish(ServingSample.snapshot(versions, number: number, canary: share))
  }

  /// Runs the reload beside a test.
  func follow(_ body: () async throws -> Void) async throws {
    try await withThrowingTaskGroup(of: Void.self) { group in
      group.addTask { try await reload.run() }
      try await body()
      group.cancelAll()
    }
  }

  func predict(
    _ row: RequestRow = ["customer_id": .int64(7), "basket": .double(2)], version: Int64? = nil
  ) async throws -> PredictAnswer {
    try await predictor.predict(PredictRequest(model: "churn", version: version, rows: [row]))
  }

  /// The rows of the log as they were committed.
  func logged() async throws -> ColumnBatch {
    try await log.flush()
    var all = ColumnBatch(columns: [])
    for (table, batch) in warehouse.contents.rows where table == "model_logs" {
      all.append(contentsOf: batch)
    }
    return all
  }
}

/// Reads an order count of ten times the basket; a negative basket has no customer.
struct FakeHydrator: FeatureHydrating {
  static let time = Timestamp(microseconds: 1_700_000_000_000_000)

  func hydrate(_ request: HydrateRequest) async throws -> HydratedRows {
    let vectors = request.rows.map { row in
      let basket = row["basket"] ?? .null
      let orders = (basket.number ?? 0) * 10
      let known = orders >= 0
      return FeatureVector(values: [
        FeatureValue(
          value: known ? .double(orders) : .null, status: known ? .present : .notFound,
          eventTimestamp: known ? Self.time : nil),
        FeatureValue(value: basket, status: basket.isNull ? .null : .present),
      ])
    }
    return HydratedRows(
      features: ServingSample.features.map { ColumnDefinition(name: $0.name, type: $0.type) },
      vectors: vectors, time: Self.time)
  }
}

/// Holds versions as a worker pool does, at a test's command.
final class FakeHost: ModelHost {
  private struct State {
    var loaded: Set<ModelKey> = []
    var unloaded: [ModelKey] = []
    var failures: [Int64: Int] = [:]
    var loads: [Int64: Int] = [:]
    var held: [Int64: AsyncStream<Void>] = [:]
    var down: Set<Int64> = []
  }

  private let state = Mutex(State())
  private let events: AsyncStream<String>
  private let continuation: AsyncStream<String>.Continuation

  init() { (events, continuation) = AsyncStream.makeStream(of: String.self) }

  /// Waits for `loading N`, `loaded N` or `unloaded N`, after those that were waited for before.
  func wait(for event: String) async {
    for await next in events where next == event { return }
  }

  func holds(_ key: ModelKey) -> Bool { state.withLock { $0.loaded.contains(key) } }

  /// Engines that hold the version do not answer any more.
  func takeDown(_ version: Int64) { state.withLock { _ = $0.down.insert(version) } }
  func isDown(_ key: ModelKey) -> Bool { state.withLock { $0.down.contains(key.version) } }

  /// How often a version was loaded.
  func loads(of version: Int64) -> Int { state.withLock { $0.loads[version] ?? 0 } }

  /// The next loads of a version fail.
  func fail(_ version: Int64, times: Int) { state.withLock { $0.failures[version] = times } }

  /// Loads of a version wait until the returned function is called.
  func hold(_ version: Int64) -> @Sendable () -> Void {
    let (stream, continuation) = AsyncStream.makeStream(of: Void.self)
    state.withLock { $0.held[version] = stream }
    return { continuation.finish() }
  }

  func ensureLoaded(_ artifact: ModelArtifact, workers: Int) async throws {
    let version = artifact.key.version
    continuation.yield("loading \(version)")
    if let held = state.withLock({ $0.held[version] }) { for await _ in held {} }
    let fails = state.withLock { state in
      let left = state.failures[version] ?? 0
      state.failures[version] = max(0, left - 1)
      if left == 0 {
        state.loaded.insert(artifact.key)
        state.loads[version, default: 0] += 1
      }
      return left > 0
    }
    if fails { throw PlatformError(.internalError, "the artifact is broken") }
    continuation.yield("loaded \(version)")
  }

  func unload(_ key: ModelKey) {
    state.withLock { _ = $0.loaded.remove(key) }
    continuation.yield("unloaded \(key.version)")
  }
}

/// Answers the version's number in the thousands plus the row's orders, only where the host holds
/// the version.
struct FakeEngine: ScoringEngine {
  let host: FakeHost

  func score(
    _ model: ModelKey, _ rows: ColumnBatch, timeout: Span
  ) async throws -> ScoredRows {
    guard host.holds(model) else {
      throw PlatformError(.unavailable, "not held", context: ["reason": "not_loaded"])
    }
    if host.isDown(model) {
      throw PlatformError(.unavailable, "worker 3 of version \(model.version) was lost")
    }
    let orders = rows["shopping.orders"]
    let values = (0..<rows.count).map { row in
      Double(model.version * 1_000) + (orders?[row].number ?? -1)
    }
    if values.contains(where: { $0 == Double(model.version * 1_000 + 130) }) {
      throw PlatformError(.userCode, "the model does not like 13")
    }
    return ScoredRows(
      values: values, queue: Span(microseconds: 5), compute: Span(microseconds: 40))
  }
}

struct FakeBlobs: BlobStore {
  func put(_ bytes: [UInt8]) async throws -> BlobDigest { BlobDigest(hex: "") }
  func put(fileAt path: String) async throws -> BlobDigest { BlobDigest(hex: "") }
  func get(_ digest: BlobDigest) async throws -> [UInt8] { [] }
  func localPath(of digest: BlobDigest) async throws -> String { "/blobs/\(digest.hex)" }
  func contains(_ digest: BlobDigest) async throws -> Bool { true }
  func remove(_ digest: BlobDigest) async throws {}
}
