import Core
import Foundation
import TestKit
import Testing
import Wire

extension WholeProgram {
  /// Saved training sets stay what they are, and can be made again.
  @Suite struct DatasetTests {
    private static let spine = """
      customer_id,at,note
      7,2026-02-25T00:00:00Z,first
      7,2026-02-28T23:00:00Z,second
      8,2026-02-28T23:00:00Z,"a, b"
      9,2026-02-28T23:00:00Z,
      ,2026-02-28T23:00:00Z,nobody

      """
    private static let features = "activity.last_amount,activity.events_7d,activity.last_kind"

    private static func feed(_ rest: RESTClient) async throws {
      for (id, customer, amount, at) in [
        ("a", 7, 10.0, "2026-02-20T10:00:00Z"), ("b", 7, 20, "2026-02-27T10:00:00Z"),
        ("c", 8, 30, "2026-02-28T10:00:00Z"), ("d", 9, 40, "2026-02-26T10:00:00Z"),
      ] {
        _ = try await rest.push(
          "events", ShopProject.event(id, customer: customer, amount: amount, at: at))
      }
    }

    private static func save(
      _ rest: RESTClient, _ name: String, _ more: String = "", _ spine: String = spine
    ) async throws -> JSON {
      try await rest.ok(
        "/api/v1/datasets?name=\(name)&features=\(features)&time=at&spine_name=rows.csv\(more)",
        spine)
    }

    private static func verify(_ rest: RESTClient, _ name: String) async throws -> JSON {
      try await rest.ok("/api/v1/datasets/\(name)/verify")
    }

    private static func file(_ rest: RESTClient, _ name: String) async throws -> Answer {
      try await rest.get("/api/v1/datasets/\(name)/file?format=csv")
    }

    private static func isTheSame(_ verdict: JSON) -> Bool {
      verdict["reproduced"]?.bool == true && verdict["same_file"]?.bool == true
    }

    @Test(
      "later events, corrections and definitions do not change a saved set, and it is made again byte for byte"
    )
    func lasting() async throws {
      try await ShopProject.with { platform in
        let rest = platform.rest
        try await Self.feed(rest)
        let saved = try await Self.save(rest, "march")
        #expect(saved["rows"]?.int == 5 && saved["incomplete_rows"]?.int == 1, "\(saved)")
        #expect(saved["definitions_version"]?.int == 1)
        #expect(saved["spine"]?.string == "rows.csv")
        let before = try await Self.file(rest, "march").text
        #expect(before.contains("second") && before.contains("20"), "\(before)")
        // An event in the middle, a correction of another, and other windows.
        for event in [
          ShopProject.event("late", customer: 7, amount: 500, at: "2026-02-24T10:00:00Z"),
          ShopProject.event("correction", customer: 8, amount: 31, at: "2026-02-28T10:00:00Z"),
        ] { _ = try await rest.push("events", event) }
        _ = try await rest.apply(
          ShopProject.definitions.replacing("window: 7d}", with: "window: 1d}"))
        try await platform.crash()
        try await platform.start()
        let again = platform.rest
        #expect(Self.isTheSame(try await Self.verify(again, "march")))
        #expect(try await Self.file(again, "march").text == before)
        // The same spine today is another set; by the definitions of then, it differs by the events alone.
        let today = try await Self.save(again, "march")
        #expect(today["id"] != saved["id"] && today["row_hash"] != saved["row_hash"])
        let then = try await Self.save(again, "pinned", "&definitions=1")
        #expect(then["definitions_version"]?.int == 1, "\(then)")
        #expect(then["row_hash"] != today["row_hash"])
        #expect(Self.isTheSame(try await Self.verify(again, saved["id"]?.string ?? "")))
        #expect(Self.isTheSame(try await Self.verify(again, "pinned")))
        let listed = try await platform.martlet("datasets", "list")
        #expect(listed.status == 0 && listed.output.contains("pinned"), "\(listed)")
        let id = then["id"]?.string ?? ""
        for name in ["pinned", id, "dataset:\(id)", then["row_hash"]?.string ?? ""] {
          let lineage = try await platform.martlet("lineage", name, "--upstream")
          #expect(
            lineage.status == 0 && lineage.output.contains(id)
              && lineage.output.contains("activity.events_7d")
              && lineage.output.contains("events.amount"), "\(name): \(lineage)")
        }
      }
    }

