import Core
import Foundation
import TestKit
import Testing
import Wire

extension WholeProgram {
  /// From a bad record to its event: kept whole, corrected, replayed once.
  @Suite struct QuarantineTests {
    private static let features = ["activity.events_7d", "activity.spend_7d"]

    private static func bad(_ id: String, customer: Int = 1, amount: String = "-5") -> String {
      #"{"event_id": "\#(id)", "customer_id": \#(customer), "kind": "buy", "amount": \#(amount), "at": "2026-02-28T10:00:00Z"}"#
    }

    private static func waiting(_ rest: RESTClient) async throws -> [JSON] {
      try await rest.okGet("/api/v1/quarantine")["records"]?.array ?? []
    }

    @Test("a corrected record counts once, however often it is replayed or sent again")
    func replayed() async throws {
      try await ShopProject.with { platform in
        let rest = platform.rest
        _ = try await rest.push("events", Self.bad("a"))
        let record = try #require(try await Self.waiting(rest).first)
        #expect(record["kind"]?.string == "range")
        #expect(record["event_id"]?.string == "a")
        let id = record["id"]?.int ?? 0
        let still = try await rest.ok("/api/v1/quarantine/replay", #"{"ids": [\#(id)]}"#)
        #expect(still["failed"]?.int == 1, "\(still)")
        let body = #"{"ids": [\#(id)], "set": {"amount": "12.5"}}"#
        async let one = rest.ok("/api/v1/quarantine/replay", body)
        async let other = rest.ok("/api/v1/quarantine/replay", body)
        _ = try await (one, other)
        _ = try await rest.push("events", Self.bad("a", amount: "12.5"))
        #expect(
          try await rest.online(Self.features, #"{"customer_id": 1}"#) == [.int(1), .double(12.5)])
        let shown = try await rest.okGet("/api/v1/quarantine/\(id)")
        #expect(shown["status"]?.string == "replayed")
        #expect(try await Self.waiting(rest) == [])
        let late = try await rest.ok("/api/v1/quarantine/replay", body)
        #expect(
          late["failures"]?.array?.first?["reason"]?.string?.contains("is replayed, not waiting")
            == true)
      }
    }

    @Test("bytes that are not UTF-8 are kept as they came")
    func notUTF8() async throws {
      try await ShopProject.with { platform in
        let line = Array(#"{"event_id": "u", "kind": "caf"#.utf8) + [0xE9] + Array(#""}"#.utf8)
        let answer = try await platform.rest.post(
          "/api/v1/sources/events/files?name=latin.jsonl", bytes: line + [10])
        #expect(answer["quarantined"]?.int == 1, "\(answer)")
        let id = try #require(try await Self.waiting(platform.rest).first?["id"]?.int)
        let shown = try await platform.rest.okGet("/api/v1/quarantine/\(id)")
        #expect(Data(base64Encoded: shown["raw_base64"]?.string ?? "") == Data(line))
      }
    }

    @Test(
      "a row of a CSV file is replayed under the id of its row, and the file is not taken again")
    func file() async throws {
      try await ShopProject.with { platform in
        let csv =
          "customer_id,kind,amount,at\n1,buy,5,2026-02-28T10:00:00Z\n1,buy,-7,2026-02-28T11:00:00Z\n"
        let rest = platform.rest
        _ = try await rest.upload("events", "f.csv", csv)
        let done = try await platform.martlet(
          "quarantine", "replay", "--source", "events", "--reason", "range", "--set", "amount=7")
        #expect(done.status == 0, "\(done)")
        #expect(done.output.contains("1 replayed (0 known already), 0 failed again"), "\(done)")
        #expect(try await rest.upload("events", "f.csv", csv)["already_ingested"]?.bool == true)
        #expect(
          try await rest.online(Self.features, #"{"customer_id": 1}"#) == [.int(2), .double(12)])
        let ids = try await rest.rows("SELECT event_id FROM events_events ORDER BY event_timestamp")
        #expect(ids.map { $0[0].string?.suffix(2) } == [":1", ":2"])
      }
    }

    @Test(
      "an export, corrected and given back, is replayed; what is still wrong keeps its new reason")
    func exported() async throws {
      try await ShopProject.with { platform in
        let records = (0..<3).map { Self.bad("x\($0)", customer: $0, amount: "\(-1 - $0)") }
        _ = try await platform.rest.push("events", "[\(records.joined(separator: ","))]")
        let export = try await platform.martlet("quarantine", "export", "--source", "events")
        #expect(export.status == 0, "\(export)")
        let lines = export.output.split(separator: "\n").map(String.init)
        #expect(lines.count == 3)
        let corrected = lines.map {
          $0.replacing("\"amount\":-1", with: "\"amount\":1")
            .replacing("\"amount\":-2", with: "\"amount\":\"two\"")
            .replacing("\"amount\":-3", with: "\"amount\":3")
        }
        try platform.folder.write(corrected.joined(separator: "\n"), to: "fixed.jsonl")
        let done = try await platform.martlet("quarantine", "replay", "--file", "fixed.jsonl")
        #expect(done.status == 1, "\(done)")
        #expect(done.output.contains("2 replayed (0 known already), 1 failed again"), "\(done)")
        let left = try await Self.waiting(platform.rest)
        #expect(left.count == 1)
        #expect(
          left.first?["reason"]?.string == "column 'amount': \"two\" is not a double (a number)")
        #expect(left.first?["record"]?.string == records[1])
        #expect(left.first?["attempts"]?.int == 1)
        let discarded = try await platform.martlet("quarantine", "discard", "--source", "events")
        #expect(discarded.output.contains("1 discarded"), "\(discarded)")
        #expect(try await Self.waiting(platform.rest) == [])
      }
    }

    @Test("metrics count by source and kind of reason, and by check")
    func metrics() async throws {
      try await ShopProject.with { platform in
        let rest = platform.rest
        _ = try await rest.push("events", "[\(Self.bad("a")), \(Self.bad("b", amount: "\"x\""))]")
        let metrics = try await rest.get("/metrics").text
        #expect(metrics.contains(#"martlet_quarantined_total{source="events",kind="range"} 1"#))
        #expect(metrics.contains(#"martlet_quarantined_total{source="events",kind="type"} 1"#))
        #expect(
          metrics.contains(#"martlet_check_failures_total{source="events",check="amount.min"} 1"#))
      }
    }

    @Test("the oldest records go when there are more than quarantine keeps, and are counted")
    func bounded() async throws {
      let environment = [
        "MARTLET_QUARANTINE_MAX_RECORDS": "10", "MARTLET_RETENTION_INTERVAL": "50ms",
      ]
      try await ShopProject.with(environment: environment) { platform in
        let rest = platform.rest
        let records = (0..<30).map { Self.bad("x\($0)") }
        _ = try await rest.push("events", "[\(records.joined(separator: ","))]")
        try await waitUntil("the oldest were dropped") {
          try await rest.count("SELECT count(*) FROM quarantine") == 10
        }
        #expect(
          try await rest.count("SELECT min(CAST(event_id[2:] AS BIGINT)) FROM quarantine") == 20)
        try await waitUntil("they were counted") {
          try await rest.get("/metrics").text.contains(
            #"martlet_quarantine_dropped_total{why="number"} 20"#)
        }
        try await rest.moveClock("2026-08-01T00:00:00Z")
        try await waitUntil("the rest was too old") {
          try await rest.count("SELECT count(*) FROM quarantine") == 0
        }
      }
    }

    static let refused: [(body: String, says: String)] = [
      ("{}", "say which records"), (#"{"ids": ["x"]}"#, "list of whole numbers"),
      (#"{"source": "events", "set": {"amont": 1}}"#, "did you mean 'amount'"),
      (#"{"source": "events", "since": "soon"}"#, "'since' is 'soon'"),
      (#"{"records": [{"id": 1}]}"#, "needs the record's 'id'"),
    ]

    @Test("a replay that is not understood is refused", arguments: refused)
    func refuses(body: String, says: String) async throws {
      try await ShopProject.with { platform in
        _ = try await platform.rest.push("events", Self.bad("a"))
        let answer = try await platform.rest.post("/api/v1/quarantine/replay", body)
        #expect(answer.status == 400, "\(answer)")
        #expect(answer.error.contains(says), "\(answer)")
      }
    }

    @Test(
      "after a kill during a replay every record is an event or waits, none both and none twice")
    func killed() async throws {
      let seed = UInt64.random(in: .min ... .max)
      var random = SeededGenerator(seed: seed)
      try await ShopProject.with { platform in
        let records = (0..<5_000).map { Self.bad("k\($0)", customer: $0 % 10) }
        _ = try await platform.rest.push("events", "[\(records.joined(separator: ","))]")
        for round in 0..<6 {
          let rest = platform.rest
          async let replay = try? rest.ok(
            "/api/v1/quarantine/replay", #"{"source": "events", "set": {"amount": 1}}"#)
          for _ in 0..<Int.random(in: 0...12, using: &random) {
            _ = try? await rest.get("/health/live")
          }
          try await platform.crash()
          _ = await replay
          try await platform.start()
          let events = try await platform.rest.count("SELECT count(*) FROM events_events")
          let once = try await platform.rest.count(
            "SELECT count(DISTINCT event_id) FROM events_events")
          let waiting = try await platform.rest.count(
            "SELECT count(*) FROM quarantine WHERE status = 'waiting'")
          #expect(events == once && events + waiting == 5_000, "seed \(seed), round \(round)")
        }
        _ = try await platform.rest.ok(
          "/api/v1/quarantine/replay", #"{"source": "events", "set": {"amount": 1}}"#)
        for customer in 0..<10 {
          let online = try await platform.rest.online(
            Self.features, #"{"customer_id": \#(customer)}"#)
          #expect(online == [.int(500), .double(500)], "seed \(seed)")
        }
      }
    }

    @Test("gRPC lists, replays and discards alike")
    func grpc() async throws {
      try await ShopProject.with { platform in
        _ = try await platform.rest.push("events", "[\(Self.bad("a")), \(Self.bad("b"))]")
        try await platform.withGRPC { connection in
          var filter = Martlet_V1_QuarantineFilter()
          filter.source = "events"
          let listed = try await connection.features.listQuarantine(filter)
          #expect(listed.records.map(\.eventID) == ["b", "a"])
          #expect(String(decoding: listed.records[1].record, as: UTF8.self) == Self.bad("a"))
          var replay = Martlet_V1_ReplayQuarantineRequest()
          replay.filter.ids = [listed.records[1].id]
          replay.set["amount"] = wireValue(4)
          #expect(try await connection.features.replayQuarantine(replay).replayed == 1)
          #expect(try await connection.features.discardQuarantine(filter).discarded == 1)
        }
        #expect(
          try await platform.rest.online(Self.features, #"{"customer_id": 1}"#)
            == [.int(1), .double(4)])
      }
    }
  }
}
