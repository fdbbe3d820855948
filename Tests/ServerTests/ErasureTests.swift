import Core
import Foundation
import TestKit
import Testing
import Wire

extension WholeProgram {
  /// After an erase a key was never there, and old input does not bring it back.
  @Suite struct ErasureTests {
    private static let definitions = """
      project: shop
      entities:
        customer: {key: [customer_id]}
        product: {key: [product]}
        pair: {key: [customer_id, product]}
      sources:
        events:
          event_time: at
          event_id: event_id
          columns: {customer_id: int64, product: string, amount: double}
          checks: {amount: {min: 0}}
        visits:
          event_time: at
          columns: {customer_id: int64, page: string}
      views:
        buyers:
          entity: customer
          source: events
          features: {last: {latest: amount}, count_7d: {count: "*", window: 7d}}
        demand:
          entity: product
          source: events
          features: {last: {latest: amount}, sold_7d: {count: "*", window: 7d}}
        pairs:
          entity: pair
          source: events
          features: {bought_7d: {count: "*", window: 7d}}
        browsing:
          entity: customer
          source: visits
          features: {page: {latest: page}}

      """

    private static func with(
      _ more: [String: String] = [:], _ body: (PlatformProcess) async throws -> Void
    ) async throws {
      try await PlatformProcess.with(
        files: ["martlet.yaml": definitions],
        environment: ShopProject.environment.merging(more) { $1 }
      ) { platform in
        let answer = try await platform.rest.apply(definitions)
        #expect(answer.status == 200, "\(answer)")
        try await body(platform)
      }
    }

    private static func event(
      _ id: String, customer: Int, product: String = "tea", amount: Double = 1,
      at time: String = "2026-02-28T10:00:00Z"
    ) -> String {
      #"{"event_id": "\#(id)", "customer_id": \#(customer), "product": "\#(product)", "amount": \#(amount), "at": "\#(time)"}"#
    }

    private static let old = [
      event("a", customer: 7), event("b", customer: 7, product: "milk", amount: 2),
      event("c", customer: 8, amount: 3, at: "2026-02-28T09:00:00Z"),
    ]

