import Core
import Foundation
import GRDB
import Logging
import Synchronization

/// Definitions and model versions in one SQLite file, and the snapshot of them that every room works with.
///
/// Guarantees: each change is one durable transaction, or nothing; a change of this process is published before the call
/// returns; one of another process is published by `run()` within about the polling interval. Snapshots are
/// published in the order of their versions.
package final class CatalogStore: Sendable {
  /// The current snapshot; replaced as a whole with every change.
  package let changes: Published<Snapshot>

  /// The alias that names the version in production of each model; to set it is to promote.
  package let deployAlias: String

  private let pool: DatabasePool
  let clock: any WallClock
  /// Signs what is published; nil where there is no key.
  private let signer: ArtifactSigner?
  private let sleep: @Sendable (Duration) async throws -> Void
  private let log: Logger
  private let publishing = Mutex(())

  /// Opens or makes the file and reads what it holds.
  ///
  /// - Parameter sleep: waits between two looks for the changes of other processes.
  package init(
    path: String, clock: any WallClock, deployAlias: String = "champion",
    signer: ArtifactSigner? = nil,
    log: Logger = Logger(label: "martlet.catalog"),
    sleep: @escaping @Sendable (Duration) async throws -> Void = { try await Task.sleep(for: $0) }
  ) throws(PlatformError) {
    do {
      pool = try DatabasePool(path: path, configuration: CatalogSchema.configuration)
      try pool.write { db in
        try CatalogSchema.migrate(db)
        try Self.registerDefined(db, at: clock.now)
      }
      changes = Published(try pool.read(Self.snapshot))
    } catch {
      throw Self.storageError(error, "the catalog '\(path)' cannot be opened")
    }
    self.clock = clock
    self.deployAlias = deployAlias
    self.signer = signer
    self.sleep = sleep
    self.log = log
  }

  /// What SQLite finds wrong with a file of the platform; nil where it is whole.
  package static func damage(of path: String) -> String? {
    do {
      var configuration = GRDB.Configuration()
      configuration.readonly = true
      let queue = try DatabaseQueue(path: path, configuration: configuration)
      let found = try queue.read { try String.fetchAll($0, sql: "PRAGMA quick_check(1)") }
      return found == ["ok"] ? nil : found.joined(separator: "; ")
    } catch let error as DatabaseError {
      return error.message ?? "\(error.resultCode)"
    } catch {
      return "\(error)"
    }
  }

  package func close() throws { try pool.close() }

  /// Writes a file with everything that was committed before.
  package func copy(to path: String) async throws {
    do {
      try await pool.writeWithoutTransaction { db in
        try db.execute(sql: "VACUUM INTO ?", arguments: [path])
      }
    } catch {
      throw Self.storageError(error, "the catalog could not be copied to '\(path)'")
    }
  }

  /// Publishes the changes of other processes until the task is cancelled.
  package func run() async {
    var seen: Int?
    while !Task.isCancelled {
      do {
        // The writer's own commits do not change this number, so it tells of other processes only.
        let version = try await pool.writeWithoutTransaction { db in
          try Int.fetchOne(db, sql: "PRAGMA data_version")
        }
        if version != seen {
          publish(try await pool.read(Self.snapshot))
          seen = version
        }
        try await sleep(.milliseconds(200))
      } catch is CancellationError {
        return
      } catch {
        log.error("the catalog cannot be read", metadata: ["error": "\(error)"])
        do { try await sleep(.seconds(1)) } catch { return }
      }
    }
  }

  /// What is stored now, read from the file.
  package func snapshot() async throws -> Snapshot {
    try await reading("the catalog cannot be read", Self.snapshot)
  }
}

// MARK: Definitions

