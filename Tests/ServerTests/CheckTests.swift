import Core
import TestKit
import Testing

extension WholeProgram {
  /// Checks of a source, as producers meet them.
  @Suite struct CheckTests {
    private static func with(
      _ checks: String, _ body: (PlatformProcess) async throws -> Void
    ) async throws {
      let yaml = ShopProject.definitions.replacing(
        "{customer_id: {required: true}, amount: {min: 0, max: 1000}}", with: checks)
      try await PlatformProcess.with(
        files: ["martlet.yaml": yaml], environment: ShopProject.environment
      ) { platform in
        let answer = try await platform.rest.apply(yaml)
        #expect(answer.status == 200, "\(answer)")
        try await body(platform)
      }
    }

    private static func event(_ id: String, _ amount: Double, _ time: String = "10:00:00") -> String
    {
      ShopProject.event(id, customer: 1, amount: amount, at: "2026-02-28T\(time)Z")
    }

    @Test("a warning is in the receipt and the metrics, and its event is stored")
    func warn() async throws {
      try await Self.with("{amount: {max: 100, on_fail: warn}}") { platform in
        let rest = platform.rest
        let answer = try await rest.push(
          "events", "[\(Self.event("a", 50)), \(Self.event("b", 500))]")
        #expect(answer["accepted"]?.int == 2, "\(answer)")
        #expect(
          answer["warnings"]
            == .array([
              .object([
                "reason": .string("column 'amount' is above the maximum 100"), "count": .int(1),
              ])
            ]))
        let file = try await rest.upload("events", "w.jsonl", Self.event("c", 600))
        #expect(file["warnings"]?.array?.count == 1, "\(file)")
        #expect(
          try await rest.get("/metrics").text.contains(
            #"martlet_check_failures_total{source="events",check="amount.max"} 2"#))
      }
    }

    @Test("a check that stops refuses the whole push and the whole file, with record and reason")
    func stop() async throws {
      try await Self.with("{amount: [{min: 0, on_fail: stop}, {max: 100}]}") { platform in
        let rest = platform.rest
        let records = [Self.event("a", 1), Self.event("b", -1), Self.event("c", 500)]
        let push = try await rest.push("events", "[\(records.joined(separator: ","))]")
        #expect(push.status == 422, "\(push)")
        #expect(
          push.error
            == "push record 2: column 'amount': -1 is below the minimum 0. The check amount.min has "
            + "`on_fail: stop`: nothing was stored; correct the record and send all again")
        let file = try await rest.upload("events", "s.jsonl", records.joined(separator: "\n"))
        #expect(file.status == 422, "\(file)")
        #expect(file.error.hasPrefix("file s.jsonl row 2: column 'amount': -1"), "\(file)")
        #expect(try await rest.count("SELECT count(*) FROM events_events") == 0)
        #expect(try await rest.count("SELECT count(*) FROM quarantine") == 0)
        let good = try await rest.push("events", "[\(records[0]), \(records[2])]")
        #expect(good["accepted"]?.int == 1 && good["quarantined"]?.int == 1, "\(good)")
      }
    }

    @Test(
      "a value is unique within its time, across pushes, files and restarts; the same event again is no other"
    )
    func unique() async throws {
      try await Self.with("{amount: {unique: {within: 1h}}}") { platform in
        let first = try await platform.rest.push(
          "events", "[\(Self.event("a", 7)), \(Self.event("b", 7, "10:59:59"))]")
        #expect(first["accepted"]?.int == 1 && first["quarantined"]?.int == 1, "\(first)")
        #expect(
          first["reasons"]?.array?.first?.string
            == "column 'amount': 7.0 is in another event less than 1h away")
        let again = try await platform.rest.push("events", Self.event("a", 7))
        #expect(again["duplicates"]?.int == 1, "\(again)")
        try await platform.crash()
        try await platform.start()
        let rest = platform.rest
        let near = try await rest.upload("events", "u.jsonl", Self.event("c", 7, "09:00:01"))
        #expect(near["quarantined"]?.int == 1, "\(near)")
        let far = try await rest.push("events", Self.event("d", 7, "11:00:00"))
        #expect(far["accepted"]?.int == 1, "\(far)")
        #expect(try await rest.count("SELECT count(*) FROM quarantine WHERE kind = 'unique'") == 2)
        let replay = try await rest.ok(
          "/api/v1/quarantine/replay", #"{"source": "events", "set": {"amount": 8}}"#)
        #expect(replay["replayed"]?.int == 2, "\(replay)")
      }
    }

    @Test(
      "a uniqueness check that stops refuses the push, and what it had looked at is not remembered")
    func uniqueStop() async throws {
      try await Self.with("{amount: {unique: {within: 1h}, on_fail: stop}}") { platform in
        let rest = platform.rest
        let bad = try await rest.push(
          "events", "[\(Self.event("a", 1)), \(Self.event("b", 2)), \(Self.event("c", 1))]")
        #expect(bad.status == 422, "\(bad)")
        #expect(bad.error.hasPrefix("event c: column 'amount': 1.0 is in another event"), "\(bad)")
        let good = try await rest.push("events", "[\(Self.event("a", 1)), \(Self.event("b", 2))]")
        #expect(good["accepted"]?.int == 2, "\(good)")
        let file = try await rest.upload(
          "events", "u.jsonl", "\(Self.event("d", 3))\n\(Self.event("e", 2))\n")
        #expect(file.status == 422, "\(file)")
        #expect(try await rest.count("SELECT count(*) FROM events_events") == 2)
      }
    }
  }
}