    private static func fill(_ rest: RESTClient) async throws {
      _ = try await rest.upload("events", "old.jsonl", old.joined(separator: "\n"))
      _ = try await rest.push(
        "visits", #"{"customer_id": 7, "page": "home", "at": "2026-02-28T10:00:00Z"}"#)
      _ = try await rest.push("events", event("bad", customer: 7, amount: -1))
      _ = try await rest.push("events", event("other", customer: 9, amount: -1))
    }

    private static func erase(
      _ rest: RESTClient, _ entity: String, _ key: String
    ) async throws -> JSON {
      let answer = try await rest.send(
        .DELETE, "/api/v1/entities/\(entity)/keys", .bytes(.init(string: #"{"key": \#(key)}"#)))
      guard answer.status == 200 else { throw Refused(request: "erase", answer: answer) }
      return answer.json
    }

    /// What the platform has of customer 7; empty where nothing is left.
    private static func traces(_ rest: RESTClient) async throws -> [String] {
      var traces: [String] = []
      for (what, sql) in [
        ("events", "SELECT count(*) FROM events_events WHERE customer_id = 7"),
        ("visits", "SELECT count(*) FROM events_visits WHERE customer_id = 7"),
        ("quarantine", "SELECT count(*) FROM quarantine WHERE contains(record, ': 7')"),
        ("note", "SELECT count(*) FROM erasures WHERE pending IS NOT NULL"),
        ("receipt", "SELECT count(*) FROM erasures WHERE contains(receipt, '[7]')"),
      ] where try await rest.count(sql) != 0 {
        traces.append(what)
      }
      let read = try await rest.ok(
        "/api/v1/features/online",
        #"{"features": ["buyers.last", "browsing.page"], "entities": [{"customer_id": 7}]}"#)
      let statuses = read["rows"]?.array?.first?["statuses"]?.array ?? []
      if statuses != [.string("not_found"), .string("not_found")] {
        traces.append("online \(statuses)")
      }
      return traces
    }

    /// What other entities must read, computed from what is left.
    private static func others(_ rest: RESTClient) async throws -> [JSON] {
      let tea = try await rest.online(["demand.last", "demand.sold_7d"], #"{"product": "tea"}"#)
      let milk = try await rest.online(["demand.last", "demand.sold_7d"], #"{"product": "milk"}"#)
      let pair = try await rest.online(
        ["pairs.bought_7d"], #"{"customer_id": 7, "product": "tea"}"#)
      let eight = try await rest.online(["buyers.last"], #"{"customer_id": 8}"#)
      return tea + milk + pair + eight
    }

    private static let othersAfter: [JSON] = [
      .double(3), .int(1), .null, .int(0), .int(0), .double(3),
    ]

    @Test(
      "a key goes from every place, other entities are as if its events had never been, and the receipt counts"
    )
    func erased() async throws {
      try await Self.with { platform in
        let rest = platform.rest
        try await Self.fill(rest)
        #expect(
          try await Self.others(rest) == [
            .double(1), .int(2), .double(2), .int(1), .int(1), .double(3),
          ])
        let receipt = try await Self.erase(rest, "customer", "[7]")
        let removed = receipt["removed"]
        #expect(removed?["events_events"]?.int == 2, "\(receipt)")
        #expect(removed?["events_visits"]?.int == 1)
        #expect(removed?["quarantine"]?.int == 1)
        #expect(removed?["online.buyers"]?.int == 1)
        #expect(removed?["online.browsing"]?.int == 1)
        #expect(receipt["state"]?.string == "done")
        #expect(receipt["rebuilt_keys"]?.int == 4)
        #expect(receipt["digest"]?.string?.count == 64)
        #expect(try await Self.traces(rest) == [])
        #expect(try await Self.others(rest) == Self.othersAfter)
        let kept = try await rest.okGet("/api/v1/erasures")["erasures"]?.array
        #expect(kept == [receipt])
      }
    }

    @Test(
      "old input does not bring a key back: the same file, another one, a push, quarantine; also after a restart"
    )
    func replayed() async throws {
      try await Self.with { platform in
        try await Self.fill(platform.rest)
        _ = try await Self.erase(platform.rest, "customer", #"{"customer_id": 7}"#)
        for round in 0..<2 {
          let rest = platform.rest
          let same = try await rest.upload("events", "old.jsonl", Self.old.joined(separator: "\n"))
          #expect(same["already_ingested"]?.bool == true, "\(same)")
          let file = try await rest.upload(
            "events", "new\(round).jsonl",
            (Self.old + ["\n"]).joined(separator: "\n\(round == 0 ? "" : "\n")"))
          if file["already_ingested"]?.bool != true {
            #expect(file["erased"]?.int == 2 && file["duplicates"]?.int == 1, "\(file)")
          }
          let push = try await rest.push("events", "[\(Self.old.joined(separator: ","))]")
          #expect(push["erased"]?.int == 2 && push["duplicates"]?.int == 1, "\(push)")
          let bad = try await rest.push("events", Self.event("bad", customer: 7, amount: -1))
          #expect(bad["erased"]?.int == 1 && bad["quarantined"]?.int == 0, "\(bad)")
          _ = try await rest.ok(
            "/api/v1/quarantine/replay",
            #"{"source": "events", "set": {"customer_id": 7, "amount": 1}}"#)
          #expect(try await Self.traces(rest) == [])
          #expect(try await Self.others(rest) == Self.othersAfter)
          try await platform.crash()
          try await platform.start()
        }
      }
    }

    @Test(
      "an event after the erase is a new one; of those that went, none comes back even where it was dated later"
    )
    func afterwards() async throws {
      try await Self.with { platform in
        let rest = platform.rest
        let future = Self.event("f", customer: 7, amount: 50, at: "2026-03-05T00:00:00Z")
        _ = try await rest.push("events", "[\(Self.old[0]), \(future)]")
        _ = try await Self.erase(rest, "customer", "[7]")
        try await rest.moveClock("2026-03-10T00:00:00Z")
        let again = try await rest.push("events", "[\(Self.old[0]), \(future)]")
        #expect(again["erased"]?.int == 2, "\(again)")
        let new = try await rest.push(
          "events", Self.event("new", customer: 7, amount: 9, at: "2026-03-09T00:00:00Z"))
        #expect(new["accepted"]?.int == 1, "\(new)")
        #expect(
          try await rest.online(["buyers.last", "buyers.count_7d"], #"{"customer_id": 7}"#)
            == [.double(9), .int(1)])
      }
    }

    @Test("a composite key goes alone")
    func composite() async throws {
      try await Self.with { platform in
        try await Self.fill(platform.rest)
        let done = try await platform.martlet("erase", "pair", "7", "tea", "--yes", "--json")
        #expect(done.status == 0, "\(done)")
        let receipt = try JSON(parsing: Array(done.output.utf8))
        #expect(receipt["removed"]?["events_events"]?.int == 1, "\(receipt)")
        let rest = platform.rest
        #expect(
          try await rest.online(["buyers.last", "buyers.count_7d"], #"{"customer_id": 7}"#)
            == [.double(2), .int(1)])
        #expect(
          try await rest.online(["browsing.page"], #"{"customer_id": 7}"#) == [.string("home")])
      }
    }

    @Test("the snapshot file and the warehouse's tables hold nothing of the key afterwards")
    func files() async throws {
      try await Self.with { platform in
        let rest = platform.rest
        _ = try await rest.push("events", Self.event("a", customer: 1, product: "a-very-rare-tea"))
        _ = try await rest.push("events", Self.event("b", customer: 1, product: "milk"))
        #expect(try await platform.stop() == 0)
        let snapshot = "\(platform.data)/online.snapshot"
        let needle = Data("a-very-rare-tea".utf8)
        #expect(FileManager.default.contents(atPath: snapshot)?.range(of: needle) != nil)
        try await platform.start()
        _ = try await Self.erase(platform.rest, "product", #"["a-very-rare-tea"]"#)
        #expect(FileManager.default.contents(atPath: snapshot)?.range(of: needle) == nil)
        #expect(
          try await platform.rest.online(["buyers.count_7d"], #"{"customer_id": 1}"#) == [.int(1)])
      }
    }

    @Test("after a kill at any instant of an erase either all is there or nothing is")
    func killed() async throws {
      let seed = UInt64.random(in: .min ... .max)
      var random = SeededGenerator(seed: seed)
      try await Self.with(["MARTLET_ONLINE_SNAPSHOT_INTERVAL": "5ms"]) { platform in
        for round in 0..<10 {
          try await Self.fillRound(platform.rest, round)
          let before = try await Self.erasures(platform.rest)
          let rest = platform.rest
          async let erasing = try? Self.erase(rest, "customer", "[7]")
          for _ in 0..<Int.random(in: 0...10, using: &random) {
            _ = try? await rest.get("/health/live")
          }
          try await platform.crash()
          let receipt = await erasing
          try await platform.start()
          try await waitUntil("the erase was finished") {
            try await platform.rest.count("SELECT count(*) FROM erasures WHERE state <> 'done'")
              == 0
          }
          let happened = try await Self.erasures(platform.rest) > before
          #expect(happened || receipt == nil, "seed \(seed), round \(round)")
          if !happened {
            #expect(
              try await platform.rest.online(["buyers.count_7d"], #"{"customer_id": 7}"#)
                == [.int(2)], "seed \(seed), round \(round)")
            _ = try await Self.erase(platform.rest, "customer", "[7]")
          }
          #expect(try await Self.traces(platform.rest) == [], "seed \(seed), round \(round)")
          let tea = try await platform.rest.online(["demand.sold_7d"], #"{"product": "tea"}"#)
          let rows = try await platform.rest.count(
            "SELECT count(*) FROM events_events WHERE product = 'tea'")
          #expect(tea == [.int(rows)], "seed \(seed), round \(round)")
        }
      }
    }

    private static func erasures(_ rest: RESTClient) async throws -> Int64 {
      try await rest.count("SELECT count(*) FROM erasures")
    }

    /// New events of customer 7, later than every erase before, and some of others.
    private static func fillRound(_ rest: RESTClient, _ round: Int) async throws {
      let time = "2026-03-01T\(twoDigits(round + 1)):00:00Z"
      try await rest.moveClock(time)
      let answer = try await rest.push(
        "events",
        "[\(event("s\(round)", customer: 7, at: time)), \(event("t\(round)", customer: 7, product: "milk", at: time)), \(event("u\(round)", customer: 8, at: time))]"
      )
      #expect(answer["accepted"]?.int == 3, "\(answer)")
      _ = try await rest.push("visits", #"{"customer_id": 7, "page": "home", "at": "\#(time)"}"#)
      _ = try await rest.push("events", event("bad\(round)", customer: 7, amount: -1, at: time))
      try await rest.moveClock("2026-03-01T\(twoDigits(round + 1)):30:00Z")
    }

    @Test("an erase that is not understood, or not confirmed, does nothing")
    func refused() async throws {
      try await Self.with { platform in
        try await Self.fill(platform.rest)
        let unconfirmed = try await platform.martlet("erase", "customer", "7")
        #expect(unconfirmed.status == 2 && unconfirmed.errors.contains("--yes"), "\(unconfirmed)")
        for (entity, key, status, says) in [
          ("custmer", "[7]", 404, "did you mean 'customer'"),
          ("customer", "[1, 2]", 400, "give a value for each"),
          ("customer", "[\"x\"]", 400, "key column 'customer_id' is int64"),
          ("pair", #"{"custmer_id": 7}"#, 400, "did you mean 'customer_id'"),
        ] {
          let answer = try await platform.rest.send(
            .DELETE, "/api/v1/entities/\(entity)/keys", .bytes(.init(string: #"{"key": \#(key)}"#)))
          #expect(answer.status == status && answer.error.contains(says), "\(answer)")
        }
        #expect(try await Self.erasures(platform.rest) == 0)
        #expect(try await platform.rest.count("SELECT count(*) FROM events_events") == 3)
      }
    }

    @Test("predictions about the key go from the log, those that wait to be written too")
    func predictions() async throws {
      let environment = ["MARTLET_PREDICTION_LOG_FLUSH_INTERVAL": "1h"]
      try await ShopProject.with(
        models: [ShopProject.model("churn", "constant")], environment: environment
      ) { platform in
        let rest = platform.rest
        try await ShopProject.feed(rest)
        let job = try await rest.train("churn")
        #expect(job["state"]?.string == "COMPLETED", "\(job)")
        try await rest.promote("churn", 1)
        for customer in [7, 8, 7] {
          let answer = try await rest.predict("churn", #"{"customer_id": \#(customer)}"#)
          #expect(answer.status == 200, "\(answer)")
        }
        let receipt = try await Self.erase(rest, "customer", "[7]")
        #expect(receipt["removed"]?["model_logs"]?.int == 2, "\(receipt)")
        #expect(
          try await rest.rows("SELECT entity_keys FROM model_logs") == [
            [.string(#"{"customer_id":8}"#)]
          ])
      }
    }

    @Test("gRPC erases alike")
    func grpc() async throws {
      try await Self.with { platform in
        try await Self.fill(platform.rest)
        try await platform.withGRPC { connection in
          var request = Martlet_V1_EraseRequest()
          request.entity = "customer"
          request.key = [wireValue(7)]
          let response = try await connection.features.erase(request)
          #expect(response.removed["events_events"] == 2)
        }
        #expect(try await Self.traces(platform.rest) == [])
      }
    }
  }
}