extension CatalogStore {
  /// What `apply` would do with these definitions.
  ///
  /// - Parameters:
  ///   - jobs: those that are not over, to find which a change would break.
  ///   - stored: looks into the warehouse: a column of a source that has events keeps its type. Nil where there is none to look into.
  package func plan(
    yaml: [UInt8], directory: String, jobs: [LineageJob] = [], stored: StoredSource.Look? = nil
  ) async throws -> DefinitionPlan {
    let project = try Self.parse(yaml, directory)
    let found = try await StoredSource.ask(stored, from: changes.current.project, to: project)
    return try await reading("the catalog cannot be read") { db in
      DefinitionPlan(
        from: try AppliedDefinitions.newest(db)?.project, to: project, models: try Self.models(db),
        jobs: jobs, stored: found)
    }
  }

  /// The sources of which these definitions change the type of a stored column.
  package func retypedSources(
    yaml: [UInt8], directory: String, stored: @escaping StoredSource.Look
  ) async throws -> [String] {
    let project = try Self.parse(yaml, directory)
    let found = try await StoredSource.ask(stored, from: changes.current.project, to: project)
    return project.sources.filter { found[$0.name]?.isRetyped(by: $0) ?? false }.map(\.name)
  }

  /// Puts definitions in force, as one transaction; definitions that mean the same as those in force change nothing.
  ///
  /// Versions of models that are no longer defined are archived. Throws with every error of the text, or with everything
  /// that the change would break.
  package func apply(
    yaml: [UInt8], directory: String, author: String, now: Timestamp, jobs: [LineageJob] = [],
    stored: StoredSource.Look? = nil
  ) async throws -> Snapshot {
    let project = try Self.parse(yaml, directory)
    let json = try AppliedDefinitions.canonicalJSON(project)
    let next = AppliedDefinitions(
      version: 1, digest: AppliedDefinitions.digest(json),
      yaml: String(decoding: yaml, as: UTF8.self),
      project: project, projectDirectory: directory, author: author, appliedAt: now)
    let found = try await StoredSource.ask(stored, from: changes.current.project, to: project)
    return try await changing("the definitions cannot be stored") { db in
      try Self.apply(next, json: json, jobs, found, db)
    }
  }

  /// Every applied version, newest first.
  package func history() async throws -> [AppliedDefinitions] {
    try await reading("the catalog cannot be read", AppliedDefinitions.all)
  }

  /// Applied versions by number; one that this Martlet cannot read is left out.
  package func definitions(_ versions: Set<Int64>) async throws -> [AppliedDefinitions] {
    try await reading("the catalog cannot be read") { db in
      try versions.sorted(by: >).compactMap { version in
        try AppliedDefinitions.find(db, "WHERE version = ?", [version])
      }
    }
  }

  /// The version that was in force at a time; nil before the first.
  package func definitions(inForceAt time: Timestamp) async throws -> AppliedDefinitions? {
    try await reading("the catalog cannot be read") { db in
      try AppliedDefinitions.find(
        db, "WHERE applied_at <= ? ORDER BY version DESC LIMIT 1", [time.microseconds])
    }
  }

  private static func parse(_ yaml: [UInt8], _ directory: String) throws -> ProjectDefinition {
    do {
      return try DefinitionFile.parse(yaml, directory: directory)
    } catch {
      throw error.platformError
    }
  }

  /// True if there was something to change.
  private static func apply(
    _ next: AppliedDefinitions, json: [UInt8], _ jobs: [LineageJob],
    _ stored: [String: StoredSource], _ db: Database
  ) throws -> Bool {
    let current = try AppliedDefinitions.newest(db)
    if let current, current.digest == next.digest, current.projectDirectory == next.projectDirectory
    {
      return false
    }
    let plan = DefinitionPlan(
      from: current?.project, to: next.project, models: try models(db), jobs: jobs,
      stored: stored)
    guard plan.breakages.isEmpty else {
      throw PlatformError(
        .failedPrecondition,
        "the definitions were not applied:\n"
          + plan.breakages.map { "- \($0.message)" }.joined(separator: "\n"))
    }
    var applied = next
    applied.version = (current?.version ?? 0) + 1
    try applied.insert(db, json: json)
    for version in try ModelVersionRecord.all(db)
    where version.stage != .archived && next.project.model(version.model) == nil {
      let move = StageChange.Move(
        version.version, version.stage, .archived, why: "the model was removed from the definitions"
      )
      try ModelVersionRecord.move(
        db, move, of: version.model, who: next.author, at: next.appliedAt)
    }
    let former = (current?.project.models ?? []).map(\.name)
    try RegisteredModelRecord.forget(db, former.filter { next.project.model($0) == nil })
    try RegisteredModelRecord.ensure(db, next.project.models.map(\.name), at: next.appliedAt)
    return true
  }

