import Catalog
import Core
import Foundation
import Testing

@Suite("The plan")
struct DefinitionPlanTests {
  private func changed(_ replacements: (String, String)...) throws -> ProjectDefinition {
    var text = try DefinitionFixtures.text("good", "shop")
    for (old, new) in replacements {
      try #require(text.contains(old))
      text = text.replacingOccurrences(of: old, with: new)
    }
    return try DefinitionFixtures.parse(text)
  }

  private func plan(
    _ models: [String: [ModelVersion]] = [:], _ replacements: (String, String)...
  ) throws -> DefinitionPlan {
    var text = try DefinitionFixtures.text("good", "shop")
    for (old, new) in replacements {
      try #require(text.contains(old))
      text = text.replacingOccurrences(of: old, with: new)
    }
    return DefinitionPlan(
      from: try DefinitionFixtures.good("shop"), to: try DefinitionFixtures.parse(text),
      models: models)
  }

  @Test("the same definitions plan nothing")
  func nothing() throws {
    let plan = try plan()
    #expect(plan.isEmpty)
    #expect(plan.text == "No changes: the definitions in force are these.")
  }

  @Test("the first plan adds everything and reads no stored events")
  func first() throws {
    let plan = DefinitionPlan(from: nil, to: try DefinitionFixtures.good("shop"), models: [:])
    #expect(plan.changes.allSatisfy { $0.action == .added })
    #expect(plan.changes.count == 2 + 2 + 2 + 10 + 1)
    #expect(plan.backfills.isEmpty)
  }

