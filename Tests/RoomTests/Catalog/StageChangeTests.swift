import Catalog
import Core
import Testing

@Suite("The rules of stages")
struct StageChangeTests {
  private typealias Version = StageChange.Version
  private typealias Move = StageChange.Move

  private func moves(
    _ number: Int64, to stage: ModelStage, of versions: [StageChange.Version],
    isDefined: Bool = true
  ) throws -> [StageChange.Move] {
    let target = try #require(versions.first { $0.number == number })
    return try StageChange(model: "churn", isDefined: isDefined, versions: versions)
      .moves(of: target, to: stage, why: "because")
  }

  @Test(
    "a version takes the place of the one in production and of the canary",
    arguments: [
      (ModelStage.production, "version 2 was promoted: because"),
      (.canary, "version 2 became the canary: because"),
    ])
  func replaces(stage: ModelStage, why: String) throws {
    let versions = [Version(2, .registered), Version(1, stage)]
    #expect(
      try moves(2, to: stage, of: versions) == [
        Move(1, stage, .archived, why: why), Move(2, .registered, stage, why: "because"),
      ])
  }

  @Test(
    "several versions may be in every other stage",
    arguments: [
      ModelStage.registered, .staging, .shadow, .archived,
    ])
  func shares(stage: ModelStage) throws {
    let from: ModelStage = stage == .registered ? .staging : .registered
    #expect(
      try moves(2, to: stage, of: [Version(2, from), Version(1, stage)]) == [
        Move(2, from, stage, why: "because")
      ])
  }

  @Test("a canary that is promoted leaves nothing behind as canary")
  func promotesCanary() throws {
    let found = try moves(2, to: .production, of: [Version(2, .canary), Version(1, .production)])
    #expect(found.map(\.version) == [1, 2])
    #expect(found.map(\.to) == [.archived, .production])
  }

  @Test("a version that is in the stage stays", arguments: ModelStage.allCases)
  func stays(stage: ModelStage) throws {
    #expect(try moves(1, to: stage, of: [Version(1, stage)]) == [])
  }

  @Test(
    "what is in production leaves only for another",
    arguments: [
      ModelStage.registered, .staging, .canary, .shadow, .archived,
    ])
  func keepsProduction(stage: ModelStage) throws {
    let versions = [
      Version(4, .registered, isTrained: false), Version(3, .archived), Version(2, .staging),
      Version(1, .production),
    ]
    #expect {
      try moves(1, to: stage, of: versions)
    } throws: { error in
      (error as? PlatformError)?.code == .failedPrecondition
        && "\(error)".contains("(martlet models promote churn 2)")
    }
    // Nothing of a model that is only in the registry is served.
    let free = versions.map { Version($0.number, $0.stage, isTrained: false) }
    #expect(try moves(1, to: stage, of: free, isDefined: false).last?.to == stage)
  }

  @Test(
    "only what the platform trained serves",
    arguments: [
      ModelStage.production, .canary, .shadow,
    ])
  func refusesElsewhere(stage: ModelStage) throws {
    #expect {
      try moves(1, to: stage, of: [Version(1, .registered, isTrained: false)])
    } throws: { "\($0)".contains("its artifact is not in Martlet") }
    #expect {
      try moves(1, to: stage, of: [Version(1, .archived)], isDefined: false)
    } throws: { "\($0)".contains("the model is not in the definitions") }
    let only = [Version(1, .registered, isTrained: false)]
    #expect(try moves(1, to: stage, of: only, isDefined: false).map(\.to) == [stage])
  }
}
