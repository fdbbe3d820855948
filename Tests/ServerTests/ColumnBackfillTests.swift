import Core
import Foundation
import TestKit
import Testing
import Wire

extension WholeProgram {
  /// Transform columns of stored events computed anew, while the platform works.
  @Suite struct ColumnBackfillTests {
    private static func definitions(_ columns: String, _ features: String) -> String {
      """
      project: orders
      entities:
        customer: {key: [customer]}
      sources:
        orders:
          event_time: at
          event_id: id
          columns: {customer: int64, amount: double, city: string, \(columns)}
          transform: clean.py:enrich
      views:
        spending:
          entity: customer
          source: orders
          features:
            last_gross: {latest: gross}
            last_city:  {latest: city}
            gross_7d:   {sum: gross, window: 7d}
            orders_7d:  {count: "*", window: 7d}
      \(features)
      """
    }

    private static let first = definitions("gross: double", "")
    /// With another column, younger than the first events.
    private static let second = definitions(
      "gross: double, size: string",
      """
            last_size: {latest: size}
            big_7d:    {count: "*", where: size = 'big', window: 7d}
      """)

    private static let firstCode = """
      def enrich(columns):
          return {"gross": columns["amount"] * 2}

      """
    private static let secondCode = """
      def enrich(columns):
          sizes = [None if a != a else "big" if a > 50 else "small" for a in columns["amount"]]
          return {"gross": columns["amount"] * 3 + 1, "size": sizes}

      """

    private static func with<Result>(
      _ yaml: String, _ code: String, _ environment: [String: String] = [:],
      _ body: (PlatformProcess) async throws -> Result
    ) async throws -> Result {
      try await PlatformProcess.with(
        files: ["martlet.yaml": yaml, "clean.py": code],
        environment: ShopProject.environment.merging(environment) { $1 }
      ) { platform in
        let answer = try await platform.rest.apply(yaml)
        guard answer.status == 200 else { throw Refused(request: "apply", answer: answer) }
        return try await body(platform)
      }
    }

