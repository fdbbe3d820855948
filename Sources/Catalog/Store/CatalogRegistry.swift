import Core
import Foundation
import GRDB
import Synchronization

/// The registry beside what training and serving need of it: registered models, versions from elsewhere, stages, aliases, tags.
///
/// Guarantees: each call is one durable transaction; whatever moves a version goes through `StageChange` and leaves an audit row.
extension CatalogStore {
  // MARK: Reading

  /// All of them, sorted by name.
  package func registeredModels() async throws -> [RegisteredModel] {
    let view = registryReading
    return try await reading("the registry cannot be read") { db in
      try RegisteredModelRecord.models(db, view)
    }
  }

  /// - Throws: `not_found`, see `RegistryMissing`.
  package func registeredModel(_ name: String) async throws -> RegisteredModel {
    let view = registryReading
    return try await reading("the registry cannot be read") { db in
      try RegisteredModelRecord.model(db, view, name)
    }
  }

  /// - Throws: `not_found`, see `RegistryMissing`.
  package func registeredVersion(
    _ model: String, _ version: Int64
  ) async throws -> RegisteredVersion {
    let view = registryReading
    return try await reading("the registry cannot be read") { db in
      try RegisteredModelRecord.version(db, view, model, version)
    }
  }

  /// - Throws: `not_found`, see `RegistryMissing`.
  package func registeredVersion(
    _ model: String, alias: String
  ) async throws -> RegisteredVersion {
    let view = registryReading
    return try await reading("the registry cannot be read") { db in
      let found = try RegisteredModelRecord.model(db, view, model)
      guard let number = found.aliases[alias],
        let version = found.versions.first(where: { $0.version == number })
      else { throw RegisteredModelRecord.noAlias(model, alias, known: found.aliases.keys) }
      return version
    }
  }

  // MARK: Models

  /// Registers a name. It is not served until a definition of that name is in force.
  ///
  /// - Throws: `already_exists`, also for the name of a defined model.
  package func register(
    model name: String, description: String?, tags: [String: String]
  ) async throws -> RegisteredModel {
    try RegistryNames.check(RegistryNames.problem(ofModel: name))
    try Self.check(description: description, tags: tags)
    let now = clock.now
    try await noting("the model cannot be registered") { db in
      guard try !RegisteredModelRecord.exists(db, name) else { throw Self.exists(name) }
      let count = try Int.fetchOne(db, sql: "SELECT count(*) FROM registered_models") ?? 0
      guard count < Limits.registeredModels else {
        throw PlatformError(
          .failedPrecondition,
          "the registry holds \(count) models and takes no more; delete some first")
      }
      try RegisteredModelRecord.ensure(db, [name], at: now)
      try Self.describe(db, name, description, at: now)
      for (key, value) in tags {
        try RegisteredModelRecord.set(db, tag: key, to: value, on: TagPlace(model: name))
      }
    }
    return try await registeredModel(name)
  }

  package func describe(model name: String, _ description: String?) async throws -> RegisteredModel
  {
    try Self.check(description: description, tags: [:])
    let now = clock.now
    try await noting("the model cannot be described") { db in
      try RegisteredModelRecord.require(db, name)
      try Self.describe(db, name, description, at: now)
    }
    return try await registeredModel(name)
  }

  /// - Throws: `failed_precondition` where definitions, predictions or lineage go by the name.
  package func rename(
    model name: String, to new: String, who: String
  ) async throws -> RegisteredModel {
    try RegistryNames.check(RegistryNames.problem(ofModel: new))
    let now = clock.now
    let view = registryReading
    _ = try await changing("the model cannot be renamed") { db in
      let model = try RegisteredModelRecord.model(db, view, name)
      guard try !RegisteredModelRecord.exists(db, new) else { throw Self.exists(new) }
      try Self.checkIsNotUsed(db, model, "renamed")
      for (table, column) in [
        ("registered_models", "name"), ("model_versions", "model"), ("model_tags", "model"),
        ("model_aliases", "model"), ("model_transitions", "model"),
      ] {
        try db.execute(
          sql: "UPDATE \(table) SET \(column) = ? WHERE \(column) = ?", arguments: [new, name])
      }
      try db.execute(
        sql: "UPDATE model_versions SET updated_at = ? WHERE model = ?",
        arguments: [now.microseconds, new])
      try RegisteredModelRecord.touch(db, new, at: now)
      for version in model.versions {
        try Self.audit(db, version, .renamed(from: name), as: new, who: who, why: "", at: now)
      }
      return true
    }
    return try await registeredModel(new)
  }

