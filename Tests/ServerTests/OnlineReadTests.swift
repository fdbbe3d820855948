import Core
import GRPCCore
import TestKit
import Testing
import Wire

extension WholeProgram {
  /// Many entities, views and features in one call, by list and by a model's name, over both transports.
  @Suite struct OnlineReadTests {
    /// Two entities with views of their own, and a model that reads both and an input.
    private static let definitions =
      ShopProject.definitions.replacing(
        "  customer: {key: [customer_id]}",
        with: "  customer: {key: [customer_id]}\n  kind: {key: [kind]}"
      ) + """
          kinds:
            entity: kind
            source: events
            features:
              sold_1d: {count: "*", window: 1d}
              dearest: {max: amount, window: 30d}
        models:
          worth:
            features: [activity.last_amount, kinds.sold_1d, share]
            inputs: {budget: double}
            derived: {share: activity.last_amount / budget}

        """

    private static func with(_ body: (PlatformProcess) async throws -> Void) async throws {
      try await PlatformProcess.with(
        files: ["martlet.yaml": definitions, "train.py": ShopProject.code],
        environment: ShopProject.environment
      ) { platform in
        let applied = try await platform.rest.apply(definitions)
        #expect(applied.status == 200, "\(applied)")
        for (id, customer, amount, time) in [
          ("a", 1, 20.5, "2026-02-28T23:59:00Z"), ("b", 2, 8, "2026-01-10T00:00:00Z"),
        ] {
          _ = try await platform.rest.push(
            "events",
            ShopProject.event(id, customer: customer, amount: Double(amount), at: time))
        }
        // Observed, and null.
        _ = try await platform.rest.push(
          "events",
          #"{"event_id": "c", "customer_id": 3, "kind": "view", "amount": null, "at": "2026-02-28T12:00:00Z"}"#
        )
        try await body(platform)
      }
    }

