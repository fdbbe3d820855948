import Catalog
import Core
import Foundation
import GRDB
import Testing

@Suite("The catalog store")
struct CatalogStoreTests {
  let folder: ProjectFolder
  let clock = SetClock(1_000)
  let store: CatalogStore

  init() throws {
    folder = try ProjectFolder()
    store = try CatalogStore(path: folder.catalog, clock: clock)
  }

  private func apply(
    _ text: String, to store: CatalogStore, author: String = "ann"
  ) async throws -> Snapshot {
    try await store.apply(
      yaml: Array(text.utf8), directory: folder.path, author: author,
      now: Timestamp(microseconds: 7))
  }

  private func shop() throws -> String { try DefinitionFixtures.text("good", "shop") }

  @Test("an empty catalog has an empty snapshot")
  func empty() async throws {
    #expect(store.changes.current.definitionsVersion == 0)
    #expect(try await store.snapshot().project.name == "")
  }

  @Test("apply stores a version with author and time, and publishes it at once")
  func applies() async throws {
    let snapshot = try await apply(try shop(), to: store)
    #expect(snapshot.definitionsVersion == 1)
    #expect(snapshot.projectDirectory == folder.path)
    #expect(snapshot.layouts.keys.sorted() == ["customer_activity", "product_demand"])
    #expect(store.changes.current.definitionsDigest == snapshot.definitionsDigest)
    let history = try await store.history()
    #expect(history.map(\.author) == ["ann"])
    #expect(history.first?.appliedAt == Timestamp(microseconds: 7))
    #expect(history.first?.yaml == (try shop()))
  }

  @Test("definitions that mean the same make no new version")
  func idempotent() async throws {
    let first = try await apply(try shop(), to: store)
    let second = try await apply("# only a comment\n" + (try shop()), to: store)
    #expect(second.definitionsVersion == 1)
    #expect(second.version == first.version)
    let third = try await apply(
      try shop().replacingOccurrences(of: "events_1h", with: "actions_1h"), to: store)
    #expect(third.definitionsVersion == 2)
    #expect(third.version > first.version)
  }