  /// Every model of the definitions is in the registry, also where a former Martlet applied them.
  private static func registerDefined(_ db: Database, at time: Timestamp) throws {
    let names = try? AppliedDefinitions.newest(db)?.project.models.map(\.name)
    try RegisteredModelRecord.ensure(db, names ?? [], at: time)
  }
}

// MARK: Models

extension CatalogStore: ModelRegistry {
  package func publish(_ new: NewModelVersion) async throws -> ModelVersion {
    let now = clock.now
    _ = try await changing("the version cannot be published") { [signer] db in
      try Self.publish(new, signer, at: now, db)
    }
    return try await reading("the catalog cannot be read") { db in
      guard let published = try ModelVersionRecord.published(db, byJob: new.jobID) else {
        throw PlatformError(
          .internalError, "the version of job '\(new.jobID)' is not in the catalog")
      }
      return published
    }
  }

  /// True if the version is new; false if the job has published it already.
  private static func publish(
    _ new: NewModelVersion, _ signer: ArtifactSigner?, at now: Timestamp, _ db: Database
  ) throws -> Bool {
    if let earlier = try ModelVersionRecord.published(db, byJob: new.jobID) {
      guard earlier.model == new.model else {
        throw PlatformError(
          .conflict,
          "job '\(new.jobID)' has already published a version of model '\(earlier.model)', not of '\(new.model)'"
        )
      }
      return false
    }
    let project = try AppliedDefinitions.newest(db)?.project
    guard let project, project.model(new.model) != nil else {
      throw PlatformError(
        .failedPrecondition,
        "model '\(new.model)' is not in the definitions\(suggestion(for: new.model, among: project?.models.map(\.name) ?? []))"
      )
    }
    var version = ModelVersion(
      model: new.model, version: try ModelVersionRecord.nextVersion(db, of: new.model),
      stage: .registered, artifact: new.artifact, baseline: new.baseline, format: new.format,
      features: new.features, definitionsVersion: new.trainingSet.definitionsVersion,
      trainingSet: new.trainingSet, metrics: new.metrics, libraries: new.libraries,
      jobID: new.jobID, createdAt: now)
    version.native = new.native
    version.artifactSignature = signer?.signature(of: version)
    try ModelVersionRecord.insert(db, version)
    try RegisteredModelRecord.ensure(db, [new.model], at: now)
    try RegisteredModelRecord.touch(db, new.model, at: now)
    try ModelVersionRecord.audit(
      db,
      ModelTransition(
        model: new.model, version: version.version, from: nil, to: .registered,
        who: "job \(new.jobID)", why: "published", at: now))
    return true
  }

  package func promote(
    model: String, version: Int64, who: String, why: String
  ) async throws -> ModelVersion {
    try await move(model: model, version: version, to: .production, who: who, why: why)
  }

  /// Takes a version out of use: it stays in the registry and may be promoted again.
  ///
  /// - Throws: `failed_precondition` for the version in production, which something would have to replace first.
  package func archive(
    model: String, version: Int64, who: String, why: String
  ) async throws -> ModelVersion {
    try await move(model: model, version: version, to: .archived, who: who, why: why)
  }

  package func versions(of model: String) async throws -> [ModelVersion] {
    try await reading("the catalog cannot be read") { db in
      try ModelVersionRecord.versions(db, of: model)
    }
  }

