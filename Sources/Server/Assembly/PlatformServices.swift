import Catalog
import Core
import Features
import Foundation
import Jobs
import Monitoring
import Serving
import Workers

/// What became of a push, with the first reasons of what was refused.
struct PushReceipt: Sendable {
  var accepted: Int
  var duplicates: Int
  var quarantined: Int
  var unknownFields: Int
  var reasons: [String]
  /// What checks with `on_fail: warn` found in stored events, with how often.
  var warnings: [String: Int] = [:]
  /// Records of erased keys, of which nothing was kept.
  var erased = 0
  /// Events that are older than their source keeps them, of which nothing was kept.
  var expired = 0
  /// Records that went to a topic; of these `accepted` counts what will pass, and nobody knows of duplicates yet.
  var produced = 0
}

/// A history read as a transport asks for it.
struct HistoryCall: Sendable {
  var features: [FeatureName]
  var time: String
  var mode: HistoryMode
  var spine: SpineForm
  /// What the caller calls the spine.
  var spineName: String
  var format: FileFormat
  /// The version of the definitions that features are read by; nil is the one in force.
  var definitions: Int64?

  /// What brings the rows.
  enum SpineForm: Sendable, Equatable {
    case file(FileFormat)
    /// The text of a query over the warehouse.
    case sql
  }

  /// - Parameters: as the caller wrote them; nil and empty texts take the default.
  init(
    features: [String], time: String?, mode: String?, spineFormat: String?,
    spineName: String? = nil, format: String?, definitions: Int64? = nil
  ) throws {
    func given(_ text: String?) -> String? { text.flatMap { $0.isEmpty ? nil : $0 } }
    self.features = try FeatureNames.parse(features)
    self.time = given(time) ?? "event_timestamp"
    self.mode = try given(mode).map(Self.mode) ?? .asCorrected
    self.definitions = definitions
    spine = try given(spineFormat).map(Self.spine) ?? .file(.csv)
    self.spineName = given(spineName) ?? "the spine"
    self.format = try given(format).map { try Self.format($0, of: "an answer") } ?? .csv
  }

  private static func mode(_ text: String) throws -> HistoryMode {
    guard let mode = HistoryMode(rawValue: text) else {
      throw PlatformError(
        .invalidArgument, "the mode of a history read is as_corrected or as_known, not '\(text)'")
    }
    return mode
  }

  private static func spine(_ text: String) throws -> SpineForm {
    if text == "sql" { return .sql }
    guard let format = FileFormat(rawValue: text), format != .jsonl else {
      throw PlatformError(
        .invalidArgument, "the format of a spine is csv, parquet or sql, not '\(text)'")
    }
    return .file(format)
  }

  static func format(_ text: String, of what: String) throws -> FileFormat {
    guard let format = FileFormat(rawValue: text), format != .jsonl else {
      throw PlatformError(
        .invalidArgument, "the format of \(what) is csv or parquet, not '\(text)'")
    }
    return format
  }
}