    @Test("with an as-of time nothing counts that was stored later")
    func asOf() async throws {
      try await ShopProject.with { platform in
        let rest = platform.rest
        try await Self.feed(rest)
        try await rest.moveClock("2026-03-05T00:00:00Z")
        _ = try await rest.push(
          "events", ShopProject.event("late", customer: 7, amount: 500, at: "2026-02-27T11:00:00Z"))
        let old = try await Self.save(rest, "old", "&as_of=2026-03-02T00:00:00Z")
        let new = try await Self.save(rest, "new")
        #expect(old["row_hash"] != new["row_hash"])
        let csv = try await Self.file(rest, "old").text
        #expect(csv.contains("20.0") && !csv.contains("500"), "\(csv)")
        #expect(try await Self.file(rest, "new").text.contains("500"))
        #expect(Self.isTheSame(try await Self.verify(rest, "old")))
      }
    }

    @Test("a query over the warehouse is a spine, of a history read and of a saved set")
    func querySpine() async throws {
      try await ShopProject.with { platform in
        let rest = platform.rest
        try await Self.feed(rest)
        let sql =
          "SELECT customer_id, event_timestamp AS at FROM events_events WHERE amount > 10 ORDER BY event_id -- all"
        let read = try await platform.martlet(
          "features", "history", "--spine-sql", sql, "--time", "at", "--features", Self.features,
          "--output", "out.csv")
        #expect(read.status == 0 && read.output.contains("3 rows"), "\(read)")
        let made = try await platform.martlet(
          "datasets", "create", "asked", "--spine-sql", sql, "--time", "at", "--features",
          Self.features, "--json")
        #expect(made.status == 0, "\(made)")
        #expect(made.output.contains("query: SELECT customer_id"), "\(made)")
        #expect(try await Self.file(rest, "asked").text == platform.folder.text("out.csv"))
        let verified = try await platform.martlet("datasets", "verify", "asked")
        #expect(verified.status == 0 && verified.output.contains("byte for byte"), "\(verified)")
        for (bad, says) in [
          ("DELETE FROM events_events", "Only queries"),
          ("SELECT 1; DROP TABLE events_events", "multiple statements"),
          ("SELECT customer_id FROM events_events", "no time column 'at'"),
          ("SELECT amount, event_timestamp AS at FROM events_events", "customer_id"),
        ] {
          let refused = try await rest.post(
            "/api/v1/features/history?features=\(Self.features)&time=at&spine_format=sql", bad)
          #expect(refused.status >= 400 && refused.error.contains(says), "\(bad): \(refused)")
        }
        #expect(try await rest.count("SELECT count(*) FROM events_events") == 4)
      }
    }