    @Test(
      "one call reads several views of different entities, with status, time and age of each value")
    func severalViews() async throws {
      try await Self.with { platform in
        let answer = try await platform.rest.ok(
          "/api/v1/features/online",
          """
          {"entities": [{"customer_id": 1, "kind": "view"}, {"customer_id": 2, "kind": "gone"},
           {"customer_id": 3, "kind": "view"}, {"customer_id": 4, "kind": null}],
           "features": ["activity.last_amount", "activity.events_7d", "kinds.sold_1d", "activity.mean_7d"]}
          """)
        func cells(_ row: Int, _ name: String) -> [JSON] {
          answer["rows"]?.array?[row][name]?.array ?? []
        }
        #expect(answer["time"]?.string?.hasPrefix("2026-03-01T00:00:00") == true, "\(answer)")
        #expect(
          (0..<4).map { cells($0, "statuses").compactMap(\.string) } == [
            ["present", "present", "present", "present"],
            ["expired", "present", "not_found", "null"],
            ["null", "present", "present", "present"],
            ["not_found", "not_found", "not_found", "not_found"],
          ], "\(answer)")
        #expect(cells(0, "values")[0] == .double(20.5))
        #expect(cells(3, "values") == [.null, .int(0), .null, .null])
        #expect(
          cells(0, "event_timestamps")[0] == .string("2026-02-28T23:59:00Z")
            && cells(1, "event_timestamps")[0] == .string("2026-01-10T00:00:00Z"))
        let ages = cells(0, "ages_seconds") + cells(1, "ages_seconds").prefix(1)
        #expect(ages.compactMap(\.number) == [60, 60, 43_200, 60, 50 * 86_400], "\(answer)")
        #expect(cells(3, "ages_seconds") == [.null, .null, .null, .null])
      }
    }

    @Test("both transports give the same values, statuses, times and ages, a named set's too")
    func sameOverGRPC() async throws {
      try await Self.with { platform in
        let rows = try await platform.rest.ok(
          "/api/v1/features/online",
          """
          {"feature_set": "worth", "entities": [{"customer_id": 1, "kind": "view", "budget": 41},
           {"customer_id": 2, "kind": "é\\n"}]}
          """)
        #expect(
          rows["features"]?.array?.compactMap(\.string)
            == ["activity.last_amount", "kinds.sold_1d", "share"])
        #expect(rows["rows"]?.array?[0]["values"]?.array?[2] == .double(0.5), "\(rows)")
        let answer = try await platform.withGRPC { client in
          var request = Martlet_V1_GetOnlineRequest()
          request.featureSet = "worth"
          request.entities = [wireRow(["customer_id": 1]), wireRow(["customer_id": 2])]
          request.entities[0].values["kind"] = .with { $0.stringValue = "view" }
          request.entities[0].values["budget"] = .with { $0.doubleValue = 41 }
          request.entities[1].values["kind"] = .with { $0.stringValue = "é\n" }
          return try await client.features.getOnline(request)
        }
        #expect(answer.features == ["activity.last_amount", "kinds.sold_1d", "share"])
        for (row, wire) in answer.rows.enumerated() {
          let json = rows["rows"]?.array?[row]
          for (cell, value) in wire.values.enumerated() {
            let number =
              value.value.kind == nil
              ? nil : value.value.doubleValue + Double(value.value.int64Value)
            #expect(json?["values"]?.array?[cell].number == number)
            let status = json?["statuses"]?.array?[cell].string
            #expect(
              status?.replacing("_", with: "").uppercased()
                == "\(value.status)".replacing("_", with: "").uppercased())
            #expect(json?["ages_seconds"]?.array?[cell].number ?? 0 == value.ageSeconds)
            #expect(
              (json?["event_timestamps"]?.array?[cell] == .null) == !value.hasEventTimestamp)
          }
        }
        #expect(answer.time.seconds == 1_772_323_200)
      }
    }

    @Test(
      "sets and freshness of every view are told by both transports, the metrics and the commands")
    func setsAndFreshness() async throws {
      try await Self.with { platform in
        let sets = try await platform.rest.okGet("/api/v1/features/sets")
        #expect(
          sets["sets"]?.array?[0]["entities"] == .array([.string("customer"), .string("kind")]))
        let fresh = try await platform.rest.okGet("/api/v1/features/freshness?views=kinds")
        let view = fresh["views"]?.array?[0]
        #expect(view?["newest_event"] == .string("2026-02-28T23:59:00Z"), "\(fresh)")
        #expect(view?["age_seconds"]?.number == 60)
        let unknown = try await platform.rest.get("/api/v1/features/freshness?views=kind")
        #expect(unknown.status == 404 && unknown.error.contains("'kinds'"), "\(unknown)")
        let (wire, names) = try await platform.withGRPC { client in
          (
            try await client.features.getFreshness(.init()),
            try await client.features.listFeatureSets(.init()).sets.map(\.name)
          )
        }
        #expect(wire.views.map(\.view) == ["activity", "kinds"] && names == ["worth"])
        #expect(wire.views.map(\.ageSeconds) == [60, 60])
        let metrics = try await platform.rest.get("/metrics").text
        #expect(metrics.contains(#"martlet_view_freshness_seconds{view="kinds"} 60"#))
        let shown = try await platform.martlet("features", "show", "kinds")
        #expect(shown.output.contains("kinds.dearest"), "\(shown)")
        #expect(shown.output.contains("2026-02-28T23:59:00Z, 60 s ago"), "\(shown)")
        let status = try await platform.martlet("status")
        #expect(status.output.contains("2026-02-28T23:59:00Z"), "\(status)")
        let listed = try await platform.martlet("features", "sets")
        #expect(listed.output.contains("worth") && listed.output.contains("budget"), "\(listed)")
        // Freshness is of the events that are there, also after a start.
        _ = try await platform.stop()
        try await platform.start()
        let again = try await platform.rest.okGet("/api/v1/features/freshness")
        #expect(
          again["views"]?.array?.map { $0["newest_event"] } == [
            .string("2026-02-28T23:59:00Z"), .string("2026-02-28T23:59:00Z"),
          ], "\(again)")
      }
    }

    @Test("events that are dated ahead make nothing look fresh, and count when their time has come")
    func datedAhead() async throws {
      try await Self.with { platform in
        func check(_ newest: String, _ age: Double, ahead: String?) async throws {
          let answer = try await platform.rest.okGet("/api/v1/features/freshness?views=activity")
          let view = answer["views"]?.array?[0]
          #expect(view?["newest_event"] == .string(newest), "\(answer)")
          // Each commit is some microseconds later than the one before.
          #expect(abs((view?["age_seconds"]?.number ?? .nan) - age) < 0.001, "\(answer)")
          #expect(view?["newest_future_event"] == ahead.map { .string($0) } ?? .null, "\(answer)")
          let metrics = try await platform.rest.get("/metrics").text
          let shown = "martlet_view_freshness_seconds{view=\"activity\"} \(Int(age))"
          #expect(metrics.contains(shown), "\(metrics)")
          #expect(metrics.contains("martlet_freshness_seconds{source=\"events\"} \(Int(age))"))
        }
        for (id, time) in [
          ("far", "9999-11-21T00:00:00Z"), ("soon", "2026-03-01T00:10:00Z"),
          ("sooner", "2026-03-01T00:05:00Z"),
        ] {
          _ = try await platform.rest.push("events", ShopProject.event(id, customer: 9, at: time))
        }
        for round in 1...2 {
          try await check("2026-02-28T23:59:00Z", 60, ahead: "9999-11-21T00:00:00Z")
          let wire = try await platform.withGRPC { try await $0.features.getFreshness(.init()) }
          #expect(wire.views.allSatisfy { $0.hasNewestFutureEvent && Int($0.ageSeconds) == 60 })
          let command = try await platform.martlet("features", "show", "activity")
          #expect(
            command.output.contains("60 s ago; one is dated ahead, 9999-11-21"), "\(command)")
          // The same is known after a start.
          guard round == 1 else { break }
          _ = try await platform.stop()
          try await platform.start()
        }
        try await platform.rest.moveClock("2026-03-01T00:07:00Z")
        try await check("2026-03-01T00:05:00Z", 120, ahead: "9999-11-21T00:00:00Z")
        try await platform.rest.moveClock("2026-03-01T00:11:00Z")
        try await check("2026-03-01T00:10:00Z", 60, ahead: "9999-11-21T00:00:00Z")
      }
    }

    private static let bad: [(body: String, status: UInt, says: String)] = [
      (#"{"feature_set": "worthy", "entities": {}}"#, 404, "did you mean 'worth'?"),
      (#"{"feature_set": 7, "entities": {}}"#, 400, "'feature_set'"),
      (
        #"{"feature_set": "worth", "features": ["activity.events_7d"], "entities": {}}"#, 400,
        "exclude each other"
      ),
      (#"{"feature_set": "worth", "entites": {}}"#, 400, "did you mean 'entities'?"),
      (#"{"feature_set": "worth"}"#, 400, "'entities'"),
      (#"{"feature_set": "worth", "entities": [7]}"#, 400, "must be an object"),
      (#"{"feature_set": "worth", "entities": {"customer_id": 1}}"#, 400, "'kind'"),
      (
        #"{"feature_set": "worth", "entities": {"customer_id": 1, "kind": "a", "budget": "x"}}"#,
        400, "'budget'"
      ),
      (#"{"feature_set": "worth", "entities": {}} {}"#, 400, "byte 41"),
      (#"[]"#, 400, "'feature_set'"),
      (
        #"{"features": ["activity.events_7d"], "entities": [\#(many("{}", 10_001))]}"#, 400,
        "10000 rows"
      ),
      (
        #"{"features": [\#(many("\"activity.events_7d\"", 1_001))], "entities": {}}"#, 400,
        "at most 1000"
      ),
    ]

    private static func many(_ text: String, _ count: Int) -> String {
      Array(repeating: text, count: count).joined(separator: ",")
    }

    @Test("a read that cannot be answered says what is wrong with it")
    func badReads() async throws {
      try await Self.with { platform in
        for (body, status, says) in Self.bad {
          let answer = try await platform.rest.post("/api/v1/features/online", body)
          #expect(answer.status == status, "\(body.prefix(120)): \(answer)")
          #expect(answer.error.contains(says), "\(says) in \(answer.error)")
        }
        let error = try await platform.withGRPC { client in
          try await grpcError {
            var request = Martlet_V1_GetOnlineRequest()
            request.featureSet = "worthy"
            _ = try await client.features.getOnline(request)
          }
        }
        #expect(error?.code == .notFound && error?.message.contains("'worth'") == true)
      }
    }
  }
}
