import Catalog
import Core
import Foundation
import Testing

@Suite("Canaries in the registry")
struct CanaryStoreTests {
  private let folder: ProjectFolder
  private let store: CatalogStore
  private let clock = SetClock(1_000_000)

  init() async throws {
    folder = try ProjectFolder()
    store = try CatalogStore(path: folder.catalog, clock: clock)
    _ = try await store.apply(
      yaml: try DefinitionFixtures.bytes("good", "shop"), directory: folder.path, author: "ann",
      now: clock.now)
    for job in 1...4 { _ = try await store.publish(try CatalogSamples.newVersion(job: "j\(job)")) }
  }

  private func stages() async throws -> [Int64: ModelStage] {
    Dictionary(
      uniqueKeysWithValues: try await store.versions(of: "churn").map { ($0.version, $0.stage) })
  }

  private func error(_ body: () async throws -> Void) async -> PlatformError? {
    do {
      try await body()
      return nil
    } catch { return error as? PlatformError }
  }

  private func promoteFirst() async throws {
    _ = try await store.promote(model: "churn", version: 1, who: "ann", why: "first")
  }

  @Test("a canary takes the share of the model's rule, or the one that is asked for")
  func share() async throws {
    try await promoteFirst()
    _ = try await store.startCanary(model: "churn", version: 2, who: "ann", why: "new")
    #expect(
      store.changes.current.canaries["churn"]
        == CanaryState(version: 2, share: 0.1, since: Timestamp(microseconds: 1_000_000)))
    clock.set(5_000_000)
    _ = try await store.startCanary(model: "churn", version: 2, share: 0.4, who: "bob", why: "more")
    #expect(
      store.changes.current.canaries["churn"]
        == CanaryState(version: 2, share: 0.4, since: Timestamp(microseconds: 5_000_000)))
    let decisions = try await store.rolloutDecisions(of: "churn")
    #expect(decisions.map(\.share) == [0.4, 0.1])
    #expect(decisions.map(\.who) == ["bob", "ann"])
    let before = store.changes.current.version
    _ = try await store.startCanary(model: "churn", version: 2, share: 0.4, who: "bob", why: "")
    #expect(store.changes.current.version == before)
  }

  @Test("a canary and its share outlive a restart")
  func restart() async throws {
    try await promoteFirst()
    _ = try await store.startCanary(model: "churn", version: 2, share: 0.3, who: "ann", why: "new")
    let again = try CatalogStore(path: folder.catalog, clock: clock)
    #expect(again.changes.current.canaries == store.changes.current.canaries)
  }

  @Test("without production there is no canary, and production itself cannot become one")
  func refused() async throws {
    let none = await error {
      _ = try await store.startCanary(model: "churn", version: 2, who: "ann", why: "")
    }
    #expect(none?.code == .failedPrecondition)
    #expect(none?.message.contains("martlet models promote churn 2") == true)
    try await promoteFirst()
    let same = await error {
      _ = try await store.startCanary(model: "churn", version: 1, who: "ann", why: "")
    }
    #expect(same?.message.contains("cannot become canary") == true, "\(same as Any)")
    for share in [0, -0.1, 1.1, .nan] {
      let wrong = await error {
        _ = try await store.startCanary(
          model: "churn", version: 2, share: share, who: "ann", why: "")
      }
      #expect(wrong?.code == .invalidArgument, "\(share)")
    }
  }

  @Test("there is one canary; the one before is registered again")
  func one() async throws {
    try await promoteFirst()
    _ = try await store.startCanary(model: "churn", version: 2, who: "ann", why: "new")
    _ = try await store.startShadow(model: "churn", version: 4, who: "ann", why: "look")
    _ = try await store.startCanary(model: "churn", version: 3, who: "ann", why: "newer")
    #expect(try await stages() == [1: .production, 2: .registered, 3: .canary, 4: .shadow])
    let audit = try await store.transitions(of: "churn")
    #expect(
      audit.contains { $0.version == 2 && $0.why == "version 3 took its place as canary: newer" })
  }

  @Test("a decision moves the version and is stored with its evidence, once")
  func decided() async throws {
    try await promoteFirst()
    _ = try await store.startCanary(model: "churn", version: 2, who: "ann", why: "new")
    #expect(
      try await store.decide(
        .promoted, model: "churn", version: 2, who: "rollout", why: "good", evidence: "{\"n\":1}"))
    #expect(
      try await !store.decide(
        .rolledBack, model: "churn", version: 2, who: "rollout", why: "bad", evidence: nil))
    #expect(try await stages()[2] == .production)
    #expect(try await stages()[1] == .archived)
    let newest = try #require(try await store.rolloutDecisions(of: "churn").first)
    #expect(newest.kind == .promoted && newest.evidence == "{\"n\":1}" && newest.why == "good")
    #expect(store.changes.current.canaries.isEmpty)
  }

  @Test("a rollback ends the canary; without one it brings the version before back")
  func rollBack() async throws {
    let nothing = await error { _ = try await store.rollBack(model: "churn", who: "a", why: "") }
    #expect(nothing?.code == .failedPrecondition)
    try await promoteFirst()
    _ = try await store.startCanary(model: "churn", version: 2, who: "ann", why: "new")
    #expect(try await store.rollBack(model: "churn", who: "bob", why: "odd").version == 1)
    #expect(try await stages()[2] == .archived)
    _ = try await store.promote(model: "churn", version: 3, who: "ann", why: "better")
    #expect(try await store.rollBack(model: "churn", who: "bob", why: "worse").version == 1)
    #expect(try await stages()[3] == .archived)
    #expect(
      try await store.rolloutDecisions(of: "churn").map(\.kind)
        == [.rolledBack, .rolledBack, .started])
  }

  @Test("a version that came to be the canary by another way has the share of the rule")
  func otherWay() async throws {
    try await promoteFirst()
    _ = try await store.startCanary(model: "churn", version: 2, share: 0.5, who: "ann", why: "new")
    _ = try await store.rollBack(model: "churn", who: "ann", why: "not yet")
    clock.set(9_000_000)
    _ = try await store.startCanary(model: "churn", version: 2, who: "ann", why: "now")
    #expect(
      store.changes.current.canaries["churn"]
        == CanaryState(version: 2, share: 0.1, since: Timestamp(microseconds: 9_000_000)))
  }
}