  @Test("bad definitions change nothing and say everything that is wrong")
  func refusesBad() async throws {
    _ = try await apply(try shop(), to: store)
    await #expect {
      _ = try await apply("project: shop\nviewz: {}\nmodles: {}\n", to: store)
    } throws: { error in
      (error as? PlatformError)?.code == .invalidDefinition && "\(error)".contains("3:1")
    }
    #expect(try await store.snapshot().definitionsVersion == 1)
  }

  @Test("what is applied is there after the file is opened again")
  func reopens() async throws {
    let before = try await apply(try shop(), to: store)
    _ = try await store.publish(try CatalogSamples.newVersion(job: "j1"))
    let again = try CatalogStore(path: folder.catalog, clock: clock)
    #expect(again.changes.current.project == before.project)
    #expect(again.changes.current.models["churn"]?.count == 1)
    #expect(again.changes.current.version == store.changes.current.version)
  }

  @Test("versions are numbered within a model, and a job publishes once")
  func publishes() async throws {
    _ = try await apply(try shop(), to: store)
    let first = try await store.publish(try CatalogSamples.newVersion(job: "j1"))
    let second = try await store.publish(try CatalogSamples.newVersion(job: "j2"))
    clock.set(9_999)
    let again = try await store.publish(try CatalogSamples.newVersion(job: "j1"))
    #expect(first.version == 1)
    #expect(first.stage == .registered)
    #expect(first.createdAt == Timestamp(microseconds: 1_000))
    #expect(second.version == 2)
    #expect(again == first)
    #expect(try await store.versions(of: "churn").map(\.version) == [2, 1])
    #expect(store.changes.current.models["churn"]?.map(\.version) == [2, 1])
  }

  @Test("jobs that publish at once get different numbers")
  func publishesAtOnce() async throws {
    _ = try await apply(try shop(), to: store)
    let other = try CatalogStore(path: folder.catalog, clock: clock)
    let stores = [store, other]
    let numbers = try await withThrowingTaskGroup(of: Int64.self) { group in
      for index in 0..<20 {
        let version = try CatalogSamples.newVersion(job: "j\(index / 2)")
        group.addTask { try await stores[index % 2].publish(version).version }
      }
      return try await group.reduce(into: [Int64]()) { $0.append($1) }
    }
    #expect(numbers.sorted() == (1...10).flatMap { [Int64($0), Int64($0)] })
  }

  @Test("a model that is not defined cannot be published")
  func publishesUnknown() async throws {
    _ = try await apply(try shop(), to: store)
    await #expect {
      _ = try await store.publish(try CatalogSamples.newVersion(job: "j", model: "churm"))
    } throws: { "\($0)".contains("did you mean 'churn'?") }
  }

  @Test("promote makes one version production, archives the one before and keeps who and why")
  func promotes() async throws {
    _ = try await apply(try shop(), to: store)
    _ = try await store.publish(try CatalogSamples.newVersion(job: "j1"))
    _ = try await store.publish(try CatalogSamples.newVersion(job: "j2"))
    _ = try await store.promote(model: "churn", version: 1, who: "ann", why: "first")
    let second = try await store.promote(model: "churn", version: 2, who: "bob", why: "better")
    #expect(second.stage == .production)
    #expect(store.changes.current.production(of: "churn")?.version == 2)
    #expect(try await store.versions(of: "churn").map(\.stage) == [.production, .archived])
    let audit = try await store.transitions(of: "churn")
    #expect(audit.map(\.to) == [.registered, .registered, .production, .archived, .production])
    #expect(audit.map(\.who) == ["job j1", "job j2", "ann", "bob", "bob"])
    #expect(audit[3].why == "version 2 was promoted: better")
    _ = try await store.promote(model: "churn", version: 2, who: "bob", why: "again")
    #expect(try await store.transitions(of: "churn").count == 5)
    let back = try await store.promote(model: "churn", version: 1, who: "ann", why: "roll back")
    #expect(back.stage == .production)
  }

  @Test("archive takes a version out of use with an audit row, but never the one in production")
  func archives() async throws {
    _ = try await apply(try shop(), to: store)
    for job in ["j1", "j2"] {
      _ = try await store.publish(try CatalogSamples.newVersion(job: job))
    }
    _ = try await store.promote(model: "churn", version: 1, who: "ann", why: "first")
    func refusal() async throws -> PlatformError? {
      await #expect(throws: PlatformError.self) {
        _ = try await store.archive(model: "churn", version: 1, who: "bob", why: "old")
      }
    }
    let error = try await refusal()
    #expect(error?.code == .failedPrecondition)
    #expect(error?.message.contains("(martlet models promote churn 2)") == true, "\(error as Any)")
    let archived = try await store.archive(model: "churn", version: 2, who: "bob", why: "worse")
    #expect(archived.stage == .archived)
    #expect(store.changes.current.models["churn"]?.map(\.stage) == [.archived, .production])
    _ = try await store.archive(model: "churn", version: 2, who: "bob", why: "again")
    let audit = try await store.transitions(of: "churn")
    #expect(audit.count == 4)
    #expect(audit.last?.from == .registered && audit.last?.to == .archived)
    #expect(audit.last?.who == "bob" && audit.last?.why == "worse")
    #expect(try await refusal()?.message.contains("(martlet train churn)") == true)
    let back = try await store.promote(model: "churn", version: 2, who: "ann", why: "after all")
    #expect(back.stage == .production)
  }

  @Test("an unknown version is refused with the known ones")
  func promotesUnknown() async throws {
    _ = try await apply(try shop(), to: store)
    await #expect {
      _ = try await store.promote(model: "churn", version: 3, who: "ann", why: "")
    } throws: { "\($0)".contains("none has been published") }
    _ = try await store.publish(try CatalogSamples.newVersion(job: "j1"))
    await #expect {
      _ = try await store.promote(model: "churn", version: 3, who: "ann", why: "")
    } throws: {
      "\($0)".contains("its versions are 1") && ($0 as? PlatformError)?.code == .notFound
    }
  }

  @Test(
    "what a published version reads cannot be removed, and a removed model's versions are archived")
  func removes() async throws {
    _ = try await apply(try shop(), to: store)
    _ = try await store.publish(try CatalogSamples.newVersion(job: "j1"))
    _ = try await store.promote(model: "churn", version: 1, who: "ann", why: "first")
    let less = try shop()
      .replacingOccurrences(of: "      events_1h: {count: \"*\", window: 1h}\n", with: "")
      .replacingOccurrences(of: "      - customer_activity.events_1h\n", with: "")
    await #expect {
      _ = try await apply(less, to: store)
    } throws: { error in
      (error as? PlatformError)?.code == .failedPrecondition
        && "\(error)".contains("model 'churn' version 1 (production) reads it")
    }
    #expect(
      try await store.plan(yaml: Array(less.utf8), directory: folder.path).breakages.count == 1)
    let models = try #require(less.range(of: "models:"))
    let removed = try await apply(String(less[..<models.lowerBound]), to: store, author: "bob")
    #expect(removed.production(of: "churn") == nil)
    #expect(try await store.transitions(of: "churn").last?.who == "bob")
    _ = try await apply(less, to: store)
    await #expect {
      _ = try await store.promote(model: "churn", version: 1, who: "ann", why: "")
    } throws: { "\($0)".contains("reads feature 'customer_activity.events_1h'") }
  }

  @Test("a change by another process is published")
  func seesOthers() async throws {
    let (ticks, tick) = AsyncStream<Void>.makeStream()
    let watching = try CatalogStore(path: folder.catalog, clock: clock) { _ in
      for await _ in ticks { return }
    }
    let running = Task { await watching.run() }
    defer { running.cancel() }
    let snapshot = try await apply(try shop(), to: store)
    tick.yield()
    for await seen in watching.changes.changes() where seen.version == snapshot.version {
      #expect(seen.project == snapshot.project)
      break
    }
  }

  @Test("run ends when it is cancelled")
  func cancels() async throws {
    let watching = try CatalogStore(path: folder.catalog, clock: clock)
    let running = Task { await watching.run() }
    running.cancel()
    await running.value
  }

  @Test("a file of a newer version, or that is no catalog, is refused with what to do")
  func refusesFiles() throws {
    let queue = try DatabaseQueue(path: folder.path + "/newer.sqlite")
    try queue.write { try $0.execute(sql: "PRAGMA user_version = 99") }
    #expect {
      _ = try CatalogStore(path: folder.path + "/newer.sqlite", clock: clock)
    } throws: { "\($0)".contains("newer Martlet") }
    try Data(repeating: 65, count: 5_000).write(
      to: URL(fileURLWithPath: folder.path + "/text.sqlite"))
    #expect {
      _ = try CatalogStore(path: folder.path + "/text.sqlite", clock: clock)
    } throws: { "\($0)".contains("is damaged or is not a catalog") }
    #expect {
      _ = try CatalogStore(path: folder.path + "/no/such/folder.sqlite", clock: clock)
    } throws: { "\($0)".contains("check that its folder exists") }
  }
}
