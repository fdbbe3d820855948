import Core
import Foundation
import TestKit
import Testing

extension WholeProgram {
  /// Starting, stopping and standing in each other's way.
  @Suite struct ProcessLifeTests {
    @Test(
      "a port in use ends the start with status 1 and the setting's name",
      arguments: [("http", "server.http_port"), ("grpc", "server.grpc_port")])
    func portInUse(door: String, setting: String) async throws {
      try await PlatformProcess.with(files: [:]) { platform in
        let address = door == "http" ? platform.http : platform.grpc
        let port = address.split(separator: ":").last.map(String.init) ?? ""
        let other = try TemporaryFolder()
        defer { other.remove() }
        let result = try await platform.martlet(
          "up",
          environment: [
            "MARTLET_DATA_DIRECTORY": "\(other.path)/data",
            "MARTLET_SERVER_\(door.uppercased())_PORT": port,
          ])
        #expect(result.status == 1, "\(result)")
        #expect(result.errors.contains(setting), "\(result)")
        #expect(result.errors.contains(port), "\(result)")
        #expect(try await platform.rest.get("/health/ready").status == 200)
      }
    }

    @Test(
      "a second platform on the same data directory ends with status 1 and says which process holds it"
    )
    func sameDirectory() async throws {
      try await PlatformProcess.with(files: [:]) { platform in
        let result = try await platform.martlet("up")
        #expect(result.status == 1, "\(result)")
        #expect(result.errors.contains("\(platform.pid)"), "\(result)")
        #expect(
          result.errors.contains("warehouse.duckdb") || result.errors.contains(platform.data),
          "\(result)")
        #expect(try await platform.rest.get("/health/ready").status == 200)
        let status = try await platform.martlet("status", "--json")
        #expect(status.status == 0, "the first one is still found: \(status)")
      }
    }

    @Test(
      "SIGTERM under load: what is under way is answered, nothing acknowledged is lost, and the status is 0"
    )
    func drains() async throws {
      try await ShopProject.with { platform in
        let events = AcknowledgedEvents()
        let rest = platform.rest
        let status = try await withThrowingTaskGroup(of: Void.self) { group in
          for _ in 0..<8 { group.addTask { await events.produce(to: rest) } }
          try await waitUntil("the load ran") { events.batches > 40 }
          let status = try await platform.stop()
          try await group.waitForAll()
          return status
        }
        #expect(status == 0, "\(platform.log.suffix(2_000))")
        #expect(events.refusals.allSatisfy { $0.hasPrefix("503 ") }, "\(events.refusals)")
        try await platform.start()
        #expect(try await events.faults(platform.rest) == [])
      }
    }

