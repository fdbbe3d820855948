import Core
import Foundation
import Synchronization
import TestKit
import Testing
import Wire

extension WholeProgram {
  /// From events to a model that serves, is watched and trains itself again.
  @Suite struct ModelLifeTests {
    @Test(
      "a model is trained, promoted and answers over REST and gRPC",
      arguments: ["scikit", "lightgbm"])
    func trainAndPredict(library: String) async throws {
      try await ShopProject.with(models: [ShopProject.model("churn", library)]) { platform in
        let rest = platform.rest
        try await ShopProject.feed(rest)
        let job = try await rest.train("churn")
        #expect(job["state"]?.string == "COMPLETED", "\(job.text)")
        let version = try await rest.okGet("/api/v1/models/churn/versions/1")
        #expect(version["training_rows"]?.int == 1_200, "\(version.text)")
        #expect(version["stage"]?.string == "registered")
        #expect((version["metrics"]?["roc_auc"]?.number ?? 0) > 0.6, "\(version.text)")
        let engine = version["engine"]
        #expect(
          engine?["kind"]?.string == (library == "scikit" ? "worker" : library), "\(version.text)")
        let why = "sklearn.HistGradientBoostingClassifier.predict_proba is none of the models"
        #expect(engine?["why"]?.string?.hasPrefix(why) ?? (library == "lightgbm"))
        try await rest.promote("churn", 1)
        try await Self.checkAnswers(platform)
        try await Self.checkLog(platform)
      }
    }

    @Test(
      "a version is archived over gRPC, REST and the command line, the one in production is not")
    func archive() async throws {
      try await ShopProject.with(models: [ShopProject.model("churn", "constant")]) { platform in
        let rest = platform.rest
        try await ShopProject.feed(rest)
        for _ in 0..<3 { _ = try await rest.train("churn") }
        try await rest.promote("churn", 1)
        let wire = try await platform.withGRPC { client in
          var request = Martlet_V1_ArchiveRequest()
          request.model = "churn"
          request.version = 2
          return try await client.registry.archive(request)
        }
        #expect(wire.version == 2 && wire.stage == "archived")
        let refused = try await rest.post("/api/v1/models/churn/versions/1/archive")
        #expect(refused.status == 412, "\(refused)")
        #expect(refused.error.contains("martlet models promote churn 3"), "\(refused)")
        let command = try await platform.martlet("models", "archive", "churn", "3", "--why", "old")
        #expect(command.output.contains("churn version 3 (archived)"), "\(command)")
        let again = try await platform.martlet("models", "promote", "churn", "2")
        #expect(again.output.contains("churn version 2 (production)"), "\(again)")
        let list = try await platform.martlet("models", "list")
        #expect(list.output.components(separatedBy: "archived").count == 3, "\(list)")
      }
    }