    /// Late, repeated, corrected and incomplete records.
    private static func orders(
      _ ids: Range<Int>, _ random: inout SeededGenerator
    ) -> [String] {
      ids.map { id in
        var members = [
          #""id": "o\#(Int.random(in: 0..<50, using: &random) == 0 ? max(0, id - 7) : id)""#,
          #""customer": \#(Int.random(in: 0..<12, using: &random))"#,
        ]
        switch Int.random(in: 0..<10, using: &random) {
        case 0: members.append(#""amount": null"#)
        case 1: break
        default: members.append(#""amount": \#(Int.random(in: 0..<100, using: &random))"#)
        }
        if Bool.random(using: &random) { members.append(#""city": "c\#(id % 5)""#) }
        let (day, hour) = (
          Int.random(in: 20...28, using: &random), Int.random(in: 0...23, using: &random)
        )
        members.append(#""at": "2026-02-\#(day)T\#(twoDigits(hour)):00:00Z""#)
        return "{\(members.joined(separator: ", "))}"
      }
    }

    private static func feed(_ rest: RESTClient, _ name: String, _ lines: [String]) async throws {
      let answer = try await rest.upload("orders", name, lines.joined(separator: "\n"))
      guard answer.status == 200, answer["quarantined"]?.int == 0 else {
        throw Refused(request: "upload", answer: answer)
      }
    }

    private static func change(_ platform: PlatformProcess) async throws {
      try platform.folder.write(secondCode, to: "project/clean.py")
      let applied = try await platform.rest.apply(second)
      #expect(applied.status == 200, "\(applied)")
    }

    private static func backfill(_ rest: RESTClient, _ body: String = "{}") async throws -> JSON {
      let job = try await rest.ok("/api/v1/sources/orders/backfill", body)
      let done = try await rest.finished(job["id"]?.string ?? "")
      #expect(done["state"]?.string == "COMPLETED", "\(done)")
      return done
    }

    private static let spine =
      ["customer,at"].joined() + "\n"
      + (20...28).flatMap { day in
        (0..<13).map { "\($0),2026-02-\(day)T12:30:00Z" }
      }.joined(separator: "\n") + "\n"

    private static let features =
      "spending.last_gross,spending.last_city,spending.gross_7d,spending.orders_7d,"
      + "spending.last_size,spending.big_7d"

    private static func history(_ rest: RESTClient, _ mode: String) async throws -> String {
      let answer = try await rest.post(
        "/api/v1/features/history?features=\(features)&time=at&mode=\(mode)", spine)
      #expect(answer.status == 200, "\(answer)")
      return answer.text
    }

    /// All that can be asked of the columns and of what is made of them.
    private static func answers(_ rest: RESTClient) async throws -> [String] {
      let names = JSON.array(features.split(separator: ",").map { .string(String($0)) }).text
      let keys = (0..<13).map { #"{"customer": \#($0)}"# }.joined(separator: ", ")
      let online = try await rest.ok(
        "/api/v1/features/online", #"{"features": \#(names), "entities": [\#(keys)]}"#)
      let rows = try await rest.rows(
        "SELECT event_id, amount, city, gross, size, rtrim(hex(absent), '0') FROM events_orders "
          + "ORDER BY event_id")
      let table = try await rest.rows(
        "SELECT entity_id, feature_name, value_text, event_timestamp FROM features_table ORDER BY ALL"
      )
      return [
        (online["rows"] ?? .null).text, "\(rows)", "\(table)",
        try await history(rest, "as_corrected"),
      ]
    }

    private static func isInParity(_ rest: RESTClient) async throws -> Bool {
      let found = try await rest.ok("/api/v1/features/verify", #"{"live": true}"#)
      return found["passed"]?.bool == true && found["in_flight"]?.int == 0
    }

    @Test(
      "killed at any instant, with events coming in, it answers in the end as if the code had been there from the start",
      arguments: [false, true])
    func oracle(onRedis: Bool) async throws {
      let seed = UInt64.random(in: .min ... .max)
      var random = SeededGenerator(seed: seed)
      let old = Self.orders(0..<6_000, &random)
      let live = Self.orders(6_000..<6_040, &random)
      let kills = [
        Int64.random(in: 0..<3_000, using: &random), .random(in: 3_000..<6_000, using: &random),
      ]
      func run(_ environment: [String: String]) async throws -> [String] {
        try await Self.with(Self.first, Self.firstCode, environment) { platform in
          try await Self.feed(platform.rest, "old.jsonl", old)
          try await Self.change(platform)
          let job = try await platform.rest.ok(
            "/api/v1/sources/orders/backfill", #"{"rows_per_second": 2000}"#)
          let id = job["id"]?.string ?? ""
          for (index, kill) in kills.enumerated() {
            for line in live[(index * 20)..<(index * 20 + 20)] {
              #expect(try await platform.rest.push("orders", line).status == 200)
            }
            try await waitUntil("event \(kill) was staged") {
              let left = try await platform.rest.count(
                "SELECT count(*) FROM recomputations WHERE in_force_since IS NULL AND staged_through < \(kill)"
              )
              return left == 0
            }
            try await platform.crash()
            try await platform.start()
          }
          let done = try await platform.rest.finished(id)
          #expect(done["state"]?.string == "COMPLETED", "seed \(seed): \(done)")
          #expect(
            try await platform.rest.count(
              "SELECT count(*) FROM duckdb_tables() WHERE table_name LIKE 'staged_cells%'") == 0)
          // What was there before is kept beside.
          #expect(
            try await platform.rest.count(
              "SELECT count(*) FROM replaced_cells_1 WHERE gross IS NOT NULL") > 3_000)
          try await platform.rest.moveClock("2026-03-01T01:00:00Z")
          #expect(try await Self.isInParity(platform.rest), "seed \(seed)")
          let answers = try await Self.answers(platform.rest)
          try await platform.crash()
          try await platform.start()
          try await platform.rest.moveClock("2026-03-01T01:00:00Z")
          #expect(try await Self.answers(platform.rest) == answers, "seed \(seed)")
          return answers
        }
      }
      let found =
        onRedis
        ? try await RedisServer.with {
          try await run([
            "MARTLET_ONLINE_BACKEND": "redis", "MARTLET_REDIS_ADDRESSES": "127.0.0.1:\($0.port)",
          ])
        } : try await run([:])
      let fresh = try await Self.with(Self.second, Self.secondCode) { platform in
        try await Self.feed(platform.rest, "old.jsonl", old)
        for line in live { _ = try await platform.rest.push("orders", line) }
        try await platform.rest.moveClock("2026-03-01T01:00:00Z")
        return try await Self.answers(platform.rest)
      }
      for (found, fresh) in zip(found, fresh) {
        #expect(found == fresh, "seed \(seed)")
      }
    }

    @Test("what was known at a time stays what it was, and a saved set is made again byte for byte")
    func past() async throws {
      try await Self.with(Self.second, Self.secondCode) { platform in
        let rest = platform.rest
        var random = SeededGenerator(seed: 3)
        try await Self.feed(rest, "old.jsonl", Self.orders(0..<500, &random))
        let keys = "customer,at\n" + (0..<12).map { "\($0),2026-03-01T00:30:00Z\n" }.joined()
        let later = "customer,at\n" + (0..<12).map { "\($0),2026-03-01T02:30:00Z\n" }.joined()
        let both = keys + later.split(separator: "\n").dropFirst().joined(separator: "\n") + "\n"
        func read(_ spine: String, _ mode: String) async throws -> [String] {
          let path = "/api/v1/features/history?features=\(Self.features)&time=at&mode=\(mode)"
          return try await rest.post(path, spine).text.split(separator: "\n").map(String.init)
        }
        try await rest.moveClock("2026-03-01T01:00:00Z")
        let before = try await read(keys, "as_known")
        _ = try await rest.ok(
          "/api/v1/datasets?name=kept&features=\(Self.features)&time=at&spine_name=rows.csv", keys)
        try platform.folder.write(
          Self.secondCode.replacing("* 3 + 1", with: "* 5"), to: "project/clean.py")
        try await rest.moveClock("2026-03-01T02:00:00Z")
        _ = try await Self.backfill(rest)
        try await rest.moveClock("2026-03-01T03:00:00Z")
        #expect(try await read(keys, "as_known") == before)
        #expect(try await read(keys, "as_corrected") != before)
        let corrected = try await read(both, "as_corrected")
        #expect(
          try await read(both, "as_known")
            == before + corrected.suffix(12))
        let verdict = try await rest.ok("/api/v1/datasets/kept/verify")
        #expect(
          verdict["reproduced"]?.bool == true && verdict["same_file"]?.bool == true, "\(verdict)")
        #expect(try await Self.isInParity(rest))
        let lineage = try await platform.martlet("lineage", "orders", "--json")
        #expect(lineage.output.contains("computed anew"), "\(lineage.output)")
      }
    }

    @Test("of a range of time only the events that happened in it are computed anew")
    func range() async throws {
      try await Self.with(Self.first, Self.firstCode) { platform in
        let rest = platform.rest
        let lines = (20...28).map {
          #"{"id": "d\#($0)", "customer": 1, "amount": \#($0), "at": "2026-02-\#($0)T00:00:00Z"}"#
        }
        try await Self.feed(rest, "days.jsonl", lines)
        try await Self.change(platform)
        let done = try await platform.martlet(
          "backfill", "source:orders", "--from", "2026-02-22T00:00:00Z", "--to",
          "2026-02-25T00:00:00Z")
        #expect(done.status == 0 && done.output.contains("3 events"), "\(done)")
        let rows = try await rest.rows(
          "SELECT gross, size, hex(absent) FROM events_orders ORDER BY event_id")
        #expect(rows.map { $0[0] } == [40, 42, 67, 70, 73, 50, 52, 54, 56].map { .double($0) })
        #expect(
          rows.map { $0[1] == .null } == [true, true, false, false, false, true, true, true, true])
        try await rest.moveClock("2026-03-01T00:00:00Z")
        #expect(try await Self.isInParity(rest))
        let values = try await rest.online(
          ["spending.gross_7d", "spending.last_size", "spending.last_gross"], #"{"customer": 1}"#)
        #expect(
          values == [.double(67 + 70 + 73 + 50 + 52 + 54 + 56), .string("small"), .double(56)])
        let wrong = try await platform.martlet(
          "backfill", "source:orders", "--from", "2026-02-25T00:00:00Z", "--to",
          "2026-02-22T00:00:00Z")
        #expect(wrong.errors.contains("must be before"), "\(wrong)")
        let named = try await platform.martlet("backfill", "orders")
        #expect(named.errors.contains("write 'source:orders'"), "\(named)")
      }
    }

    @Test("an event for which the new code raises stays as it was, and the job's log says why")
    func failures() async throws {
      try await Self.with(Self.first, Self.firstCode) { platform in
        let rest = platform.rest
        try await Self.feed(
          rest, "some.jsonl",
          (1...5).map {
            #"{"id": "f\#($0)", "customer": \#($0), "amount": \#($0), "at": "2026-02-20T00:00:00Z"}"#
          })
        try platform.folder.write(
          """
          def one(amount):
              print(f"at {amount}")
              if amount == 3:
                  raise ValueError("three is out")
              return amount * 10


          def enrich(columns):
              return {"gross": [one(a) for a in columns["amount"]]}

          """, to: "project/clean.py")
        let done = try await Self.backfill(rest)
        #expect(done["progress"]?.string?.contains("1 events stay as they were") == true, "\(done)")
        #expect(
          try await rest.rows("SELECT gross FROM events_orders ORDER BY event_id").map { $0[0] }
            == [10, 20, 6, 40, 50].map { .double($0) })
        let id = done["id"]?.string ?? ""
        let log = try await platform.martlet("jobs", "logs", id)
        #expect(log.output.contains("event 3 (f3) stays as it was"), "\(log)")
        #expect(log.output.contains("three is out") && log.output.contains("at 5.0"), "\(log)")
        let newest = try await rest.okGet("/api/v1/jobs/\(id)/logs?limit=1")["lines"]?.array ?? []
        let overGRPC = try await platform.withGRPC { client in
          var request = Martlet_V1_GetJobLogsRequest()
          request.id = id
          request.limit = 1
          return try await client.orchestrator.getJobLogs(request).lines
        }
        #expect(
          newest.count == 1 && overGRPC.map(\.number) == newest.compactMap { $0["number"]?.int })
        #expect(overGRPC.map(\.message) == newest.compactMap { $0["message"]?.string })
        #expect(try await rest.get("/api/v1/jobs/nothing/logs").status == 404)
      }
    }

    @Test("a transform cannot take the place of what the record says")
    func overwriting() async throws {
      try await Self.with(
        Self.first,
        "def enrich(columns):\n    return {'gross': columns['amount'], 'city': ['x'] * len(columns['amount'])}\n"
      ) { platform in
        let rest = platform.rest
        let pushed = try await rest.push(
          "orders",
          """
          {"id": "a", "customer": 1, "amount": 1, "at": "2026-02-20T00:00:00Z"}
          {"id": "b", "customer": 1, "amount": 1, "city": "Rome", "at": "2026-02-20T00:00:00Z"}
          """)
        #expect(pushed["accepted"]?.int == 1 && pushed["quarantined"]?.int == 1, "\(pushed)")
        let kept = try await rest.rows("SELECT kind, reason, record FROM quarantine")
        #expect(kept.first?[0] == .string("transform"))
        #expect(
          kept.first?[1].string?.contains("returned column 'city', which the record has itself")
            == true)
        #expect(kept.first?[2].string?.contains("Rome") == true)
        try platform.folder.write(
          #"{"id": "c", "customer": 1, "amount": 1, "city": "Rome", "at": "2026-02-20T00:00:00Z"}"#
            + "\n", to: "one.jsonl")
        let trial = try await platform.martlet(
          "test-transform", "orders", "\(platform.folder.path)/one.jsonl")
        #expect(trial.status == 1 && trial.output.contains("a name of its own"), "\(trial)")
        // Nor does computing anew take the place of raw values that former code left alone.
        try platform.folder.write(Self.firstCode, to: "project/clean.py")
        _ = try await rest.push(
          "orders",
          #"{"id": "d", "customer": 1, "amount": 1, "city": "Oslo", "at": "2026-02-20T00:00:00Z"}"#)
        try platform.folder.write(
          "def enrich(columns):\n    return {'gross': columns['amount'] * 7, 'city': ['y'] * len(columns['amount'])}\n",
          to: "project/clean.py")
        let done = try await Self.backfill(rest)
        #expect(done["progress"]?.string?.contains("1 events stay") == true, "\(done)")
        #expect(
          try await rest.rows("SELECT event_id, gross, city FROM events_orders ORDER BY event_id")
            == [
              [.string("a"), .double(7), .string("y")],
              [.string("d"), .double(2), .string("Oslo")],
            ])
      }
    }

    @Test("a cancelled one leaves nothing, and an erasure takes what was kept beside")
    func leavings() async throws {
      try await Self.with(Self.first, Self.firstCode, ["MARTLET_JOBS_LEASE": "2s"]) { platform in
        let rest = platform.rest
        var random = SeededGenerator(seed: 5)
        try await Self.feed(rest, "old.jsonl", Self.orders(0..<3_000, &random))
        let before = try await rest.rows("SELECT event_id, gross FROM events_orders ORDER BY ALL")
        try platform.folder.write(
          Self.firstCode.replacing("* 2", with: "* 4"), to: "project/clean.py")
        let job = try await rest.ok(
          "/api/v1/sources/orders/backfill", #"{"rows_per_second": 200}"#)
        let id = job["id"]?.string ?? ""
        try await waitUntil("it went on") {
          try await rest.count("SELECT count(*) FROM recomputations WHERE staged_through > 0") == 1
        }
        #expect(try await platform.martlet("jobs", "cancel", id).status == 0)
        try await waitUntil("what it left was gone") {
          try await rest.count("SELECT count(*) FROM recomputations") == 0
        }
        #expect(
          try await rest.rows("SELECT event_id, gross FROM events_orders ORDER BY ALL") == before)
        _ = try await Self.backfill(rest)
        let receipt = try await rest.send(
          .DELETE, "/api/v1/entities/customer/keys", .bytes(.init(string: #"{"key": [7]}"#)))
        #expect(receipt.status == 200, "\(receipt)")
        #expect(
          try await rest.count(
            "SELECT count(*) FROM replaced_cells_1 WHERE sequence NOT IN (SELECT sequence FROM events_orders)"
          ) == 0)
        #expect(try await rest.count("SELECT count(*) FROM replaced_cells_1") > 1_000)
      }
    }
  }
}
