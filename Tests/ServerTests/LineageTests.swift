import Core
import Foundation
import TestKit
import Testing
import Wire

extension WholeProgram {
  /// What was made from what, of a platform that has trained and predicted.
  @Suite struct LineageTests {
    private func ids(_ answer: JSON) -> Set<String> {
      Set((answer["nodes"]?.array ?? []).compactMap { $0["id"]?.string })
    }

    private func attributes(_ answer: JSON, of id: String) -> JSON? {
      answer["nodes"]?.array?.first { $0["id"]?.string == id }?["attributes"]
    }

    /// A platform with a version that serves and has answered one request.
    private func withServedModel(
      _ body: (PlatformProcess, _ yaml: String) async throws -> Void
    ) async throws {
      let model = ShopProject.model("churn", "constant")
      try await ShopProject.with(models: [model]) { platform in
        let rest = platform.rest
        try await ShopProject.feed(rest)
        let job = try await rest.train("churn")
        #expect(job["state"]?.string == "COMPLETED", "\(job.text)")
        try await rest.promote("churn", 1)
        let answer = try await rest.post(
          "/api/v1/models/churn/predict",
          #"{"request_id": "mine", "rows": [{"customer_id": 5}]}"#)
        #expect(answer.status == 200, "\(answer)")
        try await body(platform, ShopProject.definitions + "models:\n" + model)
      }
    }

    @Test(
      "a version leads back to its job, training set, features, columns and code; so does a prediction"
    )
    func versionAndPrediction() async throws {
      try await withServedModel { platform, _ in
        let rest = platform.rest
        let version = try await rest.okGet("/api/v1/lineage/churn%401?direction=upstream")
        let made = ids(version)
        for id in [
          "version:churn@1", "dataset:churn@1", "model:churn", "code:train.py:constant",
          "derived:activity.mean_7d", "feature:activity.spend_7d", "view:activity",
          "entity:customer", "column:events.amount", "column:outcomes.churned", "source:events",
          "source:outcomes",
        ] { #expect(made.contains(id), "\(id) of \(made.sorted())") }
        #expect(!made.contains("column:events.kind"), "no feature of the model reads it")
        #expect(made.contains { $0.hasPrefix("job:train-churn-") })
        let set = try #require(attributes(version, of: "dataset:churn@1"))
        #expect(set["rows"]?.string == "1200", "\(set.text)")
        let spine = set["spine_from_outcomes"]?.string ?? ""
        #expect(spine.hasPrefix("1200 events of 2026-0"), "\(set.text)")
        let code = attributes(version, of: "code:train.py:constant")?["digest"]?.string
        #expect(code?.count == 64)
        let stored = try await rest.okGet("/api/v1/models/churn/versions/1")
        #expect(stored["training_code"]?.array?.first?["digest"]?.string == code, "\(stored.text)")
        #expect(stored["training_events"]?.array?.count == 2, "\(stored.text)")

        let prediction = try await rest.okGet("/api/v1/lineage/prediction%3Amine")
        #expect(ids(prediction).isSuperset(of: made))
        let edges = prediction["edges"]?.array ?? []
        let read = edges.first {
          $0["to"]?.string == "prediction:mine"
            && $0["from"]?.string == "feature:activity.last_amount"
        }
        #expect(
          read?["role"]?.string?.hasPrefix("present of 2026-02-") == true, "\(prediction.text)")
        let missing = try await rest.get("/api/v1/lineage/prediction%3Aother")
        #expect(missing.status == 404)
      }
    }

    @Test("everything that depends on a column is found, over gRPC and by the command line alike")
    func downstream() async throws {
      try await withServedModel { platform, _ in
        let reply = try await platform.withGRPC { client in
          var request = Martlet_V1_LineageRequest()
          request.name = "events.amount"
          request.direction = "downstream"
          return try await client.features.lineage(request)
        }
        #expect(reply.root == "column:events.amount")
        let found = Set(reply.nodes.map(\.id))
        #expect(
          found.isSuperset(of: [
            "feature:activity.last_amount", "feature:activity.spend_7d", "derived:activity.mean_7d",
            "model:churn", "dataset:churn@1", "version:churn@1",
          ]), "\(found.sorted())")
        #expect(!found.contains("feature:activity.buys_7d"))
        let json = try await platform.martlet(
          "lineage", "events.amount", "--downstream", "--format", "json")
        #expect(json.status == 0, "\(json)")
        #expect(ids(try JSON(parsing: Array(json.output.utf8))) == found)
        let text = try await platform.martlet("lineage", "events.amount", "--downstream")
        #expect(
          text.output.hasPrefix("column events.amount: type double\nused by:\n├─ "), "\(text)")
        let dot = try await platform.martlet("lineage", "churn@production", "--format", "dot")
        #expect(dot.output.hasPrefix("digraph lineage {\n"), "\(dot)")
        let misspelt = try await platform.martlet("lineage", "events.amont")
        #expect(misspelt.status == 1)
        #expect(misspelt.errors.contains("did you mean 'events.amount'?"), "\(misspelt)")
      }
    }

