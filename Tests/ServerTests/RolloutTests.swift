import Core
import Foundation
import Synchronization
import TestKit
import Testing

extension WholeProgram {
  /// Canaries and shadows of the real program, under load.
  @Suite struct RolloutTests {
    private static let rule =
      "{canary: 30%, after: {requests: 300, error_rate: 5%, drift: 0.5}}"

    /// Trains what `behaviour.txt` in the project's folder says.
    private static let code = """
      import os

      import numpy as np


      class Steady:
          def __init__(self, value):
              self.value = value

          def predict(self, columns):
              return np.full(len(next(iter(columns.values()))), self.value)


      class Fragile(Steady):
          def __init__(self, value, path):
              super().__init__(value)
              self.path = path

          def predict(self, columns):
              if os.path.exists(self.path):
                  raise ValueError("no table of this season")
              return super().predict(columns)


      def by_file(dataset, context):
          folder = os.path.dirname(os.path.abspath(__file__))
          with open(os.path.join(folder, "behaviour.txt")) as file:
              behaviour = file.read().strip()
          if behaviour == "fragile":
              return Fragile(0.5, os.path.join(folder, "broken"))
          return Steady(float(behaviour))

      """

    private static func with(
      rollout: String?, _ body: (PlatformProcess) async throws -> Void
    ) async throws {
      let yaml =
        ShopProject.definitions + "models:\n"
        + ShopProject.model("churn", "by_file", drift: "{window: 1d}")
        + (rollout.map { "    rollout: \($0)\n" } ?? "")
      try await PlatformProcess.with(
        files: ["martlet.yaml": yaml, "train.py": code, "behaviour.txt": "0.5"],
        environment: ShopProject.environment.merging([
          "MARTLET_SERVING_ROLLOUT_INTERVAL": "300ms"
        ]) { $1 }
      ) { platform in
        let answer = try await platform.rest.apply(yaml)
        guard answer.status == 200 else { throw Refused(request: "apply", answer: answer) }
        try await ShopProject.feed(platform.rest)
        _ = try await platform.rest.train("churn")
        try await platform.rest.promote("churn", 1)
        try await body(platform)
      }
    }

    private static func next(_ behaviour: String, of platform: PlatformProcess) async throws {
      try platform.folder.write(behaviour, to: "project/behaviour.txt")
      let job = try await platform.rest.train("churn")
      #expect(job["state"]?.string == "COMPLETED", "\(job.text)")
    }

    /// What callers saw, by version.
    private final class Seen: Sendable {
      private let state = Mutex((answers: [Int64: [JSON]](), failures: [String](), isDone: false))

      var isDone: Bool { state.withLock { $0.isDone } }
      var failures: [String] { state.withLock { $0.failures } }
      func finish() { state.withLock { $0.isDone = true } }
      func count(of version: Int64) -> Int { state.withLock { $0.answers[version]?.count ?? 0 } }

      /// Value and version of every answer belong together.
      func take(_ answer: Answer, values: [Int64: Double]) {
        state.withLock { state in
          guard answer.status == 200, let version = answer["version"]?.int else {
            return state.failures.append("\(answer)")
          }
          let value = answer["predictions"]?.array?.first?["value"]
          #expect(value?.number == values[version], "\(answer)")
          state.answers[version, default: []].append(value ?? .null)
        }
      }
    }

