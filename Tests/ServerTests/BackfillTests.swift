import Core
import Foundation
import TestKit
import Testing
import Wire

extension WholeProgram {
  /// A view's online state computed anew, as a job, while the platform works.
  @Suite struct BackfillTests {
    private static func feed(_ rest: RESTClient, _ ids: Range<Int>) async throws {
      let lines = ids.map { id in
        ShopProject.event(
          "e\(id)", customer: id % 50, amount: Double(id % 97), at: "2026-02-28T10:00:00Z")
      }
      let answer = try await rest.upload(
        "events", "f\(ids.lowerBound).jsonl", lines.joined(separator: "\n"))
      #expect(answer["accepted"]?.int == Int64(ids.count), "\(answer)")
    }

    private static func live(_ rest: RESTClient) async throws -> JSON {
      try await rest.ok("/api/v1/features/verify", #"{"live": true}"#)
    }

    private static func redis(_ port: Int) -> [String: String] {
      ["MARTLET_ONLINE_BACKEND": "redis", "MARTLET_REDIS_ADDRESSES": "127.0.0.1:\(port)"]
    }

    @Test("a backfill mends a damaged store, and says how far it is")
    func mends() async throws {
      try await RedisServer.with { redis in
        let port = redis.port
        try await ShopProject.with(environment: Self.redis(port)) { platform in
          let rest = platform.rest
          try await Self.feed(rest, 0..<3_000)
          try await rest.moveClock("2026-03-02T00:00:00Z")
          let emptied = try await ChildProgram.run(
            "bash",
            [
              "-c",
              "redis-cli -p \(port) --scan --pattern '*:activity@*:*' | xargs redis-cli -p \(port) DEL",
            ],
            environment: platform.environment, directory: platform.folder.path)
          #expect(emptied.status == 0, "\(emptied)")
          let damaged = try await Self.live(rest)
          #expect(damaged["passed"]?.bool == false, "\(damaged)")
          let done = try await platform.martlet("backfill", "activity.spend_7d")
          #expect(done.status == 0 && done.output.contains("generation 1 is read"), "\(done)")
          let mended = try await Self.live(rest)
          #expect(mended["passed"]?.bool == true && mended["vectors"]?.int == 50, "\(mended)")
          let listed = try await platform.martlet("jobs", "list")
          #expect(listed.output.contains("backfill-activity"), "\(listed)")
          let unknown = try await platform.martlet("backfill", "activty")
          #expect(unknown.errors.contains("did you mean 'activity'"), "\(unknown)")
        }
      }
    }

    @Test("a backfill that is cancelled leaves what is read as it was")
    func cancelled() async throws {
      try await ShopProject.with(environment: ["MARTLET_JOBS_LEASE": "2s"]) { platform in
        let rest = platform.rest
        try await Self.feed(rest, 0..<3_000)
        try await rest.moveClock("2026-03-02T00:00:00Z")
        let job = try await platform.withGRPC { client in
          var request = Martlet_V1_BackfillRequest()
          request.view = "activity"
          request.rowsPerSecond = 100
          return try await client.features.backfill(request)
        }
        try await waitUntil("it went on") {
          try await rest.okGet("/api/v1/jobs/\(job.id)")["progress"]?.string?.contains("%") == true
        }
        #expect(try await platform.martlet("jobs", "cancel", job.id).status == 0)
        #expect(try await rest.finished(job.id)["state"]?.string == "CANCELLED")
        #expect(try await Self.live(rest)["passed"]?.bool == true)
        // The next one has the runner, once the cancelled one has let go of it.
        let done = try await platform.martlet("backfill", "activity")
        #expect(done.status == 0, "\(done)")
        #expect(try await Self.live(rest)["passed"]?.bool == true)
      }
    }

    @Test(
      "killed at any instant, with events coming in, it ends with every event counted once",
      arguments: [false, true])
    func killed(onRedis: Bool) async throws {
      let seed = UInt64.random(in: .min ... .max)
      var random = SeededGenerator(seed: seed)
      func rounds(_ environment: [String: String]) async throws {
        try await ShopProject.with(environment: environment) { platform in
          try await Self.feed(platform.rest, 0..<4_000)
          for round in 0..<5 {
            let rest = platform.rest
            let job = try await rest.ok(
              "/api/v1/views/activity/backfill", #"{"rows_per_second": 8000}"#)
            let id = job["id"]?.string ?? ""
            // Something between none and all of it, by what it says of itself.
            let pushes = Int.random(in: 0...25, using: &random)
            for push in 0..<pushes {
              let event = ShopProject.event(
                "r\(round)-\(push)", customer: push, at: "2026-02-28T11:00:00Z")
              _ = try await rest.push("events", event)
            }
            try await platform.crash()
            try await platform.start()
            #expect(
              try await platform.rest.finished(id)["state"]?.string == "COMPLETED",
              "seed \(seed), round \(round)")
            try await platform.rest.moveClock("2026-03-01T00:\(twoDigits(round + 1)):00Z")
            let found = try await Self.live(platform.rest)
            #expect(
              found["passed"]?.bool == true && found["in_flight"]?.int == 0,
              "seed \(seed), round \(round): \(found)")
            let counted = try await (0..<50).asyncSum { customer in
              try await platform.rest.online(
                ["activity.events_7d"], #"{"customer_id": \#(customer)}"#
              ).first?.int ?? 0
            }
            #expect(
              try await platform.rest.count("SELECT count(*) FROM events_events") == counted,
              "seed \(seed), round \(round)")
          }
        }
      }
      if onRedis {
        try await RedisServer.with { try await rounds(Self.redis($0.port)) }
      } else {
        try await rounds([:])
      }
    }