  @Test("a longer window is a change with old and new, and is computed anew")
  func window() throws {
    let plan = try plan(
      [:], ("where: \"action = 'view'\", window: 7d", "where: \"action = 'view'\", window: 14d"))
    #expect(
      plan.text == """
        ~ feature customer_activity.views_7d
            window: 7d → 14d
            backfill: computed anew from the stored events of 'activity'

        0 to add, 1 to change, 0 to remove; 1 feature is computed from stored events
        """)
  }

  @Test("a ttl, a comment or another spelling of a filter reads no stored events")
  func cheapChanges() throws {
    let plan = try plan([:], ("{latest: mobile, ttl: 30d}", "{latest: mobile, ttl: 60d}"))
    #expect(plan.backfills.isEmpty)
    #expect(plan.changes.map(\.name) == ["customer_activity.last_mobile"])
    let spelling = try self.plan(
      [:], ("where: \"action = 'view'\"", "where: (action == 'view')"),
      ("# What the shop", "# That the shop"))
    #expect(spelling.isEmpty)
  }

  @Test("a new feature over a known source is computed from history, a derived one is not")
  func newFeatures() throws {
    let plan = try plan(
      [:],
      (
        "      events_1h: ",
        "      events_2h: {count: \"*\", window: 2h}\n      rate: {derived: events_2h / 2}\n      events_1h: "
      ))
    #expect(plan.changes.map(\.action) == [.added, .added])
    #expect(plan.backfills == ["customer_activity.events_2h"])
    #expect(plan.text.hasPrefix("+ feature customer_activity.events_2h\n    count: *\n"))
  }

  @Test("the type of a stored column cannot change")
  func retypedColumn() throws {
    let plan = try plan([:], ("mobile: bool", "mobile: string"))
    #expect(plan.breakages.count == 1)
    #expect(
      plan.text.contains(
        "! the type of column 'mobile' of source 'activity' cannot change from bool to string"))
    #expect(plan.summary.hasSuffix("it cannot be applied as it is"))
  }

  @Test(
    "the type of a column changes where no event is stored, and is refused with their number else")
  func retypedColumnOfStoredEvents() throws {
    func breakages(_ stored: StoredSource) throws -> [String] {
      DefinitionPlan(
        from: try DefinitionFixtures.good("shop"),
        to: try changed(("mobile: bool", "mobile: string")),
        models: [:], stored: ["activity": stored]
      ).breakages.map(\.message)
    }
    #expect(try breakages(StoredSource(events: 0, columns: ["mobile": .bool])).isEmpty)
    let found = try breakages(StoredSource(events: 12, columns: ["mobile": .bool]))
    #expect(found.count == 1 && found[0].contains("from bool to string: 12 events are stored"))
    let one = try breakages(StoredSource(events: 1, columns: ["mobile": .bool]))
    #expect(one.count == 1 && one[0].contains("1 event is stored"))
    // It has been changed there before.
    #expect(try breakages(StoredSource(events: 12, columns: ["mobile": .string])).isEmpty)
  }

  @Test("a column that comes back has the type that its stored events have")
  func columnThatComesBack() throws {
    let without = try changed(("mobile: bool", "phone: bool"), ("latest: mobile", "latest: phone"))
    let plan = DefinitionPlan(
      from: without, to: try changed(("mobile: bool", "mobile: string")), models: [:],
      stored: ["activity": StoredSource(events: 3, columns: ["mobile": .bool])])
    #expect(plan.breakages.map(\.message).first?.contains("from bool to string: 3 events") == true)
  }

  @Test("removing what a published version reads breaks that version, unless the model goes too")
  func removedFeature() throws {
    let version = try CatalogSamples.version(model: "churn", stage: .production)
    let removed: (String, String) = ("      events_1h: {count: \"*\", window: 1h}\n", "")
    let unused: (String, String) = ("      - customer_activity.events_1h\n", "")
    let broken = try plan(["churn": [version]], removed, unused)
    #expect(broken.breakages.map(\.breaks) == ["model 'churn' version 1 (production)"])
    #expect(broken.breakages.map(\.subject) == ["feature 'customer_activity.events_1h'"])
    #expect(broken.text.contains("martlet models promote churn VERSION"))

    var idle = version
    idle.stage = .registered
    #expect(
      try plan(["churn": [idle]], removed, unused).text.contains("martlet models archive churn 1"))

    var archived = version
    archived.stage = .archived
    #expect(try plan(["churn": [archived]], removed, unused).breakages.isEmpty)

    let text = try DefinitionFixtures.text("good", "shop")
    let models = try #require(text.range(of: "models:"))
    let without = String(text[..<models.lowerBound])
      .replacingOccurrences(of: "      events_1h: {count: \"*\", window: 1h}\n", with: "")
    let gone = DefinitionPlan(
      from: try DefinitionFixtures.good("shop"), to: try DefinitionFixtures.parse(without),
      models: ["churn": [version]])
    #expect(gone.breakages.isEmpty)
    #expect(gone.changes.map(\.action) == [.removed, .removed])
  }

  @Test("retyping what a published version reads breaks it")
  func retypedFeature() throws {
    let version = try CatalogSamples.version(model: "churn", stage: .staging)
    let plan = try plan(
      ["churn": [version]],
      ("events_1h: {count: \"*\", window: 1h}", "events_1h: {sum: amount, window: 1h}"))
    #expect(plan.breakages.count == 1)
    #expect(plan.breakages.first?.message.contains("changes from int64 to double") == true)
  }

  @Test("a changed meaning of a feature is noted for the version that was trained on the old one")
  func changedMeaning() throws {
    let version = try CatalogSamples.version(model: "churn", stage: .production)
    let plan = try plan(
      ["churn": [version]],
      ("events_1h: {count: \"*\", window: 1h}", "events_1h: {count: \"*\", window: 2h}"))
    #expect(plan.breakages.isEmpty)
    #expect(
      plan.notes == [
        "model 'churn' version 1 (production) was trained on the old feature 'customer_activity.events_1h'; train it again after this"
      ])
  }

  @Test("another key of a view is a break for its models and computes all its features anew")
  func changedKey() throws {
    let version = try CatalogSamples.version(model: "churn", stage: .production)
    let plan = try plan(
      ["churn": [version]], ("{key: [customer_id]}", "{key: [customer_id, product_id]}"),
      ("{customer_id: int64, as_of", "{product_id: string, customer_id: int64, as_of"))
    #expect(plan.breakages.contains { $0.subject == "view 'customer_activity'" })
    #expect(plan.backfills.count == 7)
  }

  @Test("windows and ttl longer than the retention are noted")
  func retention() throws {
    let plan = try plan([:], ("retention: 365d", "retention: 7d"))
    #expect(plan.notes.count == 2)
    #expect(plan.notes.contains { $0.contains("largest_30d") })
    #expect(plan.notes.contains { $0.contains("ttl") })
  }

  @Test("a plan survives its JSON form")
  func json() throws {
    let plan = try plan([:], ("mobile: bool", "mobile: string"))
    let data = try JSONEncoder().encode(plan)
    #expect(try JSONDecoder().decode(DefinitionPlan.self, from: data) == plan)
  }
}