    @Test("a version keeps the definitions that it was trained under when they change")
    func olderDefinitions() async throws {
      try await withServedModel { platform, yaml in
        let rest = platform.rest
        let answer = try await rest.apply(
          yaml.replacingOccurrences(
            of: "spend_7d:    {sum: amount, window: 7d}",
            with: "spend_7d:    {sum: amount, window: 5d}"))
        #expect(answer.status == 200, "\(answer)")
        #expect(answer["text"]?.string?.contains("was trained on the old feature") == true)
        let made = ids(try await rest.okGet("/api/v1/lineage/churn%401?direction=upstream"))
        #expect(made.contains("feature:activity.spend_7d#1"), "\(made.sorted())")
        #expect(!made.contains("feature:activity.spend_7d"))
        #expect(made.contains("feature:activity.events_7d"), "what did not change is shared")
      }
    }

    @Test("apply refuses to take a feature from a version that serves, and says who uses it")
    func refusal() async throws {
      try await withServedModel { platform, yaml in
        let rest = platform.rest
        let without =
          yaml.replacingOccurrences(of: "      last_amount: {latest: amount, ttl: 30d}\n", with: "")
          .replacingOccurrences(of: "[activity.last_amount, ", with: "[")
        let plan = try await rest.ok(
          "/api/v1/definitions/plan", JSON.object(["yaml": .string(without)]).text)
        #expect(
          plan["plan"]?["breakages"]?.array?.first?["breaks"]?.string
            == "model 'churn' version 1 (production)", "\(plan.text)")
        let refused = try await rest.apply(without)
        #expect(refused.status == 412, "\(refused)")
        #expect(refused.error.contains("martlet models promote churn VERSION"), "\(refused.error)")
        #expect(try await rest.predict("churn", #"{"customer_id": 5}"#).status == 200)
      }
    }

    @Test("an attempt that a kill cut off is told as aborted at the next start, once")
    func abortedAttempt() async throws {
      try await ShopProject.with(models: [ShopProject.model("churn", "slow")]) { platform in
        try await ShopProject.feed(platform.rest)
        let job = try await platform.rest.ok("/api/v1/models/churn/train")
        let id = job["id"]?.string ?? ""
        try await waitUntil("the training began") {
          FileManager.default.fileExists(atPath: platform.project + "/trainings")
        }
        try await waitUntil("its beginning was told") { told(platform, "train.churn").count == 1 }
        try await platform.crash()
        try await platform.start()
        #expect(try await platform.rest.finished(id)["state"]?.string == "COMPLETED")
        try await waitUntil("its end was told") { told(platform, "train.churn").count >= 4 }
        let events = told(platform, "train.churn")
        #expect(events.map { $0["eventType"]?.string } == ["START", "ABORT", "START", "COMPLETE"])
        let runs = events.map { $0["run"]?["runId"]?.string }
        #expect(runs[0] == runs[1] && runs[2] == runs[3] && runs[0] != runs[2])
      }
    }

    /// The events of a job in the platform's file.
    private func told(_ platform: PlatformProcess, _ job: String) -> [JSON] {
      let path = platform.data + "/openlineage/events.jsonl"
      let lines = (try? String(contentsOfFile: path, encoding: .utf8)) ?? ""
      return lines.split(separator: "\n").compactMap { try? JSON(parsing: Array($0.utf8)) }
        .filter { $0["job"]?["name"]?.string == job }
    }
  }
}
