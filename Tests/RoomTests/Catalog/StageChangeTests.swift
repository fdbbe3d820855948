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

  @Test("what is promoted archives what was in production")
  func promotes() throws {
    let versions = [Version(2, .registered), Version(1, .production)]
    #expect(
      try moves(2, to: .production, of: versions) == [
        Move(1, .production, .archived, why: "version 2 was promoted: because"),
        Move(2, .registered, .production, why: "because"),
      ])
  }

  @Test(
    "there is one canary and one shadow: the one before is registered again",
    arguments: [ModelStage.canary, .shadow])
  func replaces(stage: ModelStage) throws {
    let versions = [Version(3, .staging), Version(2, stage), Version(1, .production)]
    let why = "version 3 took its place as \(stage.rawValue): because"
    #expect(
      try moves(3, to: stage, of: versions) == [
        Move(2, stage, .registered, why: why), Move(3, .staging, stage, why: "because"),
      ])
  }

  @Test("a canary needs a version in production, which answers the other keys")
  func canaryAlone() throws {
    #expect {
      try moves(1, to: .canary, of: [Version(1, .registered)])
    } throws: { "\($0)".contains("martlet models promote churn 1") }
  }

  @Test(
    "several versions may be in every stage that answers nobody",
    arguments: [ModelStage.registered, .staging, .archived])
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
