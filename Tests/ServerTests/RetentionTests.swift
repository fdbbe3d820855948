import Core
import TestKit
import Testing

extension WholeProgram {
  /// Events go by whole days when their source's retention is over; numbers and online values stay.
  @Suite struct RetentionTests {
    private static let definitions = ShopProject.definitions.replacing(
      "checks: {customer_id: {required: true}, amount: {min: 0, max: 1000}}", with: "retention: 10d"
    )

    private static func with(_ body: (PlatformProcess) async throws -> Void) async throws {
      let environment = ShopProject.environment.merging(["MARTLET_RETENTION_INTERVAL": "50ms"]) {
        $1
      }
      try await PlatformProcess.with(
        files: ["martlet.yaml": definitions], environment: environment
      ) { platform in
        let answer = try await platform.rest.apply(definitions)
        #expect(answer.status == 200, "\(answer)")
        try await body(platform)
      }
    }

    private static func event(_ id: Int, day: Int, hour: Int = 12) -> String {
      ShopProject.event(
        "e\(id)", customer: 1, amount: Double(id),
        at: "2026-02-\(twoDigits(day))T\(twoDigits(hour)):00:00Z")
    }

    @Test(
      "days that are past go, the day on the edge stays whole, and the online state stays as it is")
    func sweep() async throws {
      try await Self.with { platform in
        let rest = platform.rest
        let days = [20, 27, 27, 28, 28, 28]
        let records = days.enumerated().map { Self.event($0, day: $1, hour: $0) }
        _ = try await rest.push("events", "[\(records.joined(separator: ","))]")
        // The retention reaches back to the midnight that begins 2026-02-28 then.
        try await rest.moveClock("2026-03-10T15:00:00Z")
        try await waitUntil("old days were dropped") {
          try await rest.count("SELECT count(*) FROM events_events") == 3
        }
        let oldest = try await rest.rows("SELECT min(event_timestamp)::VARCHAR FROM events_events")
        #expect(oldest == [[.string("2026-02-28 03:00:00")]])
        #expect(
          try await rest.online(["activity.last_amount"], #"{"customer_id": 1}"#) == [.double(5)])
        try await waitUntil("they were counted") {
          try await rest.get("/metrics").text.contains(
            #"martlet_retention_dropped_events_total{source="events"} 3"#)
        }
      }
    }

    @Test("an event that is older than the retention is not stored, and counted as expired")
    func expired() async throws {
      try await Self.with { platform in
        let rest = platform.rest
        let push = try await rest.push(
          "events", "[\(Self.event(1, day: 18)),\(Self.event(2, day: 19))]")
        #expect(push["accepted"]?.int == 1 && push["expired"]?.int == 1, "\(push)")
        let file = try await rest.upload(
          "events", "old.csv",
          "event_id,customer_id,kind,amount,at\na,1,buy,1,2025-01-01T00:00:00Z\nb,1,buy,1,2026-02-20T00:00:00Z\n"
        )
        #expect(
          file["rows"]?.int == 2 && file["accepted"]?.int == 1 && file["expired"]?.int == 1,
          "\(file)")
        #expect(
          try await rest.rows("SELECT event_id FROM events_events ORDER BY 1")
            == [[.string("b")], [.string("e2")]])
        try await waitUntil("they were counted") {
          try await rest.get("/metrics").text.contains(
            #"martlet_ingest_expired_total{source="events"} 2"#)
        }
      }
    }

    @Test("a verification tells what reaches past retention, and does not count it")
    func verification() async throws {
      try await Self.with { platform in
        let rest = platform.rest
        let shorter = Self.definitions.replacing("retention: 10d", with: "retention: 5d")
        let answer = try await rest.apply(shorter)
        #expect(answer.status == 200, "\(answer)")
        _ = try await rest.push(
          "events", "[\(Self.event(1, day: 26)),\(Self.event(2, day: 28))]")
        try await rest.moveClock("2026-03-04T12:00:00Z")
        try await waitUntil("the older was dropped") {
          try await rest.count("SELECT count(*) FROM events_events") == 1
        }
        #expect(try await rest.online(["activity.events_7d"], #"{"customer_id": 1}"#) == [.int(2)])
        let found = try await rest.ok("/api/v1/features/verify", #"{"live": true}"#)
        #expect(found["passed"]?.bool == true && found["mismatches"]?.int == 0, "\(found)")
        #expect((found["past_retention"]?.int ?? 0) >= 1, "\(found)")
      }
    }

    @Test("when every event is gone, a restart keeps the online values and gives no number twice")
    func restart() async throws {
      try await Self.with { platform in
        _ = try await platform.rest.push(
          "events", "[\((0..<5).map { Self.event($0, day: 28, hour: $0) }.joined(separator: ","))]")
        try await platform.rest.moveClock("2026-03-20T00:00:00Z")
        try await waitUntil("all were dropped") {
          try await platform.rest.count("SELECT count(*) FROM events_events") == 0
        }
        #expect(try await platform.stop() == 0)
        try await platform.start(["MARTLET_CLOCK_START": "2026-03-20T00:00:00Z"])
        let rest = platform.rest
        #expect(
          try await rest.online(
            ["activity.last_kind", "activity.last_amount"], #"{"customer_id": 1}"#)
            == [.string("buy"), .double(4)])
        let new = ShopProject.event("n", customer: 2, at: "2026-03-19T12:00:00Z")
        _ = try await rest.push("events", new)
        #expect(try await rest.rows("SELECT sequence FROM events_events") == [[.int(6)]])
      }
    }

    @Test("a plan says which windows and ttls reach past the retention")
    func plan() async throws {
      try await Self.with { platform in
        let yaml = Self.definitions.replacing("retention: 10d", with: "retention: 5d")
        let plan = try await platform.rest.ok(
          "/api/v1/definitions/plan", JSON.object(["yaml": .string(yaml)]).text)
        let text = plan["text"]?.string ?? ""
        #expect(
          text.contains(
            "note: feature 'activity.last_amount' has a ttl of 30d, longer than the events of source "
              + "'events' are kept (5d)"), "\(text)")
        #expect(
          text.contains(
            "note: feature 'activity.events_7d' reaches back 7d, further than the events of source "
              + "'events' are kept (5d)"), "\(text)")
      }
    }

    @Test("the room of dropped days is given back to the file")
    func room() async throws {
      try await Self.with { platform in
        let rest = platform.rest
        let csv =
          "event_id,customer_id,kind,amount,at\n"
          + (0..<600_000).map {
            "r\($0)-\(UInt64($0) &* 0x9E37_79B9_7F4A_7C15),\($0),buy,1,2026-02-28T10:00:00Z\n"
          }.joined()
        let answer = try await rest.upload("events", "room.csv", csv)
        #expect(answer["accepted"]?.int == 600_000, "\(answer)")
        let before = try await rest.count("SELECT used_blocks FROM pragma_database_size()")
        try await rest.moveClock("2026-03-20T00:00:00Z")
        try await waitUntil("blocks were freed") {
          try await rest.count("SELECT used_blocks FROM pragma_database_size()") < before / 2
        }
      }
    }
  }
}