    @Test(
      "a training saves its set, the version names it, and it is made again from the events of then"
    )
    func training() async throws {
      try await ShopProject.with(models: [ShopProject.model("churn", "constant")]) { platform in
        let rest = platform.rest
        try await ShopProject.feed(rest)
        let job = try await rest.train("churn")
        #expect(job["state"]?.string == "COMPLETED", "\(job)")
        let version = try await rest.okGet("/api/v1/models/churn/versions/1")
        let saved = try await rest.okGet("/api/v1/datasets/churn")
        let id = try #require(saved["id"]?.string)
        #expect(version.text.contains(id), "\(version)")
        let lineage = try await rest.okGet("/api/v1/lineage/churn@1?direction=upstream")
        #expect(lineage.text.contains(id), "\(lineage)")
        let hash = try #require(saved["row_hash"]?.string)
        #expect(lineage.text.contains(hash), "\(lineage)")
        #expect(try await rest.get("/api/v1/lineage/\(hash)").text.contains("dataset:churn@1"))
        #expect((saved["rows"]?.int ?? 0) > 500 && saved["model"]?.string == "churn", "\(saved)")
        let header = try await Self.file(rest, id).text.prefix { $0 != "\n" }
        #expect(
          header == "customer_id,event_timestamp,activity.last_amount,activity.events_7d,"
            + "activity.spend_7d,activity.mean_7d,label")
        // An outcome and an event that would both be in it.
        _ = try await rest.push(
          "events", ShopProject.event("late", customer: 1, amount: 900, at: "2026-02-09T10:00:00Z"))
        _ = try await rest.push(
          "outcomes",
          #"{"outcome_id": "late", "customer_id": 1, "churned": true, "checked_at": "2026-02-12T12:00:00Z", "known_at": "2026-02-13T12:00:00Z"}"#
        )
        #expect(Self.isTheSame(try await Self.verify(rest, id)))
        let asked = try await platform.martlet(
          "datasets", "create", "by hand", "--model", "churn", "--as-of", "2026-03-01T00:00:00Z",
          "--json")
        #expect(asked.status == 0, "\(asked)")
        let other = try JSON(parsing: Array(asked.output.utf8))
        #expect(other["rows"]?.int == (saved["rows"]?.int ?? 0) + 1, "\(other)")
        let wire = try await platform.withGRPC { client in
          var request = Martlet_V1_DatasetName()
          request.name = "by hand"
          return try await client.features.verifyDataset(request)
        }
        #expect(wire.reproduced && wire.sameFile && wire.note.isEmpty, "\(wire)")
      }
    }

    @Test("an erased key goes from saved sets, files and queries included, and the others stay")
    func erased() async throws {
      try await ShopProject.with { platform in
        let rest = platform.rest
        try await Self.feed(rest)
        let saved = try await Self.save(rest, "march")
        _ = try await Self.save(
          rest, "asked", "&spine_format=sql",
          "SELECT customer_id, event_timestamp AS at FROM events_events WHERE customer_id = 7")
        _ = try await Self.save(rest, "strangers", "", "customer_id,at\n8,2026-02-28T23:00:00Z\n")
        let receipt = try await rest.send(
          .DELETE, "/api/v1/entities/customer/keys", .bytes(.init(string: #"{"key": [7]}"#)))
        #expect(receipt["removed"]?["datasets"]?.int == 4, "\(receipt)")
        let left = try await rest.okGet("/api/v1/datasets/march")
        #expect(left["rows"]?.int == 3 && left["erased_rows"]?.int == 2, "\(left)")
        let csv = try await Self.file(rest, "march").text
        #expect(!csv.contains("first") && csv.contains("a, b"), "\(csv)")
        #expect(
          try await rest.okGet("/api/v1/datasets/asked")["spine"]?.string?.hasSuffix("(erased)")
            == true)
        // The old file is gone, bytes and all.
        let digest = saved["file_digest"]?.string ?? ""
        let path = "\(platform.data)/blobs/\(digest.prefix(2))/\(digest.dropFirst(2))"
        #expect(!digest.isEmpty && !FileManager.default.fileExists(atPath: path))
        #expect(Self.isTheSame(try await Self.verify(rest, "march")))
        #expect(Self.isTheSame(try await Self.verify(rest, "strangers")))
      }
    }

    @Test("a damaged file is told, and a set that cannot be made is refused with the reason")
    func refused() async throws {
      try await ShopProject.with { platform in
        let rest = platform.rest
        try await Self.feed(rest)
        let digest = try await Self.save(rest, "march")["file_digest"]?.string ?? ""
        let path = "\(platform.data)/blobs/\(digest.prefix(2))/\(digest.dropFirst(2))"
        try Data("nonsense".utf8).write(to: URL(fileURLWithPath: path))
        let verified = try await platform.martlet("datasets", "verify", "march")
        #expect(verified.status == 1 && verified.output.contains("is damaged"), "\(verified)")
        for (query, status, says) in [
          ("name=x&features=activity.last_amuont&time=at", 404, "did you mean"),
          ("name=x&model=nobody", 404, "there is no model"),
          ("name=&features=activity.last_amount&time=at", 400, "'name' is missing"),
          ("name=x&features=activity.last_amount&time=at&definitions=9", 404, "version 9"),
          ("name=x&features=activity.last_amount&time=at&as_of=soon", 400, "'as_of' is 'soon'"),
        ] {
          let answer = try await rest.post("/api/v1/datasets?\(query)", Self.spine)
          #expect(answer.status == status && answer.error.contains(says), "\(query): \(answer)")
        }
        let unknown = try await rest.get("/api/v1/datasets/marc")
        #expect(unknown.status == 404 && unknown.error.contains("did you mean 'march'"))
      }
    }
  }
}