  /// Takes a model with its versions, tags and aliases out of the registry; the audit stays.
  ///
  /// - Throws: `failed_precondition` for a model of the definitions in force.
  package func delete(model name: String, who: String) async throws {
    let now = clock.now
    let view = registryReading
    _ = try await changing("the model cannot be deleted") { db in
      let model = try RegisteredModelRecord.model(db, view, name)
      guard !model.isDefined else {
        throw PlatformError(
          .failedPrecondition,
          "model '\(name)' is in the definitions and cannot be deleted; remove it from martlet.yaml and apply"
        )
      }
      for version in model.versions {
        try Self.delete(db, version, who: who, why: "the model was deleted", at: now)
      }
      // The numbers of trained versions are in logs and lineage and are not given again; those of others may be.
      try db.execute(
        sql: "DELETE FROM model_versions WHERE model = ? AND record IS NULL", arguments: [name])
      for table in ["model_tags", "model_aliases"] {
        try db.execute(sql: "DELETE FROM \(table) WHERE model = ?", arguments: [name])
      }
      try db.execute(sql: "DELETE FROM registered_models WHERE name = ?", arguments: [name])
      return true
    }
  }

  // MARK: Versions

  /// Registers a version whose artifact is elsewhere; it has a number and stages like others and cannot serve.
  package func register(_ new: NewRegisteredVersion) async throws -> RegisteredVersion {
    try Self.check(description: new.description, tags: new.tags)
    for text in [new.source, new.runID, new.runLink]
    where text.unicodeScalars.count > Limits.sourceCharacters {
      throw PlatformError(
        .invalidArgument,
        "the source of a version exceeds the maximum length of \(Limits.sourceCharacters) characters"
      )
    }
    let now = clock.now
    let added = Mutex<Int64>(0)
    _ = try await changing("the version cannot be registered") { db in
      try RegisteredModelRecord.require(db, new.model)
      let number = try ModelVersionRecord.nextVersion(db, of: new.model)
      guard number <= Limits.registeredVersions else {
        throw PlatformError(
          .failedPrecondition,
          "model '\(new.model)' has \(number - 1) versions and takes no more from elsewhere")
      }
      try ModelVersionRecord.insert(db, new, number: number, at: now)
      for (key, value) in new.tags {
        try RegisteredModelRecord.set(
          db, tag: key, to: value, on: TagPlace(model: new.model, version: number))
      }
      try RegisteredModelRecord.touch(db, new.model, at: now)
      try ModelVersionRecord.audit(
        db,
        ModelTransition(
          model: new.model, version: number, from: nil, to: .registered, who: new.who,
          why: "registered from \(new.source)", at: now))
      added.withLock { $0 = number }
      return true
    }
    return try await registeredVersion(new.model, added.withLock { $0 })
  }

  package func describe(
    _ model: String, version: Int64, _ description: String?
  ) async throws -> RegisteredVersion {
    try Self.check(description: description, tags: [:])
    let now = clock.now
    let view = registryReading
    return try await noting("the version cannot be described") { db in
      _ = try RegisteredModelRecord.version(db, view, model, version)
      try db.execute(
        sql:
          "UPDATE model_versions SET description = ?, updated_at = ? WHERE model = ? AND version = ?",
        arguments: [description, now.microseconds, model, version])
      return try RegisteredModelRecord.version(db, view, model, version)
    }
  }

  /// Takes a version with its tags and aliases out of the registry; its number is not given again and the audit stays.
  ///
  /// - Throws: `failed_precondition` for one that answers requests.
  package func delete(_ model: String, version: Int64, who: String) async throws {
    let now = clock.now
    let view = registryReading
    _ = try await changing("the version cannot be deleted") { db in
      let found = try RegisteredModelRecord.version(db, view, model, version)
      guard found.trained == nil || !found.isDefined || !found.stage.isServing else {
        throw PlatformError(
          .failedPrecondition,
          "version \(version) of model '\(model)' is in stage \(found.stage.rawValue) and serves; "
            + "it can be deleted once it is archived")
      }
      try Self.delete(db, found, who: who, why: "", at: now)
      try RegisteredModelRecord.touch(db, model, at: now)
      return true
    }
  }

