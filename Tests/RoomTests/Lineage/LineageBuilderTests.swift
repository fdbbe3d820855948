import Core
import Foundation
import TestKit
import Testing

@Suite("The lineage of definitions and versions")
struct LineageBuilderTests {
  private func shop(_ replacements: (String, String)...) throws -> ProjectDefinition {
    var text = try DefinitionFixtures.text("good", "shop")
    for (old, new) in replacements {
      try #require(text.contains(old))
      text = text.replacingOccurrences(of: old, with: new)
    }
    return try DefinitionFixtures.parse(text)
  }

  private func names(_ ids: Set<String>, _ kind: LineageGraph.Kind) -> [String] {
    ids.filter { $0.hasPrefix("\(kind.rawValue):") }.map {
      String($0.dropFirst(kind.rawValue.count + 1))
    }.sorted()
  }

  @Test("a derived feature is made from the features and columns beneath it, and no others")
  func upstream() throws {
    var builder = LineageBuilder()
    builder.add(try shop(), version: 1)
    let upstream = builder.graph.closure(of: "derived:customer_activity.is_buyer", .upstream)
    #expect(names(upstream, .derived) == ["customer_activity.conversion_7d"])
    #expect(
      names(upstream, .feature) == [
        "customer_activity.purchases_7d", "customer_activity.views_7d",
      ])
    #expect(names(upstream, .column) == ["activity.action", "activity.customer_id"])
    #expect(names(upstream, .entity) == ["customer"])
    #expect(names(upstream, .source) == ["activity"])
  }

  @Test("everything that depends on a column is downstream of it: by value, by filter and by key")
  func downstream() throws {
    var builder = LineageBuilder()
    builder.add(try shop(), version: 1)
    let amount = builder.graph.closure(of: "column:activity.amount", .downstream)
    #expect(
      names(amount, .feature) == [
        "customer_activity.largest_30d", "customer_activity.spent_7d", "product_demand.sold_24h",
      ])
    #expect(names(amount, .model) == ["churn"])
    let key = builder.graph.closure(of: "column:activity.product_id", .downstream)
    #expect(names(key, .feature) == ["product_demand.sold_24h"])
    #expect(names(key, .view) == ["product_demand"])
    let label = builder.graph.closure(of: "column:outcomes.churned", .downstream)
    #expect(label == ["model:churn"])
  }

  @Test("a transform stands between its source and every column, with the digest of its code")
  func transform() throws {
    let project = try shop(
      ("    retention: 365d", "    transform: transforms.py:enrich\n    retention: 365d"))
    var builder = LineageBuilder()
    builder.add(project, version: 1) { $0.file == "transforms.py" ? "d1" : "d2" }
    #expect(builder.graph["transform:transforms.py:enrich"]?["digest"] == "d1")
    let upstream = builder.graph.closure(of: "feature:customer_activity.last_action", .upstream)
    #expect(names(upstream, .transform) == ["transforms.py:enrich"])
    #expect(builder.graph["code:train.py:train"]?["digest"] == "d2")
    let users = builder.graph.closure(of: "transform:transforms.py:enrich", .downstream)
    #expect(names(users, .model) == ["churn"])
  }

  @Test("what an older version says otherwise is a node of its own, what it says alike is shared")
  func olderDefinitions() throws {
    var builder = LineageBuilder()
    builder.add(try shop(), version: 5)
    let old = builder.add(
      try shop(
        ("where: \"action = 'view'\", window: 7d", "where: \"action = 'view'\", window: 14d"),
        ("    checks:\n", "    zone: UTC\n    checks:\n")), version: 2)
    _ = old
    var same = LineageBuilder()
    same.add(try shop(), version: 5)
    let drawn = same.add(
      try shop(
        ("where: \"action = 'view'\", window: 7d", "where: \"action = 'view'\", window: 14d")),
      version: 2)
    let graph = same.graph
    #expect(
      drawn.feature(FeatureName(view: "customer_activity", feature: "events_1h"))
        == "feature:customer_activity.events_1h")
    #expect(
      drawn.feature(FeatureName(view: "customer_activity", feature: "views_7d"))
        == "feature:customer_activity.views_7d#2")
    // It reads as before, but over something else.
    #expect(
      drawn.feature(FeatureName(view: "customer_activity", feature: "conversion_7d"))
        == "derived:customer_activity.conversion_7d#2")
    #expect(drawn.id(.model, "churn") == "model:churn#2")
    #expect(graph["feature:customer_activity.views_7d#2"]?["in_force"] == "false")
    #expect(graph["feature:customer_activity.views_7d"]?["definitions_version"] == "5")
    #expect(try graph.topologicalOrder().count == graph.nodes.count)
    // Another zone changes the times of all events, and so everything made from them.
    #expect(builder.graph["source:activity#2"] != nil)
    #expect(builder.graph["feature:customer_activity.events_1h#2"] != nil)
    #expect(builder.graph["entity:customer#2"] == nil)
  }

  @Test("a version hangs on its training set, its job and the definitions of its time")
  func version() throws {
    var builder = LineageBuilder()
    let now = builder.add(
      try shop(("events_1h: {count: \"*\", window: 1h}", "events_1h: {count: \"*\", window: 2h}")),
      version: 2)
    let then = builder.add(try shop(), version: 1)
    var version = try CatalogSamples.version(model: "churn", stage: .production)
    version.trainingSet.origin = TrainingSetOrigin(
      events: [
        .init(
          source: "activity", use: "features", count: 7, first: Timestamp(microseconds: 0),
          last: Timestamp(microseconds: 1_000_000), firstSequence: 1, lastSequence: 9)
      ], code: [])
    builder.add(version, under: then)
    builder.add(
      LineageJob(
        id: "job-1", kind: "train", model: "churn", state: "COMPLETED", reason: "asked for",
        createdAt: Timestamp(microseconds: 0), finishedAt: nil), under: now)
    let graph = builder.graph
    let upstream = graph.closure(of: "version:churn@1", .upstream)
    #expect(upstream.contains("job:job-1") && upstream.contains("dataset:churn@1"))
    #expect(upstream.contains("feature:customer_activity.events_1h#1"))
    #expect(!upstream.contains("feature:customer_activity.events_1h"))
    #expect(!upstream.contains("model:churn"), "the definition of today did not make it")
    #expect(upstream.contains("model:churn#1"))
    #expect(graph["job:job-1"]?["state"] == "COMPLETED")
    #expect(
      graph["dataset:churn@1"]?["features_from_activity"]
        == "7 events of 1970-01-01T00:00:00Z to 1970-01-01T00:00:01Z, sequences 1 to 9")
  }

  @Test("a prediction hangs on its version and the features that it read")
  func prediction() throws {
    var builder = LineageBuilder()
    let drawn = builder.add(try shop(), version: 1)
    builder.add(try CatalogSamples.version(model: "churn", stage: .production), under: drawn)
    builder.add(
      LineagePrediction(
        requestID: "r#1", model: "churn", version: 1, time: Timestamp(microseconds: 0),
        entityKeys: "{}", result: "0.5",
        reads: [
          .init(
            feature: "customer_activity.spent_7d", status: "present",
            eventTimestamp: "1970-01-01T00:00:00Z"),
          .init(feature: "customer_activity.gone", status: "present", eventTimestamp: nil),
        ]), under: drawn)
    let edges = builder.graph.sources(of: try builder.graph.resolve("prediction:r#1"))
    #expect(
      edges.map { "\($0.from) \($0.role)" } == [
        "version:churn@1 predicted by",
        "feature:customer_activity.spent_7d present of 1970-01-01T00:00:00Z",
      ])
  }
}

