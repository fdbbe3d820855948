import Catalog
import Core
import Foundation
import GRDB
import Testing

@Suite("The registry of the catalog")
struct CatalogRegistryTests {
  let folder: ProjectFolder
  let clock = SetClock(1_000)
  let store: CatalogStore

  init() throws {
    folder = try ProjectFolder()
    store = try CatalogStore(path: folder.catalog, clock: clock)
  }

  private func shop() async throws {
    _ = try await store.apply(
      yaml: Array(try DefinitionFixtures.text("good", "shop").utf8), directory: folder.path,
      author: "ann", now: Timestamp(microseconds: 7))
  }

  private func published(_ count: Int) async throws {
    try await shop()
    for job in 0..<count {
      _ = try await store.publish(try CatalogSamples.newVersion(job: "j\(job)"))
    }
  }

  private func elsewhere(_ model: String) async throws -> RegisteredVersion {
    try await store.register(
      NewRegisteredVersion(model: model, source: "s3://bucket/model", who: "ann"))
  }

  @Test(
    "a model of the definitions is registered, and forgotten with them if nothing was done with it")
  func defined() async throws {
    try await shop()
    #expect(try await store.registeredModel("churn").isDefined)
    _ = try await store.apply(
      yaml: Array("project: shop\n".utf8), directory: folder.path, author: "ann",
      now: Timestamp(microseconds: 8))
    #expect(try await store.registeredModels() == [])
  }

  @Test("a model that something was done with stays when its definition goes, and is not served")
  func undefined() async throws {
    try await published(1)
    _ = try await store.apply(
      yaml: Array("project: shop\n".utf8), directory: folder.path, author: "bob",
      now: Timestamp(microseconds: 8))
    let model = try await store.registeredModel("churn")
    #expect(!model.isDefined)
    #expect(model.versions.map(\.stage) == [.archived])
    #expect(model.versions.map(\.canServe) == [false])
  }