    @Test("an erasure during a backfill is not undone by it")
    func erasure() async throws {
      try await ShopProject.with { platform in
        let rest = platform.rest
        try await Self.feed(rest, 0..<4_000)
        let job = try await rest.ok(
          "/api/v1/views/activity/backfill", #"{"rows_per_second": 1500}"#)
        let id = job["id"]?.string ?? ""
        try await waitUntil("it went on") {
          try await rest.okGet("/api/v1/jobs/\(id)")["progress"]?.string?.contains("%") == true
        }
        let receipt = try await rest.send(
          .DELETE, "/api/v1/entities/customer/keys", .bytes(.init(string: #"{"key": [7]}"#)))
        #expect(receipt.status == 200, "\(receipt)")
        #expect(try await rest.finished(id)["state"]?.string == "COMPLETED")
        let left = try await rest.ok(
          "/api/v1/features/online",
          #"{"features": ["activity.events_7d"], "entities": [{"customer_id": 7}, {"customer_id": 8}]}"#
        )
        let statuses = (left["rows"]?.array ?? []).map { $0["statuses"]?.array?.first?.string }
        #expect(statuses == ["not_found", "present"], "\(left)")
      }
    }

    @Test("events are taken while new definitions are built, and none is missing or counted twice")
    func definitions() async throws {
      try await ShopProject.with { platform in
        let rest = platform.rest
        try await Self.feed(rest, 0..<20_000)
        let changed = ShopProject.definitions.replacing(
          "{sum: amount, window: 7d}", with: "{sum: amount, window: 6d}")
        async let applied = rest.apply(changed)
        for id in 0..<40 {
          _ = try await rest.push(
            "events", ShopProject.event("p\(id)", customer: id, at: "2026-02-28T11:00:00Z"))
        }
        #expect(try await applied.status == 200)
        try await rest.moveClock("2026-03-01T01:00:00Z")
        let found = try await Self.live(rest)
        #expect(found["passed"]?.bool == true && found["in_flight"]?.int == 0, "\(found)")
      }
    }
  }
}

extension Sequence {
  fileprivate func asyncSum(_ body: (Element) async throws -> Int64) async rethrows -> Int64 {
    var sum: Int64 = 0
    for element in self { sum += try await body(element) }
    return sum
  }
}
