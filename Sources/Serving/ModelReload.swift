import Core
import Logging
import Metrics
import ServiceLifecycle
import Synchronization
import Workers

/// The table of what serves: follows the registry and swaps a version in only when it is loaded and
/// warm.
///
/// Guarantees: while a newer version loads, or does not load, the old one answers; an old version
/// is let go only after the table names the new one, and its last calls are answered; a version
/// that fails to load is tried again, later and later.
package final class ModelReload: Service, Sendable {
  private static let firstPause = Span.seconds(1)
  private static let longestPause = Span.minutes(1)

  private struct Table {
    var slots = ServingSlots()
    var metrics: [String: ModelMetrics] = [:]
    /// Models that a caller took out of service in this process, whatever the registry wants.
    var unloaded: Set<String> = []
  }

  private let snapshot: Published<Snapshot>
  private let blobs: any BlobStore
  private let host: any ModelHost
  private let workersPerModel: Int
  private let trust: ArtifactTrust
  private let clock: WorkerClock
  private let log: Logger
  private let table = Mutex(Table())
  /// Slots besides production whose version an engine lost: nobody asks for them by name, so they are loaded again.
  private let again = AsyncStream.makeStream(
    of: ServingSlots.Slot.self, bufferingPolicy: .bufferingNewest(64))

  package init(
    snapshot: Published<Snapshot>, blobs: any BlobStore, workers: any ModelHost,
    workersPerModel: Int = 1, trust: ArtifactTrust = ArtifactTrust(),
    log: Logger = Logger(label: "martlet.reload"),
    clock: WorkerClock = .system
  ) {
    self.snapshot = snapshot
    self.blobs = blobs
    host = workers
    self.workersPerModel = workersPerModel
    self.trust = trust
    self.clock = clock
    self.log = log
  }

  /// What is in production and answers now, by model.
  package var current: [String: ServedModel] { table.withLock { $0.slots.production } }

  /// The way of every row of a model; nil for one that nothing is wanted of.
  package func routes(of model: String) -> RouteTable? {
    table.withLock { $0.slots.routes[model] }
  }

  /// Why the version in a stage could not be loaded at the last try; nil where it could or is still on its way.
  package func failure(of model: String, in stage: ModelStage = .production) -> String? {
    table.withLock { $0.slots.failures[ServingSlots.Slot(model: model, stage: stage)] }
  }

  /// True once every version that is in production is loaded.
  package var isReady: Bool {
    let models = snapshot.current.models.keys
    let current = current
    return models.allSatisfy { model in
      snapshot.current.production(of: model) == nil || current[model] != nil || isUnloaded(model)
    }
  }

  // MARK: In and out of service

  /// Whether a version, or the one in production, answers without being loaded first.
  package func isLoaded(_ number: Int64?, of model: String) -> Bool {
    table.withLock { table in
      if let number { return table.slots.named(number, of: model) != nil }
      return table.slots.routes[model]?.production != nil
    }
  }

  package func isUnloaded(_ model: String) -> Bool {
    table.withLock { $0.unloaded.contains(model) }
  }

  /// Lets go of every version of the model, and refuses its predictions until `load`; its last calls are answered.
  package func unload(_ model: String) {
    let unload = table.withLock { table in
      table.unloaded.insert(model)
      return table.slots.drop(model)
    }
    for key in unload { host.unload(key) }
  }

  /// Takes the model back into service; returns once its production version is loaded.
  package func load(_ model: String, in snapshot: Snapshot, timeout: Span) async throws {
    table.withLock { table in _ = table.unloaded.remove(model) }
    for slot in newlyWanted(in: snapshot) where slot.stage != .production {
      again.continuation.yield(slot)
    }
    _ = try await version(nil, of: model, in: snapshot, timeout: timeout)
  }

  private func checkInService(_ model: String) throws {
    guard isUnloaded(model) else { return }
    throw PlatformError(
      .failedPrecondition,
      "model '\(model)' was unloaded; load it again: POST /v2/repository/models/\(model)/load")
  }

  // MARK: Following the registry

  package func run() async throws {
    await cancelWhenGracefulShutdown {
      await withDiscardingTaskGroup { group in
        group.addTask {
          await withDiscardingTaskGroup { lost in
            for await slot in self.again.stream { lost.addTask { await self.reload(slot) } }
          }
        }
        for await snapshot in self.snapshot.changes() {
          for slot in self.newlyWanted(in: snapshot) {
            group.addTask { await self.reload(slot) }
          }
        }
        group.cancelAll()
      }
    }
  }

  /// Notes what each stage holds now; versions that went out of all of them without a successor are let go.
  private func newlyWanted(in snapshot: Snapshot) -> [ServingSlots.Slot] {
    let (load, unload) = table.withLock { table in
      var metrics = table.metrics
      let change = table.slots.follow(snapshot, without: table.unloaded) { version in
        let known = metrics[version.model] ?? ModelMetrics(model: version.model)
        metrics[version.model] = known
        return ServedModel(version, metrics: known)
      }
      table.metrics = metrics
      return change
    }
    for key in unload { host.unload(key) }
    return load
  }

  private func wanted(_ slot: ServingSlots.Slot) -> ModelVersion? {
    table.withLock { $0.slots.wanted[slot] }
  }

  private func reload(_ slot: ServingSlots.Slot) async {
    guard let version = wanted(slot) else { return }
    var pause = Self.firstPause
    while wanted(slot)?.version == version.version, !Task.isCancelled {
      do {
        try await load(version)
        return swapIn(version, slot)
      } catch {
        if Task.isCancelled { return }
        Counter(
          label: "martlet_model_reload_failures_total", dimensions: [("model", version.model)]
        )
        .increment()
        log.error(
          "cannot load a version; what served before goes on serving: \(error)",
          metadata: ["model": "\(version.model)", "version": "\(version.version)"])
        let message = "\(error)"
        table.withLock { $0.slots.failed(slot, version: version.version, message) }
        try? await clock.sleep(pause)
        pause = min(Self.longestPause, Span(microseconds: pause.microseconds * 2))
      }
    }
  }

  private func load(_ version: ModelVersion) async throws {
    try trust.check(version)
    let path = try await blobs.localPath(of: version.artifact)
    var artifact = ModelArtifact(
      key: ModelKey(model: version.model, version: version.version), path: path,
      sha256: version.artifact.hex, format: version.format,
      features: version.features.flatMap(\.columnNames))
    if let native = version.native?.artifact {
      artifact.nativePath = try await blobs.localPath(of: native)
    }
    try await host.ensureLoaded(artifact, workers: workersPerModel)
  }

  /// Puts a loaded version in front; the one before it finishes what it has and goes.
  private func swapIn(_ version: ModelVersion, _ slot: ServingSlots.Slot) {
    let new = served(version)
    let (isIn, unload) = table.withLock { $0.slots.loaded(slot, new) }
    if isIn {
      log.info(
        "a version serves",
        metadata: [
          "model": "\(version.model)", "version": "\(version.version)",
          "stage": "\(slot.stage.rawValue)",
        ])
    }
    for key in unload { host.unload(key) }
  }

  private func served(_ version: ModelVersion) -> ServedModel {
    ServedModel(version, metrics: metrics(of: version.model))
  }

  /// The metrics of a model that there is.
  package func metrics(of model: String) -> ModelMetrics {
    table.withLock { table in
      let metrics = table.metrics[model] ?? ModelMetrics(model: model)
      table.metrics[model] = metrics
      return metrics
    }
  }

  // MARK: Asking

  /// The version that is to answer; one that is not loaded yet is loaded first.
  ///
  /// - Throws: `not_found` for an unknown version, `failed_precondition` where none is in
  /// production.
  package func version(
    _ number: Int64?, of model: String, in snapshot: Snapshot, timeout: Span
  ) async throws -> ServedModel {
    try checkInService(model)
    let known = table.withLock { table -> ServedModel? in
      if let number { return table.slots.named(number, of: model) }
      return table.slots.routes[model]?.production
    }
    if let known { return known }
    let version = try Self.find(number, of: model, in: snapshot)
    try await within(timeout, version) { try await self.load(version) }
    return keep(version, isProduction: number == nil)
  }

  private static func find(
    _ number: Int64?, of model: String, in snapshot: Snapshot
  ) throws -> ModelVersion {
    let versions = snapshot.models[model] ?? []
    if let number {
      if let found = versions.first(where: { $0.version == number }) { return found }
      throw PlatformError(
        .notFound,
        "model '\(model)' has no version \(number)"
          + suggestion(for: String(number), among: versions.map { String($0.version) }))
    }
    if let production = snapshot.production(of: model) { return production }
    // One that was archived is no advice: it was put aside.
    let next =
      versions.first { $0.stage != .archived }
      .map { "promote one: martlet models promote \(model) \($0.version)" }
      ?? "train one first: martlet train \(model)"
    throw PlatformError(
      .failedPrecondition, "model '\(model)' has no version in production; \(next)")
  }

  private func keep(_ version: ModelVersion, isProduction: Bool) -> ServedModel {
    let served = served(version)
    for key in table.withLock({ $0.slots.keep(served, isProduction: isProduction) }) {
      host.unload(key)
    }
    return served
  }

  /// Drops a version from the table that the engine turned out not to hold.
  func forget(_ key: ModelKey) {
    let lost = table.withLock { $0.slots.forget(key) }
    for slot in lost { again.continuation.yield(slot) }
  }

  private func within(
    _ timeout: Span, _ version: ModelVersion, _ body: @escaping @Sendable () async throws -> Void
  ) async throws {
    try await withThrowingTaskGroup(of: Void.self) { group in
      group.addTask(operation: body)
      group.addTask { [clock] in
        try await clock.sleep(timeout)
        throw PlatformError(
          .deadlineExceeded,
          "version \(version.version) of model '\(version.model)' is still being loaded; retry",
          retryAfter: .seconds(1))
      }
      defer { group.cancelAll() }
      try await group.next()
    }
  }
}