/// Every operation that a transport offers: REST, gRPC and whatever comes later call these and translate.
package struct PlatformServices: Sendable {
  let configuration: Configuration
  let catalog: CatalogStore
  let blobs: any BlobStore
  let warehouse: any Warehouse
  let online: OnlineState
  let ingestor: Ingestor
  let files: FileIngest
  let tables: any TableFiles
  let hydrator: Hydrator
  let predictor: Predictor
  let served: ModelReload
  let mirror: ShadowMirror
  let rollouts: RolloutWatch
  let log: PredictionLog
  let monitor: DriftMonitor
  let jobs: JobQueue
  let datasets: DatasetStore
  let workers: WorkerPool
  /// Which versions' artifacts are opened.
  let trust: ArtifactTrust
  let spool: Spool
  let metrics: PrometheusMetrics
  let clock: any WallClock
  let openLineage: OpenLineageLog
  /// Reads records from Kafka; nil where no brokers are set.
  let stream: StreamIngest?
  /// Takes pushes that go through a topic; nil where no brokers are set.
  let pushProducer: PushProducer?
  /// Looks at the brokers; nil where none are set.
  let kafkaWatch: KafkaWatch?
  let onlineWatch: OnlineStoreWatch
  /// What the Open Inference Protocol tells of predictions so far.
  let statistics = InferenceStatistics()
  let signatures = InferenceSignatures()

  // MARK: Definitions

  func requireModel(_ name: String) throws {
    let models = catalog.changes.current.project.models.map(\.name)
    guard models.contains(name) else {
      throw PlatformError(
        .notFound, "there is no model '\(name)'\(suggestion(for: name, among: models))")
    }
  }

  private func require(_ role: Configuration.Role) throws {
    guard configuration.roles.contains(role) else {
      throw PlatformError(
        .failedPrecondition,
        "this process does not have the role '\(role.rawValue)'; add it to `roles`, or start it with "
          + "`martlet up --roles \((configuration.roles + [role]).map(\.rawValue).joined(separator: ","))`"
      )
    }
  }

  func source(_ name: String) throws -> SourceDefinition {
    let sources = online.visible.current.project.sources
    guard let source = sources.first(where: { $0.name == name }) else {
      throw PlatformError(
        .notFound,
        "there is no source '\(name)'\(suggestion(for: name, among: sources.map(\.name)))")
    }
    return source
  }

  // MARK: Ingest

  func checkFile(source name: String, name file: String, format: String?) throws {
    _ = try source(name)
    _ = try fileFormat(format, file)
  }

  private func fileFormat(_ format: String?, _ name: String) throws -> FileFormat {
    if let format {
      guard let known = FileFormat(rawValue: format) else {
        throw PlatformError(
          .invalidArgument, "a file's format is csv, parquet or jsonl, not '\(format)'")
      }
      return known
    }
    guard let known = FileFormat(path: name) else {
      throw PlatformError(
        .invalidArgument,
        "the name '\(name)' does not tell the file's format; end it in .csv, .parquet or .jsonl, or state the format"
      )
    }
    return known
  }

  func ingestFile(
    at path: String, name: String, source: String, format: String?, strict: Bool,
    progress: @escaping @Sendable (FileProgress) -> Void = { _ in }
  ) async throws -> FileReport {
    let source = try self.source(source)
    let format = try fileFormat(format, name)
    return try await announcingIngest(name, into: source) {
      try await files.ingest(
        path: path, name: name, source: source, format: format, strict: strict, progress: progress)
    }
  }

  // MARK: Features

  /// Joins features to the spine in a file and writes the answer to another.
  func history(
    _ call: HistoryCall, spine: String, output: String
  ) async throws -> TrainingSet.Report {
    let snapshot = try await snapshot(for: call)
    let rows = try await self.spine(call, at: spine, snapshot)
    let set = try await PointInTimeJoin.run(
      spine: rows, time: call.time, features: call.features, mode: call.mode,
      snapshot: snapshot, warehouse: warehouse)
    try await tables.write(set.columns, to: output, format: call.format)
    return set.report
  }

  // MARK: Models

  func predict(
    model: String, version: Int64?, rows: [RequestRow], requestID: String?, timeout: Span?,
    wantsExplanation: Bool = false
  ) async throws -> PredictAnswer {
    try await predict(
      PredictRequest(
        model: model, version: version, rows: rows, requestID: requestID, timeout: timeout,
        wantsExplanation: wantsExplanation))
  }

  func predict(_ request: PredictRequest) async throws -> PredictAnswer {
    try require(.serving)
    let start = DispatchTime.now().uptimeNanoseconds
    do {
      let answer = try await predictor.predict(request)
      statistics.record(answer, at: clock.now)
      return answer
    } catch {
      if let version = request.version ?? servedVersion(of: request.model) {
        statistics.recordFailure(
          model: request.model, version: version,
          microseconds: Int((DispatchTime.now().uptimeNanoseconds - start) / 1_000), at: clock.now)
      }
      throw error
    }
  }

  func servedVersion(of model: String) -> Int64? { served.current[model]?.version }

  func version(_ model: String, _ text: String) throws -> ModelVersion {
    try requireModel(model)
    let versions = catalog.changes.current.models[model] ?? []
    guard let number = Int64(text), let found = versions.first(where: { $0.version == number })
    else {
      throw PlatformError(
        .notFound,
        "model '\(model)' has no version '\(text)'"
          + suggestion(for: text, among: versions.map { String($0.version) }))
    }
    return found
  }

  func window(_ text: String) throws -> Span {
    guard let span = Span(text) else {
      throw PlatformError(
        .invalidArgument, "'\(text)' is not a window; write for example 30m, 24h, 7d")
    }
    return span
  }

  // MARK: Jobs

  func train(
    model: String, reason: String, parameters: TrainingParameters, idempotencyKey: String?
  ) async throws -> JobRun {
    try requireModel(model)
    try require(.orchestrator)
    return try await jobs.file(
      NewJob(model: model, reason: reason, parameters: parameters, idempotencyKey: idempotencyKey))
  }

  /// Files a job that computes the online state of a view, or the transform columns of a source, anew.
  func backfill(_ call: BackfillCall) async throws -> JobRun {
    let job = try call.job(online.visible.current)
    try require(.orchestrator)
    return try await jobs.file(job)
  }

  /// The job once its state or progress differs from what was seen, or after a few seconds.
  func nextChange(of id: String, seen: String) async throws -> JobRun {
    let wakeUps = jobs.wakeUps()
    return try await withThrowingTaskGroup(of: Void.self) { group in
      group.addTask { for await _ in wakeUps where try await isNews(id, seen) { return } }
      group.addTask { try await Task.sleep(for: .seconds(5)) }
      try await group.next()
      group.cancelAll()
      return try await jobs.job(id)
    }
  }

  private func isNews(_ id: String, _ seen: String) async throws -> Bool {
    let job = try await jobs.job(id)
    return job.state.isFinal || job.progress != seen
  }

  // MARK: Operation

  /// Moves a simulated clock; it never goes back.
  func moveClock(to time: Timestamp) throws -> Timestamp {
    guard let clock = clock as? SimulatedClock else {
      throw PlatformError(
        .failedPrecondition,
        "the platform goes by the machine's clock; start it with clock.mode = simulated to move it")
    }
    return clock.advance(to: time)
  }

  /// Everything recorded so far, with the state of the rooms as it is now, as Prometheus text.
  func exposition() -> String {
    for (source, counts) in ingestor.counters {
      let labels = [("source", source)]
      metrics.setCounter("martlet_ingest_events_total", labels, to: counts.accepted)
      metrics.setCounter("martlet_ingest_duplicates_total", labels, to: counts.duplicates)
    }
    recordQuarantine()
    let now = clock.now
    for (source, fresh) in online.freshness(at: now) {
      let labels = [("source", source)]
      if let newest = fresh.newest {
        metrics.setGauge("martlet_freshness_seconds", labels, to: (now - newest).inSeconds)
      }
      metrics.setGauge(
        "martlet_future_seconds", labels, to: fresh.furthestAhead.map { ($0 - now).inSeconds } ?? 0)
    }
    for (view, fresh) in online.freshnessOfViews(at: now) {
      guard let newest = fresh.newest else { continue }
      metrics.setGauge(
        "martlet_view_freshness_seconds", [("view", view)], to: (now - newest).inSeconds)
    }
    kafkaWatch?.record(in: metrics)
    let snapshot = catalog.changes.current
    metrics.setGauge("martlet_definitions_version", [], to: Double(snapshot.definitionsVersion))
    metrics.setGauge(
      "martlet_online_store_away", [],
      to: ingestor.isBehind || onlineWatch.fault != nil ? 1 : 0)
    metrics.setGauge("martlet_ingest_queue_rows", [], to: Double(ingestor.queuedRows))
    return metrics.exposition()
  }

  /// By view how many keys have a state; none, and why, where the online store is away.
  private func entityKeys() async -> ([String: Int], (any Error)?) {
    if let fault = onlineWatch.fault { return ([:], fault) }
    do {
      return (try await online.counts(), nil)
    } catch {
      return ([:], error)
    }
  }

  func status() async throws -> JSON {
    let snapshot = catalog.changes.current
    let (keys, fault) = await entityKeys()
    let now = clock.now
    return .object([
      "project": .string(snapshot.project.name), "now": .string(clock.now.description),
      "definitions_version": .int(snapshot.definitionsVersion),
      "sources": .object(
        ingestor.counters.sorted { $0.key < $1.key }.map { name, counts in
          .init(
            name,
            .object([
              "accepted": .int(Int64(counts.accepted)),
              "duplicates": .int(Int64(counts.duplicates)),
              "quarantined": .int(Int64(counts.quarantined)),
            ]))
        }),
      "freshness": .array(try freshness().map { $0.json(at: now) }),
      "kafka": kafkaWatch?.json ?? .null,
      "online_store": .object([
        "ready": .bool(fault == nil), "error": fault.map { .string("\($0)") } ?? .null,
      ]),
      "entity_keys": .object(keys.sorted { $0.key < $1.key }.map { .init($0, .int(Int64($1))) }),
      "serving": .object(
        served.current.sorted { $0.key < $1.key }.map { .init($0.key, .int($0.value.version)) }),
      "workers": .array(
        workers.workers.map { worker in
          .object([
            "id": .string(worker.id), "role": .string(worker.role), "state": .string(worker.state),
            "memory_bytes": .int(Int64(worker.memory)),
            "pid": worker.pid.map { .int(Int64($0)) } ?? .null,
            "last_end": worker.lastEnd.map { .string($0) } ?? .null,
            "models": .array(worker.models.map { .string($0.description) }),
            "remote": worker.remote.map { .string($0) } ?? .null,
          ])
        }),
      "prediction_log_waiting": .int(Int64(log.waiting)),
    ])
  }
}
