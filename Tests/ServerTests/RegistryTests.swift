import Core
import Foundation
import NIOCore
import TestKit
import Testing
import Wire

extension WholeProgram {
  /// Stages, aliases, tags and history of models, over every door but MLflow's, which its own client tests.
  @Suite struct RegistryTests {
    private static func with(
      versions: Int, _ body: @escaping @Sendable (PlatformProcess) async throws -> Void
    ) async throws {
      try await ShopProject.with(models: [ShopProject.model("churn", "constant")]) { platform in
        try await ShopProject.feed(platform.rest)
        for _ in 0..<versions { _ = try await platform.rest.train("churn") }
        try await body(platform)
      }
    }

    @Test("stages, aliases and tags are set over REST, and each change is in the history")
    func rest() async throws {
      try await Self.with(versions: 2) { platform in
        let rest = platform.rest
        let canary = try await rest.ok(
          "/api/v1/models/churn/versions/1/stage",
          #"{"stage": "canary", "who": "ann", "why": "a try"}"#)
        #expect(canary["stage"]?.string == "canary", "\(canary.text)")
        let named = try await rest.send(
          .PUT, "/api/v1/models/churn/aliases/champion",
          .bytes(ByteBuffer(string: #"{"version": 2, "who": "bob", "why": "better"}"#)))
        #expect(
          named["stage"]?.string == "production" && named["aliases"]?.text == #"["champion"]"#)
        let tagged = try await rest.send(
          .PATCH, "/api/v1/models/churn/versions/2/tags",
          .bytes(ByteBuffer(string: #"{"reviewed": "yes", "old": null}"#)))
        #expect(tagged["tags"]?.text == #"{"reviewed":"yes"}"#, "\(tagged)")
        let version = try await rest.okGet("/api/v1/models/churn/versions/2")
        #expect(version["aliases"]?.text == #"["champion"]"#)
        #expect(version["signature"]?.array?.first?["index"]?.int == 0, "\(version.text)")
        #expect(version["signature"]?.array?.first?["type"]?.string != nil)
        let history = try await rest.okGet("/api/v1/models/churn/transitions")
        let changes = history["transitions"]?.array ?? []
        #expect(
          changes.map { $0["to"]?.string } == ["registered", "registered", "canary", "production"])
        #expect(changes.last?["who"]?.string == "bob")
        #expect(changes.last?["why"]?.string == "alias champion was set: better")
      }
    }

    @Test("mistakes of the registry say what to do")
    func mistakes() async throws {
      try await Self.with(versions: 1) { platform in
        let rest = platform.rest
        let stage = try await rest.post(
          "/api/v1/models/churn/versions/1/stage", #"{"stage": "prodution"}"#)
        #expect(
          stage.status == 400 && stage.error.contains("did you mean 'production'?"), "\(stage)")
        let missing = try await rest.post("/api/v1/models/churn/versions/1/stage", "{}")
        #expect(missing.status == 400 && missing.error.contains("canary"), "\(missing)")
        let version = try await rest.post(
          "/api/v1/models/churn/versions/8/stage", #"{"stage": "staging"}"#)
        #expect(version.status == 404 && version.error.contains("its versions are 1"), "\(version)")
        let model = try await rest.get("/api/v1/registry/models/churm")
        #expect(model.status == 404 && model.error.contains("did you mean 'churn'?"), "\(model)")
        let nobody = try await rest.get("/api/v1/models/nothing/transitions")
        #expect(nobody.status == 404, "\(nobody)")
        let tag = try await rest.send(
          .PATCH, "/api/v1/models/churn/tags", .bytes(ByteBuffer(string: #"{"team": 5}"#)))
        #expect(tag.status == 400 && tag.error.contains("must be a text or null"), "\(tag)")
      }
    }

    @Test("the command line sets stages, aliases and tags and shows the history")
    func commands() async throws {
      try await Self.with(versions: 2) { platform in
        for (arguments, part) in [
          (["stage", "churn", "1", "staging", "--why", "a try"], "churn version 1 (staging)"),
          (["alias", "churn", "champion", "2"], "churn version 2 (production), champion"),
          (["alias", "churn", "best", "1"], "churn version 1 (staging), best"),
          (["alias", "churn", "best", "--delete"], "churn has no alias best any more"),
          (["tag", "churn", "team=growth", "owner=ann"], "owner=ann, team=growth"),
          (["tag", "churn", "--version", "1", "draft=yes"], "churn version 1: draft=yes"),
          (["tag", "churn", "--version", "1", "--delete", "draft"], "churn version 1: no tags"),
          (["registered"], "champion → 2"), (["history", "churn"], "registered → staging"),
          (["history", "churn"], "alias best deleted"), (["history", "churn"], "a try"),
        ] {
          let done = try await platform.martlet(["models"] + arguments)
          #expect(done.status == 0 && done.output.contains(part), "\(arguments): \(done)")
        }
        let refused = try await platform.martlet([
          "models", "alias", "churn", "champion", "--delete",
        ])
        #expect(
          refused.status == 1 && refused.errors.contains("set it on another version"), "\(refused)")
        let unclear = try await platform.martlet(["models", "alias", "churn", "best"])
        #expect(unclear.status == 2, "\(unclear)")
      }
    }

    @Test("stages, aliases, tags and history are the same over gRPC")
    func grpc() async throws {
      try await Self.with(versions: 2) { platform in
        try await platform.withGRPC { client in
          let registry = client.registry
          let staged = try await registry.setStage(
            .with {
              $0.model = "churn"
              $0.version = 1
              $0.stage = "shadow"
              $0.who = "ann"
            })
          #expect(staged.stage == "shadow" && staged.canServe)
          let named = try await registry.setAlias(
            .with {
              $0.model = "churn"
              $0.alias = "champion"
              $0.version = 2
            })
          #expect(named.stage == "production")
          _ = try await registry.changeTags(
            .with {
              $0.model = "churn"
              $0.set = ["team": "growth"]
            })
          let models = try await registry.listRegistered(.with { $0.model = "churn" }).models
          #expect(models.map(\.tags) == [["team": "growth"]])
          #expect(models.map(\.aliases) == [["champion": 2]])
          let history = try await registry.listTransitions(.with { $0.model = "churn" }).transitions
          #expect(history.map(\.to) == ["registered", "registered", "shadow", "production"])
          #expect(history.map(\.who).suffix(2) == ["ann", "api"])
        }
      }
    }

    @Test("model_metadata of the warehouse follows the registry, archived as deprecated")
    func metadata() async throws {
      try await Self.with(versions: 2) { platform in
        try await platform.rest.promote("churn", 1)
        try await platform.rest.promote("churn", 2)
        let sql = """
          SELECT version, status, artifact_type, expected_features[1].index, expected_features[1].name,
            len(expected_features), azure_location FROM model_metadata WHERE model_id = 'churn' ORDER BY version
          """
        var rows: [[JSON]] = []
        try await waitUntil("the warehouse followed") {
          rows = try await platform.rest.rows(sql)
          return rows.map { $0[1].string } == ["deprecated", "production"]
        }
        let version = try await platform.rest.okGet("/api/v1/models/churn/versions/2")
        let signature = version["signature"]?.array ?? []
        #expect(rows[1][3].int == 0)
        #expect(rows[1][4] == signature.first?["name"])
        #expect(rows[1][5].int == Int64(signature.count))
        #expect(rows[1][6].string == "sha256:\(version["artifact"]?.string ?? "")")
      }
    }
  }
}
