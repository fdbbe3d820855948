import Core
import Foundation
import TestKit
import Testing

extension WholeProgram {
  /// Definitions that change under a running platform.
  @Suite struct DefinitionChangeTests {
    private static let retyped = ShopProject.definitions
      .replacing("kind: string", with: "kind: int64").replacing("kind = 'buy'", with: "kind = 1")

    private static func event(_ id: String, kind: String) -> String {
      #"{"event_id": "\#(id)", "customer_id": 1, "kind": \#(kind), "amount": 10, "at": "2026-02-28T10:00:00Z"}"#
    }

    @Test(
      "a column changes its type while no event is stored, and is refused with their number then")
    func retype() async throws {
      try await ShopProject.with { platform in
        let rest = platform.rest
        let plan = try await rest.ok(
          "/api/v1/definitions/plan", JSON.object(["yaml": .string(Self.retyped)]).text)
        #expect(plan["plan"]?["breakages"]?.array?.isEmpty == true, "\(plan.text)")
        let applied = try await rest.apply(Self.retyped)
        #expect(applied.status == 200, "\(applied)")
        let pushed = try await rest.push("events", Self.event("a", kind: "1"))
        #expect(pushed["accepted"]?.int == 1, "\(pushed)")
        #expect(
          try await rest.online(
            ["activity.last_kind", "activity.buys_7d"], #"{"customer_id": 1}"#) == [
              .int(1), .int(1),
            ])
        #expect(try await rest.rows("SELECT kind FROM events_events") == [[.int(1)]])
        let history = try await rest.post(
          "/api/v1/features/history?features=activity.last_kind&time=at&spine_format=sql&definitions=1",
          "SELECT 1 AS customer_id, TIMESTAMPTZ '2026-03-01 00:00:00Z' AS at")
        #expect(history.status == 412, "\(history)")
        #expect(history.error.contains("has column 'kind' of source 'events' as string"))
        let refused = try await rest.apply(ShopProject.definitions)
        #expect(refused.status == 412, "\(refused)")
        #expect(
          refused.error.contains("from int64 to string: 1 event is stored with the old one"),
          "\(refused)")
        // What was refused has changed nothing, also for the next start.
        let again = try await rest.push("events", Self.event("b", kind: "2"))
        #expect(again["accepted"]?.int == 1, "\(again)")
      }
    }

    @Test("a column that was left out comes back with its type only, while events have it")
    func comesBack() async throws {
      try await ShopProject.with { platform in
        let rest = platform.rest
        _ = try await rest.push("events", Self.event("a", kind: "\"buy\""))
        let without = ShopProject.definitions
          .replacing("kind: string, ", with: "").replacing(
            "      last_kind:   {latest: kind}\n", with: ""
          )
          .replacing(
            "      buys_7d:     {count: \"*\", where: kind = 'buy', window: 7d}\n", with: "")
        let left = try await rest.apply(without)
        #expect(left.status == 200, "\(left)")
        let refused = try await rest.apply(Self.retyped)
        #expect(refused.error.contains("from string to int64: 1 event is stored"), "\(refused)")
        #expect(try await rest.apply(ShopProject.definitions).status == 200)
      }
    }

    @Test(
      "a function that its file does not define is refused when it is applied, not when it is needed"
    )
    func missingFunction() async throws {
      try await ShopProject.with { platform in
        let yaml = ShopProject.definitions + "models:\n" + ShopProject.model("churn", "constnat")
        let plan = try await platform.rest.post(
          "/api/v1/definitions/plan", JSON.object(["yaml": .string(yaml)]).text)
        #expect(plan.status == 422, "\(plan)")
        #expect(
          plan.error.contains("'train.py' does not define 'constnat'; did you mean 'constant'?"),
          "\(plan)")
        #expect(try await platform.rest.apply(yaml).status == 422)
      }
    }
  }
}
