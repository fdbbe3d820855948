import Core
import Foundation
import TestKit
import Testing

extension WholeProgram {
  /// `kill -9` at any moment: what was acknowledged is there, once.
  @Suite struct CrashTests {
    /// Lets producers push until `batches` of them are acknowledged, and kills the platform at that moment.
    private static func crash(
      _ platform: PlatformProcess, _ events: AcknowledgedEvents, after batches: Int
    ) async throws {
      let goal = events.batches + batches
      let rest = platform.rest
      try await withThrowingTaskGroup(of: Void.self) { group in
        for _ in 0..<4 { group.addTask { await events.produce(to: rest) } }
        try await waitUntil("\(batches) batches were acknowledged") { events.batches >= goal }
        try await platform.crash()
        try await group.waitForAll()
      }
    }

    @Test("after a kill at any moment of ingest every acknowledged event is there, and none twice")
    func duringIngest() async throws {
      let seed = UInt64.random(in: .min ... .max)
      var random = SeededGenerator(seed: seed)
      let events = AcknowledgedEvents()
      try await ShopProject.with { platform in
        for round in 1...10 {
          let batches = Int.random(in: 1...60, using: &random)
          try await Self.crash(platform, events, after: batches)
          try await platform.start()
          let faults = try await events.faults(platform.rest)
          #expect(faults == [], "seed \(seed), round \(round), killed after \(batches) batches")
        }
        #expect(events.refusals == [])
        let again = try await events.sendAgain(platform.rest)
        #expect(again.accepted == 0, "seed \(seed)")
        #expect(again.duplicates == Int64(events.acknowledged.count), "seed \(seed)")
        #expect(try await events.faults(platform.rest) == [], "seed \(seed)")
      }
    }