@Suite("Names of lineage")
struct LineageNameTests {
  private func graph() throws -> LineageGraph {
    var builder = LineageBuilder()
    var project = try DefinitionFixtures.good("shop")
    project.entities.append(EntityDefinition(name: "outcomes", key: ["customer_id"]))
    let drawn = builder.add(project, version: 1)
    var version = try CatalogSamples.version(model: "churn", stage: .production)
    version.trainingSet.hash = "0123456789abcdef"
    builder.add(version, under: drawn)
    return builder.graph
  }

  static let names: [(name: String, id: String)] = [
    ("activity", "source:activity"),
    ("activity.amount", "column:activity.amount"),
    ("customer_activity", "view:customer_activity"),
    ("customer_activity.events_1h", "feature:customer_activity.events_1h"),
    ("customer_activity.is_buyer", "derived:customer_activity.is_buyer"),
    ("churn", "model:churn"),
    ("churn@1", "version:churn@1"),
    ("churn@production", "version:churn@1"),
    ("dataset:churn@1", "dataset:churn@1"),
    ("0123456789", "dataset:churn@1"),
    ("job-1", "job:job-1"),
    ("train.py:train", "code:train.py:train"),
    ("entity:outcomes", "entity:outcomes"),
    ("source:outcomes", "source:outcomes"),
  ]

  @Test("a name means one node", arguments: names)
  func resolves(name: String, id: String) throws {
    #expect(try graph().resolve(name) == id)
  }

  static let unknown: [(name: String, message: String)] = [
    (
      "customer_activity.events_2h",
      "nothing is called 'customer_activity.events_2h'; did you mean 'customer_activity.events_1h'?"
    ),
    ("churn@2", "nothing is called 'churn@2'; did you mean 'churn@1'?"),
    (
      "view:activity", "nothing is called 'view:activity'; known: customer_activity, product_demand"
    ),
    ("01234", "nothing is called '01234'"),
    ("prediction:x", "nothing is called 'prediction:x'; there are none"),
  ]

  @Test("an unknown name is told with the nearest one", arguments: unknown)
  func suggests(name: String, message: String) throws {
    let graph = try graph()
    let error = try #require(throws: PlatformError.self) { try graph.resolve(name) }
    #expect(error.code == .notFound)
    #expect(error.message.hasPrefix(message), "\(error.message)")
  }

  @Test("a name of several things is refused with what to write")
  func ambiguous() throws {
    let graph = try graph()
    let error = try #require(throws: PlatformError.self) { try graph.resolve("outcomes") }
    #expect(error.code == .invalidArgument)
    #expect(
      error.message == "'outcomes' may be entity:outcomes or source:outcomes; say which")
  }
}
