import Core
import TestKit
import Testing

extension WholeProgram {
  /// Definitions that are refused, wholly and with every error.
  @Suite(.sharedPlatform) struct BadDefinitionsTests {
    @Test("every error of a martlet.yaml is told at once, with its line, and nothing is applied")
    func allAtOnce() async throws {
      let rest = try SharedPlatform.current.rest
      let before = try await rest.okGet("/api/v1/definitions")["version"]?.int
      let answer = try await rest.apply(
        """
        project: shop
        entities:
          customer: {keys: [customer_id]}
        sources:
          events:
            event_time: at
            columns: {customer_id: int64, amount: dubble}
        views:
          activity:
            entity: customr
            source: events
            features:
              total: {sum: amount, window: 7}
        """)
      #expect(answer.status == 422, "\(answer)")
      #expect(answer.code == "invalid_definition")
      for place in ["martlet.yaml:3:", "martlet.yaml:7:", "martlet.yaml:10:", "martlet.yaml:13:"] {
        #expect(answer.error.contains(place), "\(place) in \(answer.error)")
      }
      #expect(answer.error.contains("'key'"), "\(answer.error)")
      #expect(answer.error.contains("'customer'"), "\(answer.error)")
      #expect(try await rest.okGet("/api/v1/definitions")["version"]?.int == before)
    }

    static let mistakes: [(from: String, to: String, says: String)] = [
      ("window: 7d}", "windw: 7d}", "window"),
      ("{sum: amount,", "{sum: amuont,", "'amount'"),
      ("{latest: kind}", "{latest: knid}", "kind"),
      ("{derived: spend_7d / events_7d}", "{derived: spend_7d / mean_7d}", "mean_7d"),
      ("kind = 'buy'", "knd = 'buy'", "'kind'"),
      ("kind = 'buy'", "kind = 3", "kind"),
      ("entity: customer", "entity: costumer", "'customer'"),
      ("source: events", "source: event", "'events'"),
      ("event_time: at\n", "event_tme: at\n", "'event_time'"),
    ]

    @Test("a mistake is refused with its place and what was probably meant", arguments: mistakes)
    func refused(from: String, to: String, says: String) async throws {
      let rest = try SharedPlatform.current.rest
      let yaml = ShopProject.definitions.replacing(from, with: to)
      try #require(yaml != ShopProject.definitions)
      let answer = try await rest.apply(yaml)
      #expect(answer.status == 422, "\(answer)")
      #expect(answer.error.contains("martlet.yaml:"), "\(answer.error)")
      #expect(answer.error.contains(says), "\(answer.error)")
    }

    @Test("features that derive from each other in a circle are refused with the circle")
    func cycle() async throws {
      let rest = try SharedPlatform.current.rest
      let answer = try await rest.apply(
        ShopProject.definitions
          + "      up:   {derived: down + 1}\n      down: {derived: up - 1}\n")
      #expect(answer.status == 422, "\(answer)")
      #expect(answer.error.contains("up") && answer.error.contains("down"), "\(answer.error)")
      #expect(answer.error.contains("→") || answer.error.contains("->"), "\(answer.error)")
    }

    @Test("text that is no YAML is refused with the line")
    func noYAML() async throws {
      let answer = try await SharedPlatform.current.rest.apply("project: shop\nentities: {a: [\n")
      #expect(answer.status == 422, "\(answer)")
      #expect(answer.error.contains("martlet.yaml:"), "\(answer.error)")
    }

    @Test("a refused definition leaves what was in force working")
    func goesOn() async throws {
      let platform = try SharedPlatform.current
      _ = try await platform.rest.apply("project: [")
      let pushed = try await platform.rest.push(
        "events", ShopProject.event("on", customer: 1, at: "2026-02-28T10:00:00Z"))
      #expect(pushed["accepted"]?.int == 1, "\(pushed)")
    }

    @Test("plan shows what apply would change, and changes nothing")
    func plan() async throws {
      let rest = try SharedPlatform.current.rest
      let before = try await rest.okGet("/api/v1/definitions")["version"]?.int
      let yaml = ShopProject.definitions + "      views_1d: {count: \"*\", window: 1d}\n"
      let plan = try await rest.ok(
        "/api/v1/definitions/plan", JSON.object(["yaml": .string(yaml)]).text)
      #expect(plan["text"]?.string?.contains("views_1d") == true, "\(plan.text)")
      #expect(try await rest.okGet("/api/v1/definitions")["version"]?.int == before)
    }
  }
}
