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
  /// Versions besides production that callers named and that stay loaded.
  private static let maximumExtras = 4
  private static let firstPause = Span.seconds(1)
  private static let longestPause = Span.minutes(1)

  private struct Table {
    var production: [String: ServedModel] = [:]
    /// Newest use last.
    var extras: [ServedModel] = []
    /// What the registry wants to serve, by model.
    var wanted: [String: Int64] = [:]
    var metrics: [String: ModelMetrics] = [:]
    /// Why the version in production does not serve yet, by model.
    var failures: [String: String] = [:]
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

  /// What answers now, by model.
  package var current: [String: ServedModel] { table.withLock { $0.production } }

  /// Why the version in production could not be loaded at the last try; nil where it could or is still on its way.
  package func failure(of model: String) -> String? { table.withLock { $0.failures[model] } }

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
      if let production = table.production[model], number == nil || production.version == number {
        return true
      }
      return table.extras.contains { $0.key.model == model && $0.version == number }
    }
  }

  package func isUnloaded(_ model: String) -> Bool {
    table.withLock { $0.unloaded.contains(model) }
  }

  /// Lets go of every version of the model, and refuses its predictions until `load`; its last calls are answered.
  package func unload(_ model: String) {
    let gone = table.withLock { table in
      table.unloaded.insert(model)
      table.wanted[model] = nil
      var gone = table.extras.filter { $0.key.model == model }
      table.extras.removeAll { $0.key.model == model }
      if let production = table.production.removeValue(forKey: model) { gone.append(production) }
      return gone
    }
    for served in gone { host.unload(served.key) }
  }

  /// Takes the model back into service; returns once its production version is loaded.
  package func load(_ model: String, in snapshot: Snapshot, timeout: Span) async throws {
    table.withLock { table in
      table.unloaded.remove(model)
      table.wanted[model] = snapshot.production(of: model)?.version
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
        for await snapshot in self.snapshot.changes() {
          for version in self.newlyWanted(in: snapshot) {
            group.addTask { await self.reload(version) }
          }
        }
        group.cancelAll()
      }
    }
  }

  /// Notes what production is now; versions that went out of production without a successor are let
  /// go.
  private func newlyWanted(in snapshot: Snapshot) -> [ModelVersion] {
    let all = snapshot.models.keys.compactMap { snapshot.production(of: $0) }
    let (new, gone) = table.withLock { table in
      let production = all.filter { !table.unloaded.contains($0.model) }
      let new = production.filter { table.wanted[$0.model] != $0.version }
      table.wanted = Dictionary(production.map { ($0.model, $0.version) }) { first, _ in first }
      for version in new { table.failures[version.model] = nil }
      let gone = table.production.values.filter { table.wanted[$0.key.model] == nil }
      for served in gone { table.production[served.key.model] = nil }
      return (new, gone)
    }
    for served in gone { host.unload(served.key) }
    return new
  }

  private func isWanted(_ version: ModelVersion) -> Bool {
    table.withLock { $0.wanted[version.model] == version.version }
  }

  private func reload(_ version: ModelVersion) async {
    var pause = Self.firstPause
    while isWanted(version), !Task.isCancelled {
      do {
        try await load(version)
        return swapIn(version)
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
        table.withLock { $0.failures[version.model] = message }
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
  private func swapIn(_ version: ModelVersion) {
    let new = served(version)
    let (isIn, old) = table.withLock { table -> (Bool, ModelKey?) in
      table.extras.removeAll { $0.key == new.key }
      guard table.wanted[version.model] == version.version else { return (false, new.key) }
      table.failures[version.model] = nil
      let old = table.production[version.model]?.key
      table.production[version.model] = new
      return (true, old == new.key ? nil : old)
    }
    if isIn {
      log.info(
        "a version serves",
        metadata: ["model": "\(version.model)", "version": "\(version.version)"])
    }
    if let old { host.unload(old) }
  }

  private func served(_ version: ModelVersion) -> ServedModel {
    ServedModel(version, metrics: metrics(of: version.model))
  }

  /// The metrics of a model that there is.
  func metrics(of model: String) -> ModelMetrics {
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
      guard let number else { return table.production[model] }
      if let served = table.production[model], served.version == number { return served }
      return table.extras.first { $0.version == number && $0.key.model == model }
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
    let evicted = table.withLock { table -> [ServedModel] in
      let isWanted = (table.wanted[version.model] ?? version.version) == version.version
      if isProduction, isWanted, table.production[version.model] == nil {
        table.production[version.model] = served
        return []
      }
      if table.production[version.model]?.key == served.key { return [] }
      table.extras.removeAll { $0.key == served.key }
      table.extras.append(served)
      let surplus = table.extras.prefix(max(0, table.extras.count - Self.maximumExtras))
      table.extras.removeFirst(surplus.count)
      return Array(surplus)
    }
    for old in evicted { host.unload(old.key) }
    return served
  }

  /// Drops a version from the table that the engine turned out not to hold.
  func forget(_ key: ModelKey) {
    table.withLock { table in
      table.extras.removeAll { $0.key == key }
      if table.production[key.model]?.key == key { table.production[key.model] = nil }
    }
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
