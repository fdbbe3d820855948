import Core
import Foundation
import TestKit
import Testing
import Wire

extension WholeProgram {
  /// Parity as a product: what was served is what the warehouse says it should have been, and damage is seen.
  @Suite struct VerificationTests {
    private static let names = ["activity.last_amount", "activity.events_7d", "activity.spend_7d"]

    /// Customers 1 to 9, three orders each, the last one an hour after the others; then another hour goes by.
    private static func feed(_ rest: RESTClient) async throws {
      for (round, time) in ["2026-03-01T10:00:00Z", "2026-03-01T11:00:00Z", "2026-03-01T12:00:00Z"]
        .enumerated()
      {
        try await rest.moveClock(time)
        for customer in 1...9 {
          let event = ShopProject.event(
            "e\(round)-\(customer)", customer: customer, amount: Double(customer * 10 + round),
            at: time)
          _ = try await rest.push("events", event)
        }
      }
      try await rest.moveClock("2026-03-01T13:00:00Z")
    }

    private static func verify(_ rest: RESTClient, _ body: String) async throws -> JSON {
      try await rest.ok("/api/v1/features/verify", body)
    }

    /// Cause by feature and customer, of the examples of a live check.
    private static func causes(_ answer: JSON) -> [String: Int] {
      var causes: [String: Int] = [:]
      for feature in answer["features"]?.array ?? [] {
        guard case .object(let members)? = feature["causes"] else { continue }
        for member in members {
          causes["\(feature["feature"]?.string ?? "") \(member.key)"] = Int(member.value.int ?? 0)
        }
      }
      return causes
    }