    @Test(
      "after a kill while a file is taken the file is there wholly or not at all, and once when it is sent again"
    )
    func duringFile() async throws {
      let seed = UInt64.random(in: .min ... .max)
      var random = SeededGenerator(seed: seed)
      let csv =
        "event_id,customer_id,kind,amount,at\n"
        + (0..<200_000).map { "f\($0),\($0 % 20),buy,1,2026-02-28T10:00:00Z\n" }.joined()
      try await ShopProject.with { platform in
        for round in 0..<3 {
          let rest = platform.rest
          let share = Double.random(in: 0...1.5, using: &random)
          async let upload = try? rest.upload("events", "big.csv", csv)
          // How far the spool has grown tells where in the request the platform is killed.
          try await waitUntil("the upload had come far enough") {
            let stored = try await rest.count("SELECT count(*) FROM ingested_files")
            return stored > 0
              || Self.spooled(platform) >= Int(min(share, 1) * Double(csv.utf8.count))
          }
          try await platform.crash()
          _ = await upload
          try await platform.start()
          let rows = try await platform.rest.count("SELECT count(*) FROM events_events")
          #expect(rows == 0 || rows == 200_000, "seed \(seed), round \(round)")
          #expect(Self.spooled(platform) == 0, "an interrupted upload left its file")
        }
        _ = try await platform.rest.upload("events", "big.csv", csv)
        #expect(try await platform.rest.count("SELECT count(*) FROM events_events") == 200_000)
        let online = try await platform.rest.online(["activity.events_7d"], #"{"customer_id": 3}"#)
        #expect(online == [.int(10_000)])
      }
    }

    private static func spooled(_ platform: PlatformProcess) -> Int {
      let folder = "\(platform.data)/spool"
      let names = (try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []
      return names.reduce(0) { sum, name in
        let attributes = try? FileManager.default.attributesOfItem(atPath: "\(folder)/\(name)")
        return sum + ((attributes?[.size] as? NSNumber)?.intValue ?? 0)
      }
    }

    @Test("after a kill while the online state is written, online reads answer what history knows")
    func duringSnapshot() async throws {
      let seed = UInt64.random(in: .min ... .max)
      var random = SeededGenerator(seed: seed)
      let events = AcknowledgedEvents()
      let environment = ["MARTLET_ONLINE_SNAPSHOT_INTERVAL": "10ms"]
      try await ShopProject.with(environment: environment) { platform in
        for round in 1...5 {
          let batches = Int.random(in: 5...80, using: &random)
          try await Self.crash(platform, events, after: batches)
          try await platform.start()
          #expect(try await events.faults(platform.rest) == [], "seed \(seed), round \(round)")
          #expect(try await Self.parityFaults(platform.rest) == [], "seed \(seed), round \(round)")
        }
      }
    }

    /// Where online reads differ from `as_known` history of the same instant.
    private static func parityFaults(_ rest: RESTClient) async throws -> [String] {
      let now = try await rest.okGet("/api/v1/status")["now"]?.string ?? ""
      let features = ["activity.last_kind", "activity.events_7d", "activity.spend_7d"]
      let spine =
        "customer_id,at\n" + (0..<AcknowledgedEvents.customers).map { "\($0),\(now)\n" }.joined()
      let history = try await rest.post(
        "/api/v1/features/history?features=\(features.joined(separator: ","))&time=at&mode=as_known",
        spine)
      guard history.status == 200 else { throw Refused(request: "history", answer: history) }
      var faults: [String] = []
      for line in history.text.split(separator: "\n").dropFirst() {
        let cells = line.split(separator: ",", omittingEmptySubsequences: false).map(String.init)
        let online = try await rest.online(features, #"{"customer_id": \#(cells[0])}"#)
        let same =
          (online[0].string ?? "") == cells[2] && online[1].number == Double(cells[3])
          && online[2].number == Double(cells[4])
        if !same { faults.append("customer \(cells[0]): online \(online), history \(line)") }
      }
      return faults
    }

    @Test("after a kill during training the job runs again and publishes one version")
    func duringTraining() async throws {
      let models = [ShopProject.model("churn", "slow")]
      try await ShopProject.with(models: models) { platform in
        try await ShopProject.feed(platform.rest)
        let job = try await platform.rest.ok("/api/v1/models/churn/train")
        let marks = "\(platform.project)/trainings"
        try await waitUntil("the training function ran") {
          FileManager.default.fileExists(atPath: marks)
        }
        try await platform.crash()
        try await platform.start()
        let finished = try await platform.rest.finished(job["id"]?.string ?? "")
        #expect(finished["state"]?.string == "COMPLETED", "\(finished.text)")
        #expect(finished["attempt"]?.int == 2, "\(finished.text)")
        let versions =
          try await platform.rest.okGet("/api/v1/models/churn")["versions"]?.array ?? []
        #expect(versions.count == 1)
        let begun = platform.folder.text("project/trainings")
        #expect(begun == "began\nbegan\n")
      }
    }

    @Test("workers of a killed platform end by themselves")
    func orphans() async throws {
      let models = [ShopProject.model("churn", "constant"), ShopProject.model("lazy", "slow")]
      try await ShopProject.with(models: models) { platform in
        try await ShopProject.feed(platform.rest)
        _ = try await platform.rest.train("churn")
        try await platform.rest.promote("churn", 1)
        _ = try await platform.rest.ok("/api/v1/models/lazy/train")
        try await waitUntil("the training function ran") {
          FileManager.default.fileExists(atPath: "\(platform.project)/trainings")
        }
        let workers = Self.children(of: platform.pid)
        #expect(workers.count >= 2, "one that serves and one that trains")
        try await platform.crash()
        try await waitUntil("the workers \(workers) ended", within: .seconds(30)) {
          workers.allSatisfy { kill($0, 0) != 0 }
        }
      }
    }

    private static func children(of pid: pid_t) -> [pid_t] {
      let all = (try? FileManager.default.contentsOfDirectory(atPath: "/proc")) ?? []
      return all.compactMap { pid_t($0) }.filter { candidate in
        let stat = (try? String(contentsOfFile: "/proc/\(candidate)/stat", encoding: .utf8)) ?? ""
        // The name, in parentheses, may hold blanks; the parent is the second field after it.
        let fields = stat.split(separator: ")").last?.split(separator: " ") ?? []
        return fields.count > 1 && fields[1] == "\(pid)"
      }
    }

    @Test("a version that was promoted before a kill serves after it")
    func promotedBefore() async throws {
      try await ShopProject.with(models: [ShopProject.model("churn", "constant")]) { platform in
        try await ShopProject.feed(platform.rest)
        _ = try await platform.rest.train("churn")
        try await platform.rest.promote("churn", 1)
        try await platform.crash()
        try await platform.start()
        let answer = try await platform.rest.predict("churn", #"{"customer_id": 5}"#)
        #expect(answer.status == 200, "\(answer)")
        #expect(answer["version"]?.int == 1)
      }
    }
  }
}