    @Test(
      "a prediction that is under way when SIGTERM comes is answered", arguments: [SIGTERM, SIGINT])
    func finishesPrediction(signal: Int32) async throws {
      let models = [ShopProject.model("churn", "troubled")]
      try await ShopProject.with(models: models) { platform in
        let rest = platform.rest
        try await ShopProject.feed(rest)
        _ = try await rest.train("churn")
        try await rest.promote("churn", 1)
        _ = try await rest.push(
          "events",
          ShopProject.event("slow", customer: 9_000, amount: 997, at: "2026-02-28T23:00:00Z"))
        async let answer = rest.predict("churn", #"{"customer_id": 9000}"#)
        try await waitUntil("a worker was busy") {
          let workers = try await rest.okGet("/api/v1/status")["workers"]?.array ?? []
          return workers.contains { $0["state"]?.string == "busy" }
        }
        platform.send(signal)
        let found = try await answer
        #expect(found.status == 200, "\(found)")
        #expect(try await platform.exitStatus() == 0)
      }
    }

    @Test("a platform does what its roles say, and says which role is missing for the rest")
    func roles() async throws {
      let environment = ["MARTLET_ROLES": "monitoring"]
      let models = [ShopProject.model("churn", "constant")]
      try await ShopProject.with(models: models, environment: environment) { platform in
        let rest = platform.rest
        try await ShopProject.feed(rest)
        for (call, role) in [("train", "orchestrator"), ("predict", "serving")] {
          let answer = try await rest.post(
            "/api/v1/models/churn/\(call)", #"{"rows": [{"customer_id": 5}]}"#)
          #expect(answer.status == 412, "\(answer)")
          #expect(answer.error.contains("role '\(role)'"), "\(answer)")
          #expect(answer.error.contains("martlet up --roles monitoring,\(role)"), "\(answer)")
        }
        let read = try await rest.online(["activity.events_7d"], #"{"customer_id": 5}"#)
        #expect(read.first?.int != nil, "features are read in every role: \(read)")
        let refused = try await platform.martlet("up", "--roles", "serving,ingest")
        #expect(
          refused.status != 0 && refused.errors.contains("'roles' has 'ingest'"), "\(refused)")
      }
    }

    @Test("an online snapshot that cannot be written at the end is logged, and costs no event")
    func lastSnapshotFails() async throws {
      try await ShopProject.with { platform in
        try await ShopProject.feed(platform.rest)
        let before = try await platform.rest.online(
          ["activity.events_7d"], #"{"customer_id": 5}"#)
        // A folder in the place of the temporary file cannot be opened for writing.
        try FileManager.default.createDirectory(
          atPath: "\(platform.data)/online.snapshot.tmp", withIntermediateDirectories: true)
        #expect(try await platform.stop() == 0)
        #expect(platform.log.contains("the next start reads the events since the last snapshot"))
        try await platform.start()
        let after = try await platform.rest.online(
          ["activity.events_7d"], #"{"customer_id": 5}"#)
        #expect(after == before && before.first?.int != nil, "\(after)")
      }
    }

    @Test("after a clean stop no prediction is missing from the log")
    func logIsComplete() async throws {
      let environment = ["MARTLET_PREDICTION_LOG_FLUSH_INTERVAL": "1h"]
      let models = [ShopProject.model("churn", "constant")]
      try await ShopProject.with(models: models, environment: environment) { platform in
        let rest = platform.rest
        try await ShopProject.feed(rest)
        _ = try await rest.train("churn")
        try await rest.promote("churn", 1)
        for customer in 0..<50 {
          let answer = try await rest.predict("churn", #"{"customer_id": \#(customer)}"#)
          #expect(answer.status == 200, "\(answer)")
        }
        #expect(try await platform.stop() == 0)
        try await platform.start()
        #expect(try await platform.rest.count("SELECT count(*) FROM model_logs") == 50)
      }
    }

    @Test("a stopped platform leaves no martlet.json, no worker and no upload")
    func leavesNothing() async throws {
      try await ShopProject.with { platform in
        let status = try await platform.stop()
        #expect(status == 0)
        #expect(!FileManager.default.fileExists(atPath: "\(platform.data)/martlet.json"))
        #expect(kill(-platform.pid, 0) != 0, "a process of its group is left")
      }
    }

    @Test("an unknown setting ends the start with status 1 and the nearest one")
    func unknownSetting() async throws {
      try await PlatformProcess.with(files: [:]) { platform in
        let result = try await platform.martlet("up", environment: ["MARTLET_SERVER_HTP_PORT": "0"])
        #expect(result.status == 1, "\(result)")
        #expect(result.errors.contains("MARTLET_SERVER_HTTP_PORT"), "\(result)")
      }
    }

    @Test("the metrics, health and status of an empty platform answer")
    func emptyPlatform() async throws {
      try await PlatformProcess.with(files: [:]) { platform in
        for path in [
          "/metrics", "/health/live", "/health/ready", "/api/v1/status", "/api/v1/features",
        ] {
          let answer = try await platform.rest.get(path)
          #expect(answer.status == 200, "\(path): \(answer)")
        }
      }
    }
  }
}