  @Test("the alias of deployment names what is in production, whichever way it came there")
  func deployAlias() async throws {
    try await published(2)
    _ = try await store.promote(model: "churn", version: 1, who: "ann", why: "first")
    #expect(try await store.registeredModel("churn").aliases == ["champion": 1])
    let second = try await store.set(
      alias: "champion", of: "churn", to: 2, who: "bob", why: "better")
    #expect(second.stage == .production && second.aliases == ["champion"])
    #expect(store.changes.current.production(of: "churn")?.version == 2)
    let last = try #require(try await store.transitions(of: "churn").last)
    #expect(last.who == "bob" && last.why == "alias champion was set: better")
    await #expect {
      try await store.delete(alias: "champion", of: "churn", who: "bob", why: "")
    } throws: { "\($0)".contains("set it on another version") }
    let live = try CatalogStore(path: folder.catalog, clock: clock, deployAlias: "live")
    #expect(try await live.registeredModel("churn").aliases == ["live": 2])
  }

  @Test("an alias names one version, moves, goes with its version, and each change is kept")
  func aliases() async throws {
    try await published(2)
    let before = store.changes.current.version
    _ = try await store.set(alias: "best", of: "churn", to: 1, who: "ann", why: "a try")
    _ = try await store.set(alias: "best", of: "churn", to: 2, who: "bob", why: "")
    #expect(try await store.registeredVersion("churn", alias: "best").version == 2)
    #expect(try await store.registeredVersion("churn", 1).aliases == [])
    // Nothing that a room works with has changed.
    #expect(store.changes.current.version == before)
    try await store.delete("churn", version: 2, who: "bob")
    await #expect {
      _ = try await store.registeredVersion("churn", alias: "best")
    } throws: { RegistryMissing($0 as? PlatformError ?? .init(.cancelled, "")) == .alias }
    let audit = try await store.transitions(of: "churn").suffix(3)
    #expect(audit.map(\.event) == [.alias("best"), .alias("best"), .deleted])
    #expect(audit.map(\.who) == ["ann", "bob", "bob"])
  }

  @Test("tags are of a model or of a version, are replaced and taken away")
  func tags() async throws {
    try await published(1)
    let version = TagPlace(model: "churn", version: 1)
    try await store.change(tags: ["team": "growth", "old": "x"], on: TagPlace(model: "churn"))
    try await store.change(tags: ["team": "risk"], on: version)
    try await store.change(tags: ["old": nil, "new": "y"], on: TagPlace(model: "churn"))
    #expect(try await store.registeredModel("churn").tags == ["team": "growth", "new": "y"])
    let found = try await store.registeredVersion("churn", 1)
    #expect(found.tags == ["team": "risk"])
    #expect(found.allTags["martlet.stage"] == "registered")
    #expect(found.allTags["martlet.metric.roc_auc"] == "0.8")
    for (key, part) in [
      ("martlet.stage", "are Martlet's own"), ("a,b", "may only contain"),
      ("a//b", "must not resolve"),
    ] {
      await #expect {
        try await store.change(tags: [key: "x"], on: version)
      } throws: { "\($0)".contains(part) && ($0 as? PlatformError)?.code == .invalidArgument }
    }
    await #expect(throws: PlatformError.self) {
      try await store.change(tags: ["a": "b"], on: TagPlace(model: "churn", version: 7))
    }
  }

  @Test("a version from elsewhere is numbered with the others, and no room ever sees it")
  func versionsFromElsewhere() async throws {
    try await published(1)
    #expect(try await elsewhere("churn").version == 2)
    #expect(try await store.publish(try CatalogSamples.newVersion(job: "next")).version == 3)
    #expect(store.changes.current.models["churn"]?.map(\.version) == [3, 1])
    #expect(
      try await store.registeredModel("churn").versions.map(\.canServe) == [true, false, true])
    await #expect {
      _ = try await store.set(alias: "champion", of: "churn", to: 2, who: "ann", why: "")
    } throws: { ($0 as? PlatformError)?.code == .failedPrecondition }
    let staged = try await store.transition("churn", version: 2, to: .staging, who: "ann", why: "")
    #expect(staged.stage == .staging)
  }

  @Test(
    "stages of a model that is in the registry only are moved freely, one version in production")
  func registryOnly() async throws {
    _ = try await store.register(model: "Elsewhere 1", description: nil, tags: ["a": "b"])
    for _ in 0..<2 { _ = try await elsewhere("Elsewhere 1") }
    _ = try await store.set(alias: "champion", of: "Elsewhere 1", to: 1, who: "ann", why: "")
    _ = try await store.transition(
      "Elsewhere 1", version: 2, to: .production, who: "ann", why: "")
    #expect(
      try await store.registeredModel("Elsewhere 1").versions.map(\.stage) == [
        .production, .archived,
      ])
    try await store.delete(alias: "champion", of: "Elsewhere 1", who: "ann", why: "")
    #expect(try await store.registeredModel("Elsewhere 1").aliases == [:])
  }

  @Test(
    "the number of a trained version is never given again, one from elsewhere goes with its model")
  func numbers() async throws {
    try await published(2)
    try await store.delete("churn", version: 2, who: "ann")
    #expect(try await store.publish(try CatalogSamples.newVersion(job: "next")).version == 3)
    #expect(store.changes.current.models["churn"]?.map(\.version) == [3, 1])
    _ = try await store.register(model: "other", description: nil, tags: [:])
    _ = try await elsewhere("other")
    try await store.delete(model: "other", who: "ann")
    _ = try await store.register(model: "other", description: nil, tags: [:])
    #expect(try await elsewhere("other").version == 1)
    #expect(try await store.transitions(of: "other").map(\.event) == [.stage, .deleted, .stage])
  }

  @Test("what serves cannot be deleted or renamed")
  func keepsServed() async throws {
    try await published(2)
    _ = try await store.promote(model: "churn", version: 1, who: "ann", why: "")
    _ = try await store.transition("churn", version: 2, to: .canary, who: "ann", why: "")
    for call in [
      { [store] in try await store.delete("churn", version: 1, who: "ann") },
      { [store] in try await store.delete("churn", version: 2, who: "ann") },
      { [store] in try await store.delete(model: "churn", who: "ann") },
      { [store] in _ = try await store.rename(model: "churn", to: "leaving", who: "ann") },
    ] {
      await #expect {
        try await call()
      } throws: { ($0 as? PlatformError)?.code == .failedPrecondition }
    }
  }

  @Test("a rename takes versions, tags, aliases and the audit along")
  func renames() async throws {
    _ = try await store.register(model: "a", description: "one", tags: ["t": "x"])
    _ = try await elsewhere("a")
    _ = try await store.set(alias: "best", of: "a", to: 1, who: "ann", why: "")
    clock.set(2_000_000)
    let renamed = try await store.rename(model: "a", to: "b", who: "bob")
    #expect(renamed.tags == ["t": "x"] && renamed.aliases == ["best": 1])
    #expect(renamed.versions.map(\.model) == ["b"])
    #expect(renamed.updatedAt == Timestamp(microseconds: 2_000_000))
    #expect(
      try await store.transitions(of: "b").map(\.event) == [
        .stage, .alias("best"), .renamed(from: "a"),
      ])
    #expect(try await store.transitions(of: "a") == [])
  }

  @Test(
    "an alias may not look like a version or a word that every model has",
    arguments: [
      "latest", "LATEST", "v1", "V22", "", "a b", "a/b", String(repeating: "a", count: 256),
    ])
  func refusesAliases(alias: String) async throws {
    try await published(1)
    await #expect {
      _ = try await store.set(alias: alias, of: "churn", to: 1, who: "ann", why: "")
    } throws: { ($0 as? PlatformError)?.code == .invalidArgument }
  }

  @Test("tags on one version are bounded in number")
  func bounds() async throws {
    try await published(1)
    let place = TagPlace(model: "churn", version: 1)
    let many = Dictionary(uniqueKeysWithValues: (0..<Limits.registryNotes).map { ("t\($0)", "") })
    try await store.change(tags: many, on: place)
    await #expect {
      try await store.change(tags: ["more": ""], on: place)
    } throws: { "\($0)".contains("at most \(Limits.registryNotes) tags") }
    #expect(try await store.registeredVersion("churn", 1).tags.count == Limits.registryNotes)
  }

  @Test("versions moved at once from two processes leave one in production and a whole audit")
  func atOnce() async throws {
    try await published(6)
    let other = try CatalogStore(path: folder.catalog, clock: clock)
    let stores = [store, other]
    try await withThrowingTaskGroup(of: Void.self) { group in
      for index in 0..<24 {
        let stage: ModelStage = index % 3 == 0 ? .canary : .production
        group.addTask {
          do {
            _ = try await stores[index % 2].transition(
              "churn", version: Int64(index % 6 + 1), to: stage, who: "\(index)", why: "")
          } catch let error as PlatformError where error.code == .failedPrecondition {
            // The one in production does not become the canary.
          }
        }
      }
      try await group.waitForAll()
    }
    let stages = try await store.registeredModel("churn").versions.map(\.stage)
    #expect(stages.filter { $0 == .production }.count == 1)
    #expect(stages.filter { $0 == .canary }.count <= 1)
    // Each transition begins where the one before of that version ended.
    var last: [Int64: ModelStage] = [:]
    for transition in try await store.transitions(of: "churn") {
      #expect(transition.from == last[transition.version])
      last[transition.version] = transition.to
    }
    #expect(Set(last.keys) == Set(1...6))
  }
}

