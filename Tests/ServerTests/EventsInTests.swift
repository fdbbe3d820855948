import Core
import TestKit
import Testing
import Wire

extension WholeProgram {
  /// Events in, feature values out.
  @Suite struct EventsInTests {
    private static let features = ["activity.last_kind", "activity.events_7d", "activity.mean_7d"]

    @Test("an event pushed over REST is read at once, over REST and over gRPC")
    func pushOverREST() async throws {
      try await ShopProject.with { platform in
        let pushed = try await platform.rest.push(
          "events", ShopProject.event("a", customer: 7, amount: 12.5, at: "2026-02-28T10:00:00Z"))
        #expect(pushed.status == 200, "\(pushed)")
        #expect(pushed["accepted"]?.int == 1)
        let values = try await platform.rest.online(Self.features, #"{"customer_id": 7}"#)
        #expect(values == [.string("buy"), .int(1), .double(12.5)])
        let wire = try await platform.withGRPC {
          try await $0.online(Self.features, "customer_id", 7)
        }
        #expect(wire.map(\.status) == [.present, .present, .present])
        #expect(wire.first?.value.stringValue == "buy")
        #expect(wire.last?.value.doubleValue == 12.5)
        #expect(wire.first?.eventTimestamp.seconds == 1_772_272_800)
      }
    }

    @Test("events pushed over gRPC are read at once, over REST and over gRPC")
    func pushOverGRPC() async throws {
      try await ShopProject.with { platform in
        let lines = [
          ShopProject.event("a", customer: 7, amount: 10, at: "2026-02-27T10:00:00Z"),
          ShopProject.event("b", customer: 7, kind: "view", amount: 20, at: "2026-02-28T10:00:00Z"),
        ].joined(separator: "\n")
        let wire = try await platform.withGRPC { client in
          let receipt = try await client.push("events", lines)
          #expect(receipt.accepted == 2, "\(receipt)")
          return try await client.online(Self.features, "customer_id", 7)
        }
        #expect(wire.count == 3)
        #expect(wire.first?.value.stringValue == "view")
        #expect(wire.last?.value.doubleValue == 15)
        let values = try await platform.rest.online(Self.features, #"{"customer_id": 7}"#)
        #expect(values == [.string("view"), .int(2), .double(15)])
      }
    }

    @Test("a customer that nobody has seen is not_found, with counts of zero")
    func unknownKey() async throws {
      try await ShopProject.with { platform in
        let answer = try await platform.rest.ok(
          "/api/v1/features/online",
          #"{"features": ["activity.last_kind", "activity.events_7d"], "entities": {"customer_id": 1}}"#
        )
        let row = answer["rows"]?.array?.first
        #expect(row?["values"] == .array([.null, .int(0)]), "\(answer.text)")
        #expect(row?["statuses"]?.array?.first == .string("not_found"), "\(answer.text)")
        #expect(row?["event_timestamps"]?.array?.first == .null)
      }
    }

    @Test("a latest value older than its ttl is expired, and an observed null is null")
    func expiredAndNull() async throws {
      try await ShopProject.with { platform in
        let old = ShopProject.event("a", customer: 1, at: "2026-01-01T00:00:00Z")
        let null =
          #"{"event_id": "b", "customer_id": 2, "kind": "view", "amount": null, "at": "2026-02-28T00:00:00Z"}"#
        _ = try await platform.rest.push("events", "[\(old), \(null)]")
        let answer = try await platform.rest.ok(
          "/api/v1/features/online",
          #"{"features": ["activity.last_amount"], "entities": [{"customer_id": 1}, {"customer_id": 2}]}"#
        )
        let statuses = (answer["rows"]?.array ?? []).map { $0["statuses"]?.array?.first }
        #expect(statuses == [.string("expired"), .string("null")], "\(answer.text)")
      }
    }

    @Test("the same event id again is a duplicate and counts once")
    func duplicates() async throws {
      try await ShopProject.with { platform in
        let event = ShopProject.event("a", customer: 7, at: "2026-02-28T10:00:00Z")
        _ = try await platform.rest.push("events", event)
        let again = try await platform.rest.push("events", event)
        #expect(again["accepted"]?.int == 0, "\(again)")
        #expect(again["duplicates"]?.int == 1)
        #expect(try await platform.rest.count("SELECT count(*) FROM events_events") == 1)
        let values = try await platform.rest.online(["activity.events_7d"], #"{"customer_id": 7}"#)
        #expect(values == [.int(1)])
      }
    }

    @Test("a client's sequence makes a repeated push harmless")
    func sequences() async throws {
      try await ShopProject.with { platform in
        let event =
          #"{"customer_id": 7, "kind": "buy", "amount": 1, "at": "2026-02-28T10:00:00Z"}"#
        let path = "/api/v1/sources/events/events?client=till-3&sequence=41"
        let first = try await platform.rest.post(path, "[\(event), \(event)]")
        #expect(first["accepted"]?.int == 2, "\(first)")
        let again = try await platform.rest.post(path, "[\(event), \(event)]")
        #expect(again["duplicates"]?.int == 2, "\(again)")
      }
    }

    @Test("a file is taken once by its content, over REST and over gRPC")
    func filesOnce() async throws {
      try await ShopProject.with { platform in
        let csv = """
          event_id,customer_id,kind,amount,at
          a,1,buy,10,2026-02-28T10:00:00Z
          b,2,view,,2026-02-28T11:00:00Z

          """
        let first = try await platform.rest.upload("events", "day.csv", csv)
        #expect(first.status == 200, "\(first)")
        #expect(first["accepted"]?.int == 2)
        let again = try await platform.rest.upload("events", "again.csv", csv)
        #expect(again["already_ingested"]?.bool == true, "\(again)")
        let wire = try await platform.withGRPC { client in
          try await client.upload("events", "third.csv", [Array(csv.utf8)])
        }
        #expect(wire.alreadyIngested)
        #expect(try await platform.rest.count("SELECT count(*) FROM events_events") == 2)
      }
    }

    @Test("an upload over gRPC in many pieces is one file")
    func uploadInPieces() async throws {
      try await ShopProject.with { platform in
        let csv =
          "event_id,customer_id,kind,amount,at\n"
          + (0..<1_000).map { "e\($0),\($0 % 50),buy,1,2026-02-28T10:00:00Z\n" }.joined()
        let bytes = Array(csv.utf8)
        let pieces = stride(from: 0, to: bytes.count, by: 997).map {
          Array(bytes[$0..<min($0 + 997, bytes.count)])
        }
        let report = try await platform.withGRPC { client in
          try await client.upload("events", "pieces.csv", pieces)
        }
        #expect(report.accepted == 1_000)
        let values = try await platform.rest.online(["activity.events_7d"], #"{"customer_id": 3}"#)
        #expect(values == [.int(20)])
      }
    }

    @Test("events of a project survive a stop and a start, online and in history")
    func restart() async throws {
      try await ShopProject.with { platform in
        _ = try await platform.rest.push(
          "events", ShopProject.event("a", customer: 7, amount: 12.5, at: "2026-02-28T10:00:00Z"))
        #expect(try await platform.stop() == 0)
        try await platform.start()
        let values = try await platform.rest.online(Self.features, #"{"customer_id": 7}"#)
        #expect(values == [.string("buy"), .int(1), .double(12.5)])
        #expect(try await platform.rest.count("SELECT count(*) FROM events_events") == 1)
      }
    }
  }
}