  /// The audit of a model, oldest first.
  package func transitions(of model: String) async throws -> [ModelTransition] {
    try await reading("the catalog cannot be read") { db in
      try ModelVersionRecord.transitions(db, of: model)
    }
  }

  private func move(
    model: String, version: Int64, to stage: ModelStage, who: String, why: String
  ) async throws -> ModelVersion {
    let now = clock.now
    _ = try await changing("the model's stage cannot be changed") { db in
      // Only what was trained here has a `ModelVersion` to answer with.
      _ = try ModelVersionRecord.find(db, model: model, version: version)
      return try Self.move(model, version, to: stage, who: who, why: why, at: now, db)
    }
    return try await reading("the catalog cannot be read") { db in
      try ModelVersionRecord.find(db, model: model, version: version)
    }
  }
}

// MARK: Transactions

extension CatalogStore {
  /// Runs one writing transaction; when it changed something, counts the change and publishes the result.
  func changing(
    _ failure: String, _ body: @escaping @Sendable (Database) throws -> Bool
  ) async throws -> Snapshot {
    do {
      let snapshot = try await pool.write { db in
        if try body(db) {
          try db.execute(sql: "UPDATE catalog_changes SET count = count + 1")
        }
        return try Self.snapshot(db)
      }
      publish(snapshot)
      return snapshot
    } catch {
      throw Self.storageError(error, failure)
    }
  }

  /// Runs one writing transaction of what no snapshot holds: nothing is published.
  func noting<Result: Sendable>(
    _ failure: String, _ body: @escaping @Sendable (Database) throws -> Result
  ) async throws -> Result {
    do {
      return try await pool.write(body)
    } catch {
      throw Self.storageError(error, failure)
    }
  }

  func reading<Result: Sendable>(
    _ failure: String, _ body: @escaping @Sendable (Database) throws -> Result
  ) async throws -> Result {
    do {
      return try await pool.read(body)
    } catch {
      throw Self.storageError(error, failure)
    }
  }

  /// Replaces the snapshot unless a newer one is there already.
  private func publish(_ snapshot: Snapshot) {
    // Held while publishing, so that two changes at once are seen in their order.
    publishing.withLock { _ in
      if snapshot.version > changes.current.version { changes.publish(snapshot) }
    }
  }

  private static func snapshot(_ db: Database) throws -> Snapshot {
    let count = try Int64.fetchOne(db, sql: "SELECT count FROM catalog_changes") ?? 0
    guard let applied = try AppliedDefinitions.newest(db) else { return .empty }
    return Snapshot(
      version: count, definitionsVersion: applied.version, definitionsDigest: applied.digest,
      projectDirectory: applied.projectDirectory, project: applied.project, models: try models(db),
      canaries: try RolloutRecord.canaries(db, project: applied.project))
  }

  private static func models(_ db: Database) throws -> [String: [ModelVersion]] {
    Dictionary(grouping: try ModelVersionRecord.all(db), by: \.model)
  }

  private static func storageError(_ error: any Error, _ failure: String) -> PlatformError {
    if let error = error as? PlatformError { return error }
    guard let error = error as? DatabaseError else {
      return PlatformError(.storage, failure, cause: error)
    }
    switch error.resultCode {
    case .SQLITE_BUSY, .SQLITE_LOCKED:
      return PlatformError(
        .unavailable, "\(failure): another process holds the catalog; try again", cause: error)
    case .SQLITE_FULL:
      return PlatformError(
        .storage, "\(failure): the disk is full; make room and try again", cause: error)
    case .SQLITE_NOTADB, .SQLITE_CORRUPT:
      return PlatformError(
        .storage, "\(failure): the file is damaged or is not a catalog; restore it from a backup",
        cause: error)
    case .SQLITE_CANTOPEN, .SQLITE_READONLY, .SQLITE_PERM:
      return PlatformError(
        .storage, "\(failure): check that its folder exists and can be written", cause: error)
    default: return PlatformError(.storage, failure, cause: error)
    }
  }
}