@Suite("A catalog of an earlier Martlet")
struct CatalogMigrationTests {
  /// The tables as the first version made them.
  private static let first = """
    CREATE TABLE definitions (version INTEGER PRIMARY KEY, digest TEXT NOT NULL, yaml TEXT NOT NULL, definition TEXT NOT NULL,
      project_directory TEXT NOT NULL, author TEXT NOT NULL, applied_at INTEGER NOT NULL) STRICT;
    CREATE TABLE model_versions (model TEXT NOT NULL, version INTEGER NOT NULL, stage TEXT NOT NULL, job_id TEXT NOT NULL UNIQUE,
      artifact TEXT NOT NULL, baseline TEXT NOT NULL, definitions_version INTEGER NOT NULL, created_at INTEGER NOT NULL,
      record TEXT NOT NULL, PRIMARY KEY (model, version)) STRICT;
    CREATE UNIQUE INDEX one_production ON model_versions (model) WHERE stage = 'production';
    CREATE TABLE model_transitions (id INTEGER PRIMARY KEY, model TEXT NOT NULL, version INTEGER NOT NULL, from_stage TEXT,
      to_stage TEXT NOT NULL, who TEXT NOT NULL, why TEXT NOT NULL, at INTEGER NOT NULL) STRICT;
    CREATE INDEX transitions_of ON model_transitions (model, version);
    CREATE TABLE catalog_changes (only INTEGER PRIMARY KEY CHECK (only = 1), count INTEGER NOT NULL) STRICT;
    INSERT INTO catalog_changes VALUES (1, 5);
    PRAGMA user_version = 1;
    """

  @Test(
    "its versions, stages and audit are there, and the alias of deployment names what was in production"
  )
  func migrates() async throws {
    let folder = try ProjectFolder()
    let queue = try DatabaseQueue(path: folder.catalog)
    let version = try CatalogSamples.version(model: "churn", stage: .production)
    let record = String(decoding: try JSONEncoder().encode(version), as: UTF8.self)
    try await queue.write { db in
      try db.execute(sql: Self.first)
      try db.execute(
        sql:
          "INSERT INTO model_versions VALUES ('churn', 1, 'production', 'job-1', 'aa', 'bb', 1, 40, ?)",
        arguments: [record])
      try db.execute(
        sql:
          "INSERT INTO model_transitions VALUES (1, 'churn', 1, 'registered', 'production', 'ann', 'first', 50)"
      )
    }
    try queue.close()
    let store = try CatalogStore(path: folder.catalog, clock: SetClock(100))
    let model = try await store.registeredModel("churn")
    #expect(model.aliases == ["champion": 1])
    #expect(model.createdAt == Timestamp(microseconds: 40))
    #expect(model.versions.map(\.trained) == [version])
    let audit = try await store.transitions(of: "churn")
    #expect(audit.map(\.event) == [.stage] && audit.map(\.why) == ["first"])
  }
}