    private static func checkAnswers(_ platform: PlatformProcess) async throws {
      let answer = try await platform.rest.post(
        "/api/v1/models/churn/predict",
        #"{"request_id": "mine", "rows": [{"customer_id": 5}, {"customer_id": 987654}]}"#)
      #expect(answer.status == 200, "\(answer)")
      #expect(answer["version"]?.int == 1)
      #expect(answer["request_id"]?.string == "mine")
      let predictions = answer["predictions"]?.array ?? []
      try #require(predictions.count == 2)
      let value = predictions[0]["value"]?.number ?? -1
      #expect((0...1).contains(value))
      let known = predictions[0]["features"]?["activity.last_amount"]
      #expect(known?["status"]?.string == "present", "\(answer)")
      #expect(known?["event_timestamp"]?.string?.hasPrefix("2026-02-") == true, "\(answer)")
      let stranger = predictions[1]["features"]?["activity.last_amount"]
      #expect(stranger?["status"]?.string == "not_found", "\(answer)")
      #expect(stranger?["value"] == .null)

      let wire = try await platform.withGRPC { client in
        var request = Martlet_V1_PredictRequest()
        request.model = "churn"
        request.rows = [wireRow(["customer_id": 5])]
        return try await client.serving.predict(request)
      }
      #expect(wire.version == 1)
      #expect(wire.predictions.first?.value == value)
      let named = wire.predictions.first?.features.first { $0.name == "activity.last_amount" }
      #expect(named?.value.status == .present)
      #expect(named?.value.value.doubleValue == known?["value"]?.number)
      #expect(wire.latency.total > 0)
    }

    private static func checkLog(_ platform: PlatformProcess) async throws {
      var rows: [[JSON]] = []
      try await waitUntil("the prediction was logged") {
        rows = try await platform.rest.rows(
          """
          SELECT model_id, model_version, stage, entity_keys, model_inputs, model_result, model_error, event_datetime, total_us
          FROM model_logs WHERE starts_with(request_id, 'mine') ORDER BY request_id
          """)
        return rows.count == 2
      }
      let first = rows[0]
      #expect(first[0] == .string("churn"))
      #expect(first[1].string == "1" || first[1].int == 1)
      #expect(first[2] == .string("production"))
      #expect(first[3].string?.contains("5") == true)
      #expect(first[4].string?.contains("activity.last_amount") == true, "\(first[4])")
      #expect(first[5].number != nil)
      #expect(first[6] == .null)
      #expect(first[7].string?.hasPrefix("2026-03-01T00:00:00") == true)
      #expect((first[8].int ?? 0) > 0)
    }

    @Test("a prediction before any version is promoted says what to do")
    func nothingPromoted() async throws {
      try await ShopProject.with(models: [ShopProject.model("churn", "constant")]) { platform in
        let untrained = try await platform.rest.predict("churn", #"{"customer_id": 5}"#)
        #expect(untrained.status == 412, "\(untrained)")
        #expect(untrained.error.contains("martlet train churn"), "\(untrained.error)")
        let misspelt = try await platform.rest.predict("churm", #"{"customer_id": 5}"#)
        #expect(misspelt.status == 404)
        #expect(misspelt.error.contains("'churn'"), "\(misspelt.error)")
      }
    }

    @Test("training without rows fails with what to do, and is not tried again")
    func nothingToTrainOn() async throws {
      try await ShopProject.with(models: [ShopProject.model("churn", "constant")]) { platform in
        let job = try await platform.rest.train("churn")
        #expect(job["state"]?.string == "FAILED", "\(job.text)")
        #expect(job["error"]?.string?.contains("nothing to train") == true, "\(job.text)")
        #expect(job["attempt"]?.int == 1, "\(job.text)")
      }
    }

    @Test("the same idempotency key files one job")
    func idempotency() async throws {
      try await ShopProject.with(models: [ShopProject.model("churn", "constant")]) { platform in
        let ids = try await platform.withGRPC { client in
          var request = Martlet_V1_TriggerJobRequest()
          request.model = "churn"
          request.idempotencyKey = "only-once"
          let first = try await client.orchestrator.triggerJob(request)
          _ = try await platform.rest.finished(first.id)
          return [first.id, try await client.orchestrator.triggerJob(request).id]
        }
        #expect(ids[0] == ids[1])
        #expect(try await platform.rest.okGet("/api/v1/jobs")["jobs"]?.array?.count == 1)
      }
    }

    @Test(
      "drift files one retrain job, and its version takes over while predictions go on, none of which fails"
    )
    func ringTurns() async throws {
      let model = ShopProject.model(
        "churn", "lightgbm",
        drift: "{window: 1d, retrain_above: 0.25, cool_down: 30d, minimum_rows: 200}")
      let environment = ["MARTLET_MONITORING_INTERVAL": "300ms"]
      try await ShopProject.with(models: [model], environment: environment) { platform in
        let rest = platform.rest
        try await ShopProject.feed(rest)
        _ = try await rest.train("churn")
        try await rest.promote("churn", 1)
        try await Self.shiftBehaviour(rest)
        let tally = Tally()
        try await withThrowingTaskGroup(of: Void.self) { group in
          for lane in 0..<4 {
            group.addTask { try await Self.predictUntilDone(rest, lane, tally) }
          }
          try await waitUntil("enough was predicted") { tally.answers > 400 }
          try await rest.moveClock("2026-03-01T01:00:00Z")
          try await waitUntil("version 2 served", within: .seconds(120)) {
            try await rest.okGet("/api/v1/models/churn")["serving"]?.int == 2
          }
          let until = tally.answers + 400
          try await waitUntil("version 2 answered") { tally.answers > until }
          // Its own predictions drift as much: only the cool-down keeps a second retrain away.
          try await rest.moveClock("2026-03-01T02:00:00Z")
          tally.finish()
          try await group.waitForAll()
        }
        #expect(tally.failures == [])
        #expect(tally.versions == [1, 2])
        try await Self.checkOneRetrain(rest)
        try await Self.checkDriftReport(rest)
      }
    }

    /// Everybody spends ten times as much.
    private static func shiftBehaviour(_ rest: RESTClient) async throws {
      let lines = (0..<300).flatMap { customer in
        (0..<3).map { number in
          ShopProject.event(
            "s\(customer)-\(number)", customer: customer, amount: 400 + Double(customer % 7),
            at: "2026-02-28T2\(number):00:00Z")
        }
      }
      let answer = try await rest.push("events", lines.joined(separator: "\n"))
      #expect(answer["accepted"]?.int == 900, "\(answer)")
    }

    /// What the predictions of a test came to.
    private final class Tally: Sendable {
      private struct Counts {
        var answers = 0
        var failures: [String] = []
        var versions: Set<Int64> = []
        var isFinished = false
      }

      private let counts = Mutex(Counts())

      var answers: Int { counts.withLock { $0.answers } }
      var failures: [String] { counts.withLock { $0.failures } }
      var versions: Set<Int64> { counts.withLock { $0.versions } }
      var isFinished: Bool { counts.withLock { $0.isFinished } }

      func finish() { counts.withLock { $0.isFinished = true } }

      func take(_ answer: Answer) {
        counts.withLock { counts in
          counts.answers += 1
          if let version = answer["version"]?.int { counts.versions.insert(version) }
          if answer.status != 200 { counts.failures.append("\(answer)") }
        }
      }
    }

    private static func predictUntilDone(
      _ rest: RESTClient, _ lane: Int, _ tally: Tally
    ) async throws {
      var customer = lane
      while !tally.isFinished {
        tally.take(try await rest.predict("churn", #"{"customer_id": \#(customer % 300)}"#))
        customer += 4
      }
    }

    private static func checkOneRetrain(_ rest: RESTClient) async throws {
      let looks = "SELECT count(DISTINCT created_at) FROM drift_scores"
      let seen = try await rest.count("SELECT count(*) FROM drift_scores")
      // The clock stands still, so further looks show as rows.
      try await waitUntil("drift was looked at again") {
        try await rest.count("SELECT count(*) FROM drift_scores") > seen + 20
      }
      #expect(try await rest.count(looks) >= 1)
      let jobs = try await rest.okGet("/api/v1/jobs")["jobs"]?.array ?? []
      let retrains = jobs.filter { $0["reason"]?.string?.hasPrefix("drift") == true }
      #expect(retrains.count == 1, "\(jobs)")
      #expect(retrains.first?["state"]?.string == "COMPLETED")
      #expect(retrains.first?["version"]?.int == 2)
      let versions = try await rest.okGet("/api/v1/models/churn")["versions"]?.array ?? []
      #expect(versions.count == 2)
      let production = versions.filter { $0["stage"]?.string == "production" }
      #expect(production.map { $0["version"]?.int } == [2])
    }

    private static func checkDriftReport(_ rest: RESTClient) async throws {
      let report = try await rest.ok("/api/v1/models/churn/drift?window=1d")
      #expect((report["rows"]?.int ?? 0) > 0, "\(report.text)")
      #expect((report["score"]?.number ?? 0) > 0.25, "\(report.text)")
      let features = report["features"]?.array ?? []
      #expect(features.count == 5, "four features and the prediction: \(report.text)")
      let metrics = try await rest.get("/metrics").text
      #expect(metrics.contains("martlet_drift_score{"))
    }

    @Test(
      "the metrics of a platform that has done everything pass promtool",
      .enabled(if: Promtool.isThere, Promtool.absent))
    func metrics() async throws {
      try await ShopProject.with(models: [ShopProject.model("churn", "constant")]) { platform in
        let rest = platform.rest
        try await ShopProject.feed(rest)
        _ = try await rest.push("events", #"{"customer_id": "bad"}"#)
        _ = try await rest.train("churn")
        try await rest.promote("churn", 1)
        _ = try await rest.predict("churn", #"{"customer_id": 5}"#)
        _ = try await rest.online(["activity.events_7d"], #"{"customer_id": 5}"#)
        try await waitUntil("the prediction was logged") {
          try await rest.count("SELECT count(*) FROM model_logs") == 1
        }
        try await rest.moveClock("2026-03-01T01:00:00Z")
        _ = try await rest.ok("/api/v1/models/churn/drift")
        let text = try await rest.get("/metrics").text
        let result = try await ChildProgram.run(
          Promtool.path, ["check", "metrics"], environment: [:], directory: platform.folder.path,
          input: text)
        #expect(result.status == 0 && result.errors.isEmpty, "\(result)")
        for name in [
          "martlet_predict_seconds_bucket{", "martlet_ingest_events_total{",
          "martlet_quarantined_total{", "martlet_drift_score{",
          "martlet_online_read_seconds_count{",
          "martlet_ingest_commit_seconds_bucket{kind=\"push\"",
          "martlet_ingest_commit_seconds_count{kind=\"file\"} 2",
          "martlet_jobs_total{", "martlet_predictions_total{",
        ] {
          #expect(text.contains(name), "\(name)")
        }
        #expect(text.contains(#"stage="compute""#))
      }
    }
  }

  enum Promtool {
    static let path = "/usr/bin/promtool"
    static let isThere = FileManager.default.isExecutableFile(atPath: path)
    static let absent: Comment = "no promtool: it is in Debian's package prometheus"
  }
}