    @Test(
      "a platform that works has no mismatch: live, in the log, over gRPC, and after late events")
    func clean() async throws {
      try await ShopProject.with(models: [ShopProject.model("churn", "constant")]) { platform in
        let rest = platform.rest
        try await ShopProject.feed(rest)
        let job = try await rest.train("churn")
        #expect(job["state"]?.string == "COMPLETED", "\(job)")
        try await rest.promote("churn", 1)
        for customer in 0..<40 {
          let answer = try await rest.predict("churn", #"{"customer_id": \#(customer)}"#)
          #expect(answer.status == 200, "\(answer)")
        }
        try await rest.moveClock("2026-03-02T00:00:00Z")
        // Known only now: what was served yesterday was right without it.
        _ = try await rest.push(
          "events",
          ShopProject.event("late", customer: 3, amount: 500, at: "2026-02-28T23:00:00Z"))
        let logged = try await Self.verify(rest, #"{"model": "churn"}"#)
        #expect(logged["vectors"]?.int == 40 && logged["compared"]?.int == 160, "\(logged)")
        #expect(logged["mismatches"]?.int == 0 && logged["passed"]?.bool == true, "\(logged)")
        let live = try await platform.martlet("features", "verify", "--live", "--json")
        #expect(live.status == 0, "\(live)")
        let told = try JSON(parsing: Array(live.output.utf8))
        #expect((told["compared"]?.int ?? 0) >= 1_500, "\(told)")
        #expect(told["mismatches"]?.int == 0 && told["in_flight"]?.int == 0, "\(told)")
        let wire = try await platform.withGRPC { client in
          var request = Martlet_V1_VerifyFeaturesRequest()
          request.live = true
          request.views = ["activity"]
          request.sample = 20
          return try await client.features.verifyFeatures(request)
        }
        #expect(wire.passed && wire.vectors == 20 && wire.mismatches == 0, "\(wire)")
        let metrics = try await rest.get("/metrics").text
        #expect(
          metrics.contains(#"martlet_parity_mismatch_total{feature="activity.spend_7d"} 0"#),
          "\(metrics)")
      }
    }

    @Test("a check that compares nothing does not pass, and a sample of nothing is refused")
    func nothing() async throws {
      try await ShopProject.with { platform in
        let found = try await platform.martlet("features", "verify")
        #expect(found.status == 1 && found.output.contains("nothing was compared"), "\(found)")
        let answer = try await Self.verify(platform.rest, "{}")
        #expect(answer["passed"]?.bool == false && answer["compared"]?.int == 0, "\(answer)")
        let refused = try await platform.rest.post("/api/v1/features/verify", #"{"sample": 0}"#)
        #expect(refused.status == 400 && refused.error.contains("'sample'"), "\(refused)")
      }
    }

    @Test("damage of the online state is reported by feature and cause, counted, and fails a build")
    func damaged() async throws {
      try await RedisServer.with { redis in
        let port = redis.port
        let environment = [
          "MARTLET_ONLINE_BACKEND": "redis", "MARTLET_REDIS_ADDRESSES": "127.0.0.1:\(port)",
        ]
        try await ShopProject.with(environment: environment) { platform in
          let rest = platform.rest
          try await Self.feed(rest)
          let all = try await redis.cli("KEYS", "*:activity@*:?")
          let keys = all.split(separator: "\n").map(String.init)
          func key(_ customer: Int) throws -> String {
            try #require(keys.first { $0.hasSuffix(":\(customer)") }, "\(all)")
          }
          #expect(try await Self.verify(rest, #"{"live": true}"#)["passed"]?.bool == true)
          // Customer 1 as it was before an order, 2 without a state, 4 with the state of 3.
          #expect(try await redis.cli("COPY", key(1), "kept") == "1")
          _ = try await rest.push(
            "events",
            ShopProject.event("more", customer: 1, amount: 77, at: "2026-03-01T12:59:00Z"))
          try await rest.moveClock("2026-03-01T14:00:00Z")
          #expect(try await redis.cli("COPY", "kept", key(1), "REPLACE") == "1")
          #expect(try await redis.cli("DEL", key(2)) == "1")
          #expect(try await redis.cli("COPY", key(3), key(4), "REPLACE") == "1")
          let found = try await platform.martlet("features", "verify", "--live", "--json")
          #expect(found.status == 1, "\(found)")
          let answer = try JSON(parsing: Array(found.output.utf8))
          let causes = Self.causes(answer)
          #expect(causes["activity.last_amount stale_online"] == 1, "\(answer)")
          #expect(causes["activity.last_amount missing_online"] == 1, "\(answer)")
          #expect(causes["activity.last_amount value_differs"] == 1, "\(answer)")
          #expect(causes["activity.events_7d stale_online"] == 1, "\(answer)")
          #expect(causes["activity.events_7d missing_online"] == 1, "\(answer)")
          #expect(causes["activity.mean_7d stale_online"] == 1, "\(answer)")
          // Three of nine customers: borne where a half may differ.
          let borne = try await platform.martlet(
            "features", "verify", "--live", "--threshold", "0.5")
          #expect(borne.status == 0 && borne.output.contains("missing_online"), "\(borne)")
          let metrics = try await rest.get("/metrics").text
          #expect(
            metrics.contains(#"martlet_parity_mismatch_total{feature="activity.last_amount"} 6"#),
            "\(metrics)")
        }
      }
    }

    @Test(
      "a prediction that was made from damaged state is found in the log, also once the state is right again"
    )
    func damagedPrediction() async throws {
      try await RedisServer.with { redis in
        let port = redis.port
        let environment = [
          "MARTLET_ONLINE_BACKEND": "redis", "MARTLET_REDIS_ADDRESSES": "127.0.0.1:\(port)",
        ]
        try await ShopProject.with(
          models: [ShopProject.model("churn", "constant")], environment: environment
        ) { platform in
          let rest = platform.rest
          try await ShopProject.feed(rest)
          _ = try await rest.train("churn")
          try await rest.promote("churn", 1)
          try await rest.moveClock("2026-03-02T00:00:00Z")
          let key = try await redis.cli("KEYS", "*:activity@*:5")
          #expect(try await redis.cli("RENAME", key, "kept") == "OK")
          _ = try await rest.predict("churn", #"{"customer_id": 5}"#)
          #expect(try await redis.cli("RENAME", "kept", key) == "OK")
          _ = try await rest.predict("churn", #"{"customer_id": 5}"#)
          try await rest.moveClock("2026-03-03T00:00:00Z")
          let answer = try await Self.verify(rest, #"{"window": "7d"}"#)
          #expect(answer["vectors"]?.int == 2 && answer["passed"]?.bool == false, "\(answer)")
          let causes = Self.causes(answer)
          #expect(causes["activity.spend_7d missing_online"] == 1, "\(answer)")
          #expect(answer["examples"]?.array?.first?["served_status"]?.string == "not_found")
        }
      }
    }

    /// A model that derives values from features and from an input which is not in its vector, and reads the last amounts.
    private static let deriving =
      ShopProject.definitions.replacing(
        "churned: bool}", with: "churned: bool, hour: int64}"
      ).replacing(
        "      mean_7d:",
        with: "      last_three:  {last_k: amount, k: 3, window: 7d}\n      mean_7d:"
      ) + """
        models:
          churn:
            features: [activity.spend_7d, activity.events_7d, activity.last_three, scaled, late]
            inputs: {hour: int64}
            derived:
              scaled: activity.spend_7d / activity.events_7d + half
              half: hour / 2
              late: hour % 12 > 6
            missing: {default: null}
            spine: {source: outcomes, time: checked_at}
            label: {source: outcomes, value: churned, delay: 1d}
            train: {run: train.py:widths, metric: roc_auc}

        """

    @Test(
      "what a model derives itself is computed again from the log, and the last values of a key are its columns"
    )
    func derivedByTheModel() async throws {
      try await RedisServer.with { redis in
        var environment = ShopProject.environment
        environment["MARTLET_ONLINE_BACKEND"] = "redis"
        environment["MARTLET_REDIS_ADDRESSES"] = "127.0.0.1:\(redis.port)"
        let code =
          ShopProject.code + """

            class Widths:
                def predict(self, columns):
                    return np.nan_to_num(np.asarray(columns["activity.last_three[0]"], dtype=float), nan=-1.0)


            def widths(dataset, context):
                names = [name for name in dataset.features if "last_three" in name]
                assert names == [f"activity.last_three[{n}]" for n in range(3)], names
                return Widths()

            """
        try await PlatformProcess.with(
          files: ["martlet.yaml": Self.deriving, "train.py": code], environment: environment
        ) { platform in
          let rest = platform.rest
          let applied = try await rest.apply(Self.deriving)
          try #require(applied.status == 200, "\(applied)")
          try await ShopProject.feed(rest)
          let job = try await rest.train("churn")
          try #require(job["state"]?.string == "COMPLETED", "\(job)")
          try await rest.promote("churn", 1)
          for customer in 0..<30 {
            let answer = try await rest.predict(
              "churn", #"{"customer_id": \#(customer), "hour": \#(customer % 24)}"#)
            #expect(answer.status == 200, "\(answer)")
          }
          let newest = try await rest.predict("churn", #"{"customer_id": 5, "hour": 3}"#)
          let amount = try await rest.online(["activity.last_three"], #"{"customer_id": 5}"#)
          #expect(
            newest["predictions"]?.array?.first?["value"]?.number
              == amount.first?.array?.first?.number ?? -1, "\(newest)")
          try await rest.moveClock("2026-03-02T00:00:00Z")
          let clean = try await Self.verify(rest, #"{"model": "churn"}"#)
          #expect(clean["vectors"]?.int == 31 && clean["compared"]?.int == 31 * 5, "\(clean)")
          #expect(clean["passed"]?.bool == true, "\(clean)")
          let key = try await redis.cli("KEYS", "*:activity@*:5")
          #expect(try await redis.cli("RENAME", key, "kept") == "OK")
          _ = try await rest.predict("churn", #"{"customer_id": 5, "hour": 3}"#)
          #expect(try await redis.cli("RENAME", "kept", key) == "OK")
          try await rest.moveClock("2026-03-03T00:00:00Z")
          let causes = Self.causes(try await Self.verify(rest, #"{"window": "7d"}"#))
          #expect(causes["models.churn.scaled missing_online"] == 1, "\(causes)")
          #expect(causes["models.churn.late value_differs"] == nil, "\(causes)")
          let metrics = try await rest.get("/metrics").text
          #expect(
            metrics.contains(#"martlet_parity_mismatch_total{feature="models.churn.scaled"} 1"#))
        }
      }
    }

    @Test("predictions of former definitions are told, not compared")
    func formerDefinitions() async throws {
      try await ShopProject.with(models: [ShopProject.model("churn", "constant")]) { platform in
        let rest = platform.rest
        try await ShopProject.feed(rest)
        _ = try await rest.train("churn")
        try await rest.promote("churn", 1)
        _ = try await rest.predict("churn", #"{"customer_id": 5}"#)
        try await rest.moveClock("2026-03-01T01:00:00Z")
        let changed = try await rest.apply(
          ShopProject.definitions.replacing("window: 7d}", with: "window: 6d}")
            + "models:\n" + ShopProject.model("churn", "constant"))
        #expect(changed.status == 200, "\(changed)")
        let answer = try await Self.verify(rest, #"{"model": "churn"}"#)
        #expect(answer["of_former_definitions"]?.int == 4, "\(answer)")
        #expect(answer["compared"]?.int == 0 && answer["passed"]?.bool == false, "\(answer)")
      }
    }

    @Test("a check that is not understood says why")
    func refused() async throws {
      try await ShopProject.with { platform in
        for (body, status, says) in [
          (#"{"live": true, "views": ["activty"]}"#, 404, "did you mean 'activity'"),
          (#"{"model": "chrun"}"#, 404, "there is no model"),
          (#"{"sample": -1}"#, 400, "from 1 to 100000"),
          (#"{"threshold": 2}"#, 400, "a share from 0 to 1"),
          (#"{"window": "yesterday"}"#, 400, "a length of time"),
        ] {
          let answer = try await platform.rest.post("/api/v1/features/verify", body)
          #expect(answer.status == status && answer.error.contains(says), "\(answer)")
        }
      }
    }
  }
}
