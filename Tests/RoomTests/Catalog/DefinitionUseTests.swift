import Catalog
import Core
import Foundation
import Testing

@Suite("What is in use when definitions change")
struct DefinitionUseTests {
  private func plan(
    _ models: [ModelVersion] = [], jobs: [LineageJob] = [], _ replacements: (String, String)...
  ) throws -> DefinitionPlan {
    var text = try DefinitionFixtures.text("good", "shop")
    for (old, new) in replacements {
      try #require(text.contains(old))
      text = text.replacingOccurrences(of: old, with: new)
    }
    return DefinitionPlan(
      from: try DefinitionFixtures.good("shop"), to: try DefinitionFixtures.parse(text),
      models: ["churn": models], jobs: jobs)
  }

  private func job(_ state: String) -> LineageJob {
    LineageJob(
      id: "train-churn-1", kind: "train", model: "churn", state: state, reason: "test",
      createdAt: Timestamp(microseconds: 0), finishedAt: nil)
  }

  private static let modelsSection: (String, String) = (
    """
    models:
      churn:
        features:
          - customer_activity.events_1h
          - customer_activity.conversion_7d
          - customer_activity.spent_7d
        missing: {default: 0}
        spine: {source: outcomes, time: as_of}
        label: {source: outcomes, value: churned, delay: 7d}
        train: {run: train.py:train, holdout: 0.3, metric: log_loss}
        drift: {window: 10m, retrain_above: 0.2}
        rollout: {canary: 10%, after: {requests: 2000, error_rate: 1%, p95_ratio: 1.2, drift: 0.2}}
    """, ""
  )

  private static let withoutEvents: [(String, String)] = [
    ("      events_1h: {count: \"*\", window: 1h}\n", ""),
    ("      - customer_activity.events_1h\n", ""),
  ]

  @Test("the plan says whom it breaks and what to do")
  func text() throws {
    let version = try CatalogSamples.version(model: "churn", stage: .production)
    let plan = try plan([version], Self.withoutEvents[0], Self.withoutEvents[1])
    #expect(
      plan.text.contains(
        """
        ! feature 'customer_activity.events_1h' is removed, but model 'churn' version 1 (production) reads it; \
        promote a version that does not, which archives this one (martlet models promote churn VERSION), or \
        remove the model too
            breaks: model 'churn' version 1 (production)
        """), "\(plan.text)")
  }

  @Test(
    "every stage but archived keeps what the version reads",
    arguments: ModelStage.allCases)
  func stages(stage: ModelStage) throws {
    let version = try CatalogSamples.version(model: "churn", stage: stage)
    let plan = try plan([version], Self.withoutEvents[0], Self.withoutEvents[1])
    #expect(plan.breakages.isEmpty == (stage == .archived))
  }

  @Test("a feature that only a derived value of the version reads is in use, too")
  func throughDerived() throws {
    var version = try CatalogSamples.version(model: "churn", stage: .production)
    version.features = [
      ModelFeature(
        name: "busy",
        origin: .derived(
          .binary(.greater, .name("customer_activity.events_1h"), .literal(.int64(3)))), type: .bool
      )
    ]
    let plan = try plan([version], Self.withoutEvents[0], Self.withoutEvents[1])
    #expect(plan.breakages.map(\.subject) == ["feature 'customer_activity.events_1h'"])
  }

  @Test("renaming a feature in the file breaks the version that knows the old name")
  func renamed() throws {
    let version = try CatalogSamples.version(model: "churn", stage: .staging)
    let plan = try plan(
      [version], ("      events_1h: {count", "      events_hour: {count"),
      ("- customer_activity.events_1h", "- customer_activity.events_hour"))
    #expect(plan.breakages.map(\.breaks) == ["model 'churn' version 1 (staging)"])
    #expect(
      plan.breakages.first?.message.contains("'customer_activity.events_1h' is removed") == true)
  }

  @Test("a retyped column names the features and models that use it")
  func retypedColumn() throws {
    let plan = try plan([], ("mobile: bool", "mobile: string"))
    #expect(plan.breakages.map(\.breaks) == ["feature 'customer_activity.last_mobile'"])
  }

  @Test("a change beneath a derived feature is noted for the version that was trained above it")
  func changedBeneath() throws {
    let version = try CatalogSamples.version(model: "churn", stage: .production)
    let plan = try plan(
      [version],
      ("where: \"action = 'view'\", window: 7d", "where: \"action = 'view'\", window: 14d"))
    #expect(plan.breakages.isEmpty)
    #expect(
      plan.notes == [
        "model 'churn' version 1 (production) reads feature 'customer_activity.conversion_7d' and was trained on "
          + "the old feature 'customer_activity.views_7d'; train it again after this"
      ])
  }

  @Test(
    "a model is not removed while a job trains it, waiting or running",
    arguments: ["PENDING", "RUNNING"])
  func jobOfRemovedModel(state: String) throws {
    let plan = try plan(jobs: [job(state)], Self.modelsSection)
    #expect(plan.breakages.map(\.breaks) == ["job train-churn-1 (\(state))"])
    #expect(
      plan.breakages.first?.message
        == "model 'churn' is removed, but job train-churn-1 (\(state)) trains it; wait for its end, or end it with "
        + "`martlet jobs cancel train-churn-1`")
  }

  @Test("a running job keeps the features that it trains on; one that waits takes the new ones")
  func jobOnRemovedFeature() throws {
    let running = try plan(
      jobs: [job("RUNNING")], Self.withoutEvents[0], Self.withoutEvents[1])
    #expect(running.breakages.map(\.subject) == ["feature 'customer_activity.events_1h'"])
    #expect(running.breakages.first?.breaks == "job train-churn-1 (RUNNING)")
    let waiting = try plan(
      jobs: [job("PENDING")], Self.withoutEvents[0], Self.withoutEvents[1])
    #expect(waiting.breakages.isEmpty)
  }

  @Test("removing a model says that its production version stops serving")
  func removedModel() throws {
    let version = try CatalogSamples.version(model: "churn", stage: .production)
    let plan = try plan([version], Self.modelsSection)
    #expect(plan.breakages.isEmpty)
    #expect(
      plan.notes == [
        "model 'churn' version 1 (production) is archived and stops serving, as its model is removed"
      ])
  }

  @Test("apply refuses what the plan says it breaks, and leaves everything as it was")
  func apply() async throws {
    let folder = try ProjectFolder()
    let store = try CatalogStore(path: folder.catalog, clock: SetClock(0))
    defer { try? store.close() }
    let yaml = try DefinitionFixtures.text("good", "shop")
    _ = try await store.apply(
      yaml: Array(yaml.utf8), directory: folder.path, author: "a", now: Timestamp(microseconds: 1))
    let without = yaml.replacingOccurrences(of: Self.modelsSection.0, with: "")
    let error = try #require(
      await #expect(throws: PlatformError.self) {
        try await store.apply(
          yaml: Array(without.utf8), directory: folder.path, author: "a",
          now: Timestamp(microseconds: 2), jobs: [job("RUNNING")])
      })
    #expect(error.code == .failedPrecondition)
    #expect(error.message.contains("job train-churn-1 (RUNNING) trains it"))
    #expect(store.changes.current.definitionsVersion == 1)
    #expect(try await store.definitions(inForceAt: Timestamp(microseconds: 1))?.version == 1)
    #expect(try await store.definitions(inForceAt: Timestamp(microseconds: 0)) == nil)
    #expect(try await store.definitions([1, 9]).map(\.version) == [1])
  }
}