    private static func load(
      _ rest: RESTClient, _ seen: Seen, values: [Int64: Double],
      until body: () async throws -> Void
    ) async throws {
      try await withThrowingTaskGroup(of: Void.self) { group in
        for lane in 0..<4 {
          group.addTask {
            var customer = lane
            while !seen.isDone {
              let answer = try await rest.predict("churn", #"{"customer_id": \#(customer % 300)}"#)
              seen.take(answer, values: values)
              customer += 4
            }
          }
        }
        do { try await body() } catch {
          seen.finish()
          throw error
        }
        seen.finish()
        try await group.waitForAll()
      }
    }

    @Test("a good version goes to its share of keys, and is promoted by the rule with the evidence")
    func promotes() async throws {
      try await Self.with(rollout: Self.rule) { platform in
        let rest = platform.rest
        try await Self.next("0.5", of: platform)
        let stage = try await rest.okGet("/api/v1/models/churn/versions/2")["stage"]
        #expect(stage == .string("canary") || stage == .string("production"))
        let seen = Seen()
        try await Self.load(rest, seen, values: [1: 0.5, 2: 0.5]) {
          try await waitUntil("version 2 was promoted", within: .seconds(120)) {
            try await rest.okGet("/api/v1/models/churn")["serving"]?.int == 2
          }
        }
        #expect(seen.failures == [])
        #expect(seen.count(of: 1) > 300 && seen.count(of: 2) > 100)
        let rollout = try await rest.okGet("/api/v1/models/churn/rollout")
        let decisions = rollout["decisions"]?.array ?? []
        #expect(decisions.map { $0["decision"]?.string } == ["promoted", "started"], "\(rollout)")
        #expect(decisions.first?["who"]?.string == "rollout")
        let calls = decisions.first?["evidence"]?["evidence"]?["canary"]?["requests"]?.int ?? 0
        #expect(calls >= 300, "\(rollout.text)")
        let text = try await platform.martlet("models", "rollout", "churn")
        #expect(text.output.contains("promoted") && text.output.contains("requests; error_rate"))
        // Every key kept its side: in the log no key has both versions before the promotion.
        let both = try await rest.count(
          """
          SELECT count(*) FROM (SELECT entity_keys FROM model_logs WHERE route IN ('canary', 'production')
            AND route_why <> 'no canary runs' GROUP BY entity_keys HAVING count(DISTINCT route) > 1)
          """)
        #expect(both == 0)
      }
    }

    @Test("a failing version is rolled back by the rule, and production answers all keys again")
    func rollsBack() async throws {
      try await Self.with(rollout: Self.rule) { platform in
        let rest = platform.rest
        try await Self.next("fragile", of: platform)
        try platform.folder.write("", to: "project/broken")
        let seen = Seen()
        try await Self.load(rest, seen, values: [1: 0.5, 2: 0.5]) {
          try await waitUntil("version 2 was rolled back", within: .seconds(120)) {
            try await rest.okGet("/api/v1/models/churn/versions/2")["stage"]?.string == "archived"
          }
        }
        // Callers were told by whom, and nobody was told anything else.
        #expect(!seen.failures.isEmpty)
        #expect(seen.failures.allSatisfy { $0.contains("no table of this season") })
        let newest = try await rest.okGet("/api/v1/models/churn/rollout")["decisions"]?.array?.first
        #expect(newest?["decision"]?.string == "rolled_back")
        #expect(newest?["why"]?.string?.contains("error_rate") == true, "\(newest?.text ?? "")")
        let after = try await rest.predict("churn", #"{"customer_id": 5}"#)
        #expect(after["version"]?.int == 1 && after["route"]?.string == "production", "\(after)")
      }
    }

    @Test("predictions that are of another kind roll a canary back")
    func driftRollsBack() async throws {
      try await Self.with(rollout: Self.rule) { platform in
        let rest = platform.rest
        try await Self.next("0.9", of: platform)
        let seen = Seen()
        try await Self.load(rest, seen, values: [1: 0.5, 2: 0.9]) {
          try await waitUntil("version 2 was rolled back", within: .seconds(120)) {
            try await rest.okGet("/api/v1/models/churn/versions/2")["stage"]?.string == "archived"
          }
        }
        #expect(seen.failures == [])
        let newest = try await rest.okGet("/api/v1/models/churn/rollout")["decisions"]?.array?.first
        #expect(newest?["decision"]?.string == "rolled_back")
        #expect(newest?["why"]?.string?.contains("drift") == true, "\(newest?.text ?? "")")
        #expect(try await rest.okGet("/api/v1/models/churn")["serving"]?.int == 1)
      }
    }

    @Test("a canary by hand keeps its keys over a restart and a greater share; rollback ends it")
    func byHand() async throws {
      try await Self.with(rollout: nil) { platform in
        var rest = platform.rest
        try await Self.next("0.7", of: platform)
        let started = try await platform.martlet("models", "canary", "churn", "2", "--share", "20%")
        #expect(started.output.contains("churn version 2 (canary)"), "\(started)")
        let first = try await Self.keys(rest, of: 2)
        #expect((20...100).contains(first.count))
        _ = try await platform.stop()
        try await platform.start()
        rest = platform.rest
        #expect(try await Self.keys(rest, of: 2) == first)
        _ = try await rest.ok("/api/v1/models/churn/versions/2/canary", #"{"share": "60%"}"#)
        let more = try await Self.keys(rest, of: 2)
        #expect(first.isSubset(of: more) && more.count > first.count)
        let back = try await platform.martlet("models", "rollback", "churn")
        #expect(back.output.contains("churn version 1 (production)"), "\(back)")
        try await waitUntil("version 1 answers all keys") {
          try await Self.mixed(rest).allSatisfy { $0["version"]?.int == 1 }
        }
        let refused = try await rest.post(
          "/api/v1/models/churn/versions/2/canary", #"{"share": 2}"#)
        #expect(refused.status == 400, "\(refused)")
      }
    }

    /// One call with all customers.
    private static func mixed(_ rest: RESTClient) async throws -> [JSON] {
      let rows = (0..<300).map { #"{"customer_id": \#($0)}"# }.joined(separator: ",")
      let answer = try await rest.ok("/api/v1/models/churn/predict", "{\"rows\": [\(rows)]}")
      return answer["predictions"]?.array ?? []
    }

    /// The customers that a version answers, once it is loaded.
    private static func keys(_ rest: RESTClient, of version: Int64) async throws -> Set<Int> {
      var found: Set<Int> = []
      try await waitUntil("version \(version) answers", within: .seconds(60)) {
        let predictions = try await mixed(rest)
        guard !predictions.contains(where: { $0["route"]?.string == "fallback" }) else {
          return false
        }
        for prediction in predictions {
          let expected = prediction["version"]?.int == 2 ? 0.7 : 0.5
          #expect(prediction["value"]?.number == expected)
        }
        found = Set(predictions.indices.filter { predictions[$0]["version"]?.int == version })
        return !found.isEmpty
      }
      return found
    }

    @Test("a shadow answers nobody; what it would have said is in the log beside what was said")
    func shadow() async throws {
      try await Self.with(rollout: nil) { platform in
        let rest = platform.rest
        try await Self.next("0.75", of: platform)
        let started = try await platform.martlet("models", "shadow", "churn", "2")
        #expect(started.output.contains("churn version 2 (shadow)"), "\(started)")
        try await waitUntil("the shadow was mirrored to", within: .seconds(60)) {
          let answer = try await rest.predict("churn", #"{"customer_id": 5}"#)
          #expect(answer["version"]?.int == 1)
          return try await rest.count(
            "SELECT count(*) FROM model_logs WHERE route = 'shadow' AND model_version = '2'") > 0
        }
        let rows = try await rest.rows(
          """
          SELECT DISTINCT model_result, difference, other_version FROM model_logs WHERE route = 'shadow'
          """)
        #expect(rows == [[.double(0.75), .double(0.25), .string("1")]], "\(rows)")
      }
    }

    @Test("latencies are told by version and route over REST, the command line and metrics")
    func latencies() async throws {
      try await Self.with(rollout: nil) { platform in
        let rest = platform.rest
        for customer in 0..<20 {
          _ = try await rest.predict("churn", #"{"customer_id": \#(customer)}"#)
        }
        let answer = try await rest.okGet("/api/v1/models/churn/latency")
        let series = answer["series"]?.array?.first
        #expect(series?["version"]?.int == 1 && series?["route"]?.string == "production")
        let total = series?["windows"]?.array?.first {
          $0["window"]?.string == "5m" && $0["part"]?.string == "total"
        }
        #expect(total?["count"]?.int == 20, "\(answer.text)")
        let p50 = total?["p50_us"]?.int ?? 0
        #expect(p50 > 0 && p50 <= total?["p99_us"]?.int ?? 0)
        #expect(answer["slow"]?.array?.count == 20)
        let text = try await platform.martlet("models", "latency", "churn")
        #expect(text.output.contains("hydrate") && text.output.contains("1h"), "\(text)")
        let metrics = try await rest.get("/metrics").text
        #expect(
          metrics.contains(
            #"martlet_predict_seconds_bucket{model="churn",version="1",route="production",stage="total""#
          ))
      }
    }
  }
}