  /// Moves a version to another stage, with what the rules of `StageChange` move along.
  package func transition(
    _ model: String, version: Int64, to stage: ModelStage, who: String, why: String,
    archivingOthers: Bool = false
  ) async throws -> RegisteredVersion {
    let now = clock.now
    let view = registryReading
    _ = try await changing("the model's stage cannot be changed") { db in
      let moved = try Self.move(db, (model, version), to: stage, who: who, why: why, at: now)
      guard archivingOthers else { return moved }
      let others = try RegisteredModelRecord.model(db, view, model).versions
        .filter { $0.stage == stage && $0.version != version }
      for other in others {
        let why = "version \(version) was moved to \(stage.rawValue) in its place: \(why)"
        _ = try Self.move(db, (model, other.version), to: .archived, who: who, why: why, at: now)
      }
      return moved || !others.isEmpty
    }
    return try await registeredVersion(model, version)
  }

  // MARK: Aliases and tags

  /// Lets an alias name a version; the alias of deployment promotes the version.
  package func set(
    alias: String, of model: String, to version: Int64, who: String, why: String
  ) async throws -> RegisteredVersion {
    try RegistryNames.check(RegistryNames.problem(ofAlias: alias, isNew: true))
    let now = clock.now
    let view = registryReading
    if alias == deployAlias {
      return try await transition(
        model, version: version, to: .production, who: who,
        why: why.isEmpty ? "alias \(alias) was set" : "alias \(alias) was set: \(why)")
    }
    return try await noting("the alias cannot be set") { db in
      let found = try RegisteredModelRecord.version(db, view, model, version)
      if try RegisteredModelRecord.alias(db, alias, of: model) == version { return found }
      try RegisteredModelRecord.set(db, alias: alias, of: model, to: version)
      try RegisteredModelRecord.touch(db, model, at: now)
      try Self.audit(db, found, .alias(alias), who: who, why: why, at: now)
      return try RegisteredModelRecord.version(db, view, model, version)
    }
  }

  /// Takes an alias away; one that is not there is no error.
  ///
  /// - Throws: `failed_precondition` for the alias of deployment of a served model: it names what is in production.
  package func delete(
    alias: String, of model: String, who: String, why: String
  ) async throws {
    try RegistryNames.check(RegistryNames.problem(ofAlias: alias, isNew: false))
    let now = clock.now
    let view = registryReading
    let found = try await registeredModel(model)
    if alias == deployAlias {
      guard let version = found.aliases[alias] else { return }
      if found.isDefined { throw Self.deployed(model, version, alias) }
      _ = try await transition(
        model, version: version, to: .archived, who: who, why: "alias \(alias) was deleted")
      return
    }
    try await noting("the alias cannot be deleted") { db in
      guard let number = try RegisteredModelRecord.alias(db, alias, of: model) else { return }
      try RegisteredModelRecord.remove(db, alias: alias, of: model)
      try RegisteredModelRecord.touch(db, model, at: now)
      let version = try RegisteredModelRecord.version(db, view, model, number)
      try Self.audit(db, version, .aliasDeleted(alias), who: who, why: why, at: now)
    }
  }

  /// Sets tags, and takes away those without a value; one that is not there is no error.
  package func change(tags: [String: String?], on place: TagPlace) async throws {
    for (key, value) in tags {
      try RegistryNames.check(RegistryNames.problem(ofTag: key))
      try RegistryNames.check(value.flatMap(RegistryNames.problem(ofTagValue:)))
    }
    let view = registryReading
    try await noting("the tags cannot be changed") { db in
      try Self.require(db, view, place)
      for (key, value) in tags {
        if let value {
          try RegisteredModelRecord.set(db, tag: key, to: value, on: place)
        } else {
          try RegisteredModelRecord.remove(db, tag: key, from: place)
        }
      }
    }
  }
}

// MARK: Steps of transactions

extension CatalogStore {
  private var registryReading: RegisteredModelRecord.Reading {
    RegisteredModelRecord.Reading(
      defined: Set(changes.current.project.models.map(\.name)), deployAlias: deployAlias)
  }

