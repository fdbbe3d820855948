import Core
import TestKit
import Testing

extension WholeProgram {
  /// Records that go to quarantine, with the reason, while the others of their batch go on.
  @Suite(.sharedPlatform) struct BadRecordsTests {
    static let records: [(record: String, says: [String])] = [
      (
        #"{"event_id": "r1", "customer_id": "seven", "kind": "buy", "at": "2026-02-28T10:00:00Z"}"#,
        ["customer_id", "seven", "int64"]
      ),
      (
        #"{"event_id": "r2", "customer_id": 1, "amount": "12", "at": "2026-02-28T10:00:00Z"}"#,
        ["amount", "double"]
      ),
      (#"{"event_id": "r3", "customer_id": 1, "kind": "buy"}"#, ["no event time", "'at'"]),
      (#"{"event_id": "r4", "customer_id": 1, "at": null}"#, ["no event time", "'at'"]),
      (
        #"{"event_id": "r5", "customer_id": 1, "at": "2026-02-28T10:00:00"}"#,
        ["zone", "2026-02-28T10:00:00"]
      ),
      (#"{"event_id": "r6", "customer_id": 1, "at": "yesterday"}"#, ["yesterday", "timestamp"]),
      (
        #"{"event_id": "r7", "customer_id": 1, "amount": "NaN", "at": "2026-02-28T10:00:00Z"}"#,
        ["amount", "NaN is not a number"]
      ),
      (
        #"{"event_id": "r8", "customer_id": 1, "amount": 5000, "at": "2026-02-28T10:00:00Z"}"#,
        ["amount", "5000", "1000"]
      ),
      (
        #"{"event_id": "r9", "kind": "buy", "at": "2026-02-28T10:00:00Z"}"#,
        ["customer_id", "required"]
      ),
      (
        #"{"event_id": "", "customer_id": 1, "at": "2026-02-28T10:00:00Z"}"#,
        ["event_id", "empty"]
      ),
      (
        #"{"event_id": null, "customer_id": 1, "at": "2026-02-28T10:00:00Z"}"#,
        ["'event_id' is absent or null", "client and sequence"]
      ),
      (
        #"{"customer_id": 1, "at": "2026-02-28T10:00:00Z"}"#,
        ["'event_id' is absent or null"]
      ),
      (
        #"{"event_id": "r11", "customer_id": 1.5, "at": "2026-02-28T10:00:00Z"}"#,
        ["customer_id", "1.5", "int64"]
      ),
    ]

    @Test(
      "a bad record is quarantined with its reason, and its neighbours are stored",
      arguments: records.indices)
    func quarantined(index: Int) async throws {
      let rest = try SharedPlatform.current.rest
      let (record, says) = Self.records[index]
      let good = [1, 2].map {
        ShopProject.event("good-\(index)-\($0)", customer: 100, at: "2026-02-28T10:00:00Z")
      }
      let answer = try await rest.push("events", "[\(good[0]), \(record), \(good[1])]")
      #expect(answer.status == 200, "\(answer)")
      #expect(answer["accepted"]?.int == 2, "\(answer)")
      #expect(answer["quarantined"]?.int == 1, "\(answer)")
      let reason = answer["reasons"]?.array?.first?.string ?? ""
      for text in says { #expect(reason.contains(text), "\(text) in \(reason)") }
      let kept = try await rest.okGet("/api/v1/quarantine?source=events&limit=1")["records"]?.array?
        .first
      #expect(kept?["reason"]?.string == reason)
      #expect(kept?["record"]?.string == record)
    }

    @Test("an element of an array that is no object goes to quarantine, and the others are stored")
    func noObject() async throws {
      let good = ShopProject.event("beside", customer: 100, at: "2026-02-28T10:00:00Z")
      let rest = try SharedPlatform.current.rest
      let answer = try await rest.push("events", "[\(good), 17]")
      #expect(answer["accepted"]?.int == 1 && answer["quarantined"]?.int == 1, "\(answer)")
      #expect(answer["reasons"]?.array?.first?.string?.contains("JSON object") == true)
      let rows = try await rest.count(
        "SELECT count(*) FROM events_events WHERE event_id = 'beside'")
      #expect(rows == 1)
      let kept = try await rest.okGet("/api/v1/quarantine?source=events&limit=1")["records"]?.array?
        .first
      #expect(kept?["record"]?.string == "17", "\(kept?.text ?? "")")
    }

    @Test("an array of no records is nothing")
    func noRecords() async throws {
      let answer = try await SharedPlatform.current.rest.push("events", "[]")
      #expect(answer.status == 200, "\(answer)")
      #expect(answer["accepted"]?.int == 0)
    }

    @Test("NaN is a double like any other where no check speaks against it, and aggregates skip it")
    func notANumber() async throws {
      try await PlatformProcess.with(files: [:], environment: ShopProject.environment) { platform in
        let yaml = ShopProject.definitions.replacing(
          "amount: {min: 0, max: 1000}", with: "kind: {required: true}")
        let applied = try await platform.rest.apply(yaml)
        #expect(applied.status == 200, "\(applied)")
        let answer = try await platform.rest.push(
          "events",
          """
          [{"event_id": "a", "customer_id": 1, "kind": "buy", "amount": "NaN", "at": "2026-02-28T10:00:00Z"},
           {"event_id": "b", "customer_id": 1, "kind": "buy", "amount": 4, "at": "2026-02-28T09:00:00Z"}]
          """)
        #expect(answer["accepted"]?.int == 2, "\(answer)")
        let values = try await platform.rest.online(
          ["activity.last_amount", "activity.events_7d", "activity.spend_7d"],
          #"{"customer_id": 1}"#)
        #expect(values == [.string("NaN"), .int(2), .double(4)])
      }
    }
  }
}
