import Catalog
import Core
import Testing

@Suite("Searching the registry")
struct RegistryFilterTests {
  private let entry = RegistryEntry(
    texts: ["name": "Churn_one", "run_id": "abc", "source_path": "s3://bucket/50%"],
    numbers: ["version_number": 3, "last_updated_timestamp": 9],
    tags: ["team": "Growth", "a.b c": "x", "martlet.stage": "canary"])

  @Test(
    "a filter matches as MLflow's does",
    arguments: [
      ("", true), ("   ", true),
      ("name = 'Churn_one'", true), ("name='churn_one'", false), ("name != 'Churn_one'", false),
      ("name LIKE 'Churn%'", true), ("name LIKE 'churn%'", false), ("name ilike 'CHURN%'", true),
      ("name LIKE '%rn_on%'", true), ("name LIKE 'Churn'", false), ("name LIKE '%e%e'", false),
      ("name LIKE 'C%n%_n_'", true), ("name LIKE ''", false), ("name LIKE '%'", true),
      ("name IN ('a', 'Churn_one')", true), ("name NOT IN ('a', 'b',)", true),
      ("name not in ('Churn_one')", false), ("attribute.name = \"Churn_one\"", true),
      ("`name` = 'Churn_one'", true), ("source_path LIKE '%50%'", true),
      ("version_number > 2 AND version_number<=3", true), ("version_number = '3'", true),
      ("version_number != 3", false), ("run_id = 'abc' and version_number >= 4", false),
      ("tags.team = 'Growth'", true), ("tag.team ILIKE 'gr%'", true), ("tags.team != 'x'", true),
      ("tags.`a.b c` = 'x'", true), ("tags.\"a.b c\" = 'y'", false), ("tags.none != 'x'", false),
      ("tags.team = 'Growth' AND tags.`martlet.stage` = 'canary'", true),
      ("tags.team = 'AND'", false),
      // A model is no prompt, whatever is asked of that tag.
      ("tags.`mlflow.prompt.is_prompt` != 'true'", true),
      ("tags.`mlflow.prompt.is_prompt` = 'true'", false),
    ])
  func matches(text: String, expected: Bool) throws {
    #expect(try RegistryFilter(parsing: text, of: .versions).matches(entry) == expected)
  }

  @Test("prompts that MLflow keeps among its models are found by who asks for them only")
  func prompts() throws {
    var prompt = entry
    prompt.tags["mlflow.prompt.is_prompt"] = "true"
    #expect(try !RegistryFilter(parsing: "name LIKE '%'", of: .models).matches(prompt))
    #expect(
      try RegistryFilter(parsing: "tags.`mlflow.prompt.is_prompt` = 'true'", of: .models)
        .matches(prompt))
  }

  @Test(
    "a filter that cannot be read is refused with the part at fault",
    arguments: [
      ("name", "Invalid clause(s)"), ("name =", "Invalid clause(s)"),
      ("= 'x'", "Invalid clause(s)"),
      ("name = 'a' name = 'b'", "Invalid clause(s)"),
      ("name = 'a' OR name = 'b'", "Invalid clause(s)"),
      ("name = 'a", "a quote is not closed"), ("tags.`a = 'b'", "a quote is not closed"),
      ("name = a", "Expected a quoted string value"),
      ("tags.x = 5", "Expected a quoted string value"),
      ("name > 'a'", "Invalid comparator for attribute: >"),
      ("tags.x < 'a'", "Invalid comparator for tag: <"), ("tags.x IN ('a')", "attributes support"),
      ("stage = 'x'", "Invalid attribute key 'stage'"),
      ("run.name = 'x'", "Invalid entity type 'run'"),
      ("name IN ('a' 'b')", "ill-formed list"), ("name IN ()", "ill-formed list"),
      ("source_path IN ('a')", "attributes support comparison with a list"),
      ("version_number = 'one'", "Invalid value for numeric attribute"),
      ("version_number LIKE '3'", "Invalid comparator for attribute"),
      ("version_number = 1.5", "Invalid value for numeric attribute"),
      ("name ! 'a'", "Invalid clause(s)"),
    ])
  func refuses(text: String, part: String) {
    #expect {
      _ = try RegistryFilter(parsing: text, of: .versions)
    } throws: { error in
      (error as? PlatformError)?.code == .invalidArgument && "\(error)".contains(part)
    }
  }

  @Test("no filter makes the reader fail otherwise, whatever is cut out of one or put into it")
  func mutations() throws {
    var random = SeededGenerator(seed: 41)
    let parts = [
      "name", "=", "'", "\"", "`", "(", ",", ")", "tags.", "AND", " ", "%", "é", "1", "!", "\u{0}",
    ]
    for _ in 0..<20_000 {
      let text = (0..<Int.random(in: 0..<12, using: &random))
        .map { _ in parts[Int.random(in: 0..<parts.count, using: &random)] }.joined()
      do {
        _ = try RegistryFilter(parsing: text, of: .versions).matches(entry)
      } catch {
        #expect(error.code == .invalidArgument, "seed 41: \(text)")
      }
    }
  }

  @Test("LIKE takes no longer than the lengths' product, however many % there are")
  func longPatterns() throws {
    var long = entry
    long.texts["name"] = String(repeating: "a", count: 2_000)
    let pattern = String(repeating: "a%", count: 900) + "b"
    #expect(try !RegistryFilter(parsing: "name LIKE '\(pattern)'", of: .models).matches(long))
  }

  @Test(
    "answers are ordered by what is asked for, then by name and newest version",
    arguments: [
      ([String](), [3, 1, 0, 2]), (["name ASC"], [1, 0, 2, 3]), (["name DESC"], [3, 2, 1, 0]),
      (["version_number"], [0, 2, 3, 1]),
      (["creation_timestamp DESC", "name DESC"], [2, 3, 1, 0]),
      (["`last_updated_timestamp` asc"], [2, 1, 0, 3]),
    ])
  func orders(clauses: [String], expected: [Int]) throws {
    func one(_ name: String, _ version: Int64, _ created: Int64, _ updated: Int64) -> RegistryEntry
    {
      RegistryEntry(
        texts: ["name": name],
        numbers: [
          "version_number": version, "creation_timestamp": created,
          "last_updated_timestamp": updated,
        ], tags: [:])
    }
    let entries = [one("a", 1, 1, 5), one("a", 2, 1, 5), one("b", 1, 9, 2), one("c", 1, 1, 8)]
    let order = try RegistryOrder(parsing: clauses, of: .versions)
    #expect(
      entries.indices.sorted { order.isBefore(entries[$0], entries[$1]) } == expected)
  }

  @Test(
    "an order that cannot be read is refused",
    arguments: [
      ("name up", "Invalid ordering key"), ("size", "Invalid order by key 'size'"),
      ("name ASC please", "Could not be parsed"), ("", "Could not be parsed"),
    ])
  func refusesOrders(clause: String, part: String) {
    #expect {
      _ = try RegistryOrder(parsing: [clause], of: .models)
    } throws: { "\($0)".contains(part) }
    #expect {
      _ = try RegistryOrder(parsing: ["name", "name DESC"], of: .models)
    } throws: { "\($0)".contains("duplicate fields") }
  }
}