  /// Makes the moves of a change of stage; true where there were any.
  static func move(
    _ db: Database, _ target: (model: String, version: Int64), to stage: ModelStage, who: String,
    why: String, at time: Timestamp
  ) throws -> Bool {
    let project = try AppliedDefinitions.newest(db)?.project
    let versions = try ModelVersionRecord.staged(db, of: target.model)
    guard let version = versions.first(where: { $0.number == target.version }) else {
      throw RegisteredModelRecord.noVersion(
        target.model, target.version, known: versions.map(\.number))
    }
    let change = StageChange(
      model: target.model, isDefined: project?.model(target.model) != nil, versions: versions)
    let moves = try change.moves(of: version, to: stage, why: why)
    if stage.isServing, version.isTrained, !moves.isEmpty, let project {
      let trained = try ModelVersionRecord.find(db, model: target.model, version: target.version)
      try checkFeatures(of: trained, in: project)
    }
    for move in moves {
      try ModelVersionRecord.move(db, move, of: target.model, who: who, at: time)
    }
    if !moves.isEmpty { try RegisteredModelRecord.touch(db, target.model, at: time) }
    return !moves.isEmpty
  }

  /// An old version may have been made for features that are gone.
  private static func checkFeatures(
    of version: ModelVersion, in project: ProjectDefinition
  ) throws {
    for feature in version.features {
      guard case .view(let view) = feature.origin else { continue }
      guard project.view(view.view)?.feature(view.feature)?.type == feature.type else {
        throw PlatformError(
          .failedPrecondition,
          "version \(version.version) of model '\(version.model)' cannot serve: it reads feature '\(view)' of type "
            + "\(feature.type.rawValue), which is not in the definitions; train the model again")
      }
    }
  }

  private static func describe(
    _ db: Database, _ name: String, _ description: String?, at time: Timestamp
  ) throws {
    try db.execute(
      sql: "UPDATE registered_models SET description = ?, updated_at = ? WHERE name = ?",
      arguments: [description, time.microseconds, name])
  }

  private static func delete(
    _ db: Database, _ version: RegisteredVersion, who: String, why: String, at time: Timestamp
  ) throws {
    try audit(db, version, .deleted, who: who, why: why, at: time)
    try db.execute(
      sql:
        "UPDATE model_versions SET deleted_at = ?, updated_at = ? WHERE model = ? AND version = ?",
      arguments: [time.microseconds, time.microseconds, version.model, version.version])
    for table in ["model_tags", "model_aliases"] {
      try db.execute(
        sql: "DELETE FROM \(table) WHERE model = ? AND version = ?",
        arguments: [version.model, version.version])
    }
  }

  private static func audit(
    _ db: Database, _ version: RegisteredVersion, _ event: ModelTransition.Event,
    as name: String? = nil, who: String, why: String, at time: Timestamp
  ) throws {
    try ModelVersionRecord.audit(
      db,
      ModelTransition(
        model: name ?? version.model, version: version.version, event: event, from: version.stage,
        to: version.stage, who: who, why: why, at: time))
  }

  private static func require(
    _ db: Database, _ view: RegisteredModelRecord.Reading, _ place: TagPlace
  ) throws {
    guard let version = place.version else {
      return try RegisteredModelRecord.require(db, place.model)
    }
    _ = try RegisteredModelRecord.version(db, view, place.model, version)
  }

  private static func check(
    description: String?, tags: [String: String]
  ) throws(PlatformError) {
    if let description, description.unicodeScalars.count > Limits.descriptionCharacters {
      throw PlatformError(
        .invalidArgument,
        "'description' exceeds the maximum length of \(Limits.descriptionCharacters) characters")
    }
    for (key, value) in tags {
      try RegistryNames.check(RegistryNames.problem(ofTag: key))
      try RegistryNames.check(RegistryNames.problem(ofTagValue: value))
    }
  }

  private static func checkIsNotUsed(
    _ db: Database, _ model: RegisteredModel, _ verb: String
  ) throws {
    if model.isDefined {
      throw PlatformError(
        .failedPrecondition,
        "model '\(model.name)' is in the definitions and cannot be \(verb); define a model of the other name in martlet.yaml"
      )
    }
    let trained =
      try Int.fetchOne(
        db,
        sql: "SELECT count(*) FROM model_versions WHERE model = ? AND record IS NOT NULL",
        arguments: [model.name]) ?? 0
    guard trained == 0 else {
      throw PlatformError(
        .failedPrecondition,
        "model '\(model.name)' has versions that Martlet trained and cannot be \(verb): predictions and lineage go by its name"
      )
    }
  }

  private static func exists(_ name: String) -> PlatformError {
    PlatformError(.alreadyExists, "Registered Model (name=\(name)) already exists.")
  }

  private static func deployed(
    _ model: String, _ version: Int64, _ alias: String
  ) -> PlatformError {
    PlatformError(
      .failedPrecondition,
      "alias '\(alias)' names version \(version) of model '\(model)', which is in production; "
        + "set it on another version, which then takes its place")
  }
}
