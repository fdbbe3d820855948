import Core
import Foundation
import GRPCCore
import Synchronization
import TestKit
import Testing

extension WholeProgram {
  /// A Redis that goes away, comes back empty or as it was, or has its keys tampered with.
  @Suite struct RedisAwayTests {
    private static let features = "activity.events_7d,activity.last_amount"

    private static func with(
      _ body: (PlatformProcess, RedisServer) async throws -> Void
    ) async throws {
      try await RedisServer.with { redis in
        let environment = [
          "MARTLET_ONLINE_BACKEND": "redis", "MARTLET_REDIS_ADDRESSES": "127.0.0.1:\(redis.port)",
          "MARTLET_REDIS_WRITE_WAIT": "500ms",
        ]
        try await ShopProject.with(environment: environment) { platform in
          for id in 0..<40 {
            _ = try await push(platform, "e\(id)", customer: id % 4 + 1)
          }
          try await body(platform, redis)
        }
      }
    }

    private static func push(
      _ platform: PlatformProcess, _ id: String, customer: Int
    ) async throws -> Answer {
      try await platform.rest.push(
        "events",
        ShopProject.event(id, customer: customer, amount: 7, at: "2026-02-28T10:00:00Z"))
    }

    private static func read(_ platform: PlatformProcess) async throws -> Answer {
      try await platform.rest.post(
        "/api/v1/features/online",
        #"{"features": ["activity.events_7d"], "entities": [{"customer_id": 1}, {"customer_id": 2}]}"#
      )
    }

    private static func counts(_ answer: Answer) -> [Int64] {
      (answer["rows"]?.array ?? []).compactMap { $0["values"]?.array?[0].int }
    }

    /// Reads until the answer is there; no answer in between may be another one than `before`.
    private static func readBack(
      _ platform: PlatformProcess, _ expected: [Int64], after before: [Int64]? = nil
    ) async throws {
      try await waitUntil("the views were filled again") {
        let answer = try await read(platform)
        if answer.status == 503 || counts(answer) == before { return false }
        #expect(counts(answer) == expected, "\(answer)")
        return true
      }
    }

    @Test(
      "while Redis is away reads and pushes are refused for a while, and nothing is lost",
      arguments: [false, true])
    func away(isPersistent: Bool) async throws {
      try await Self.with { platform, redis in
        if isPersistent { try await redis.persist() }
        #expect(Self.counts(try await Self.read(platform)) == [10, 10])
        try await redis.crash()
        let read = try await Self.read(platform)
        #expect(read.status == 503 && !read.headers["retry-after"].isEmpty, "\(read)")
        let error = try await platform.withGRPC { client in
          try await grpcError {
            _ = try await client.online(["activity.events_7d"], "customer_id", 1)
          }
        }
        #expect(error?.code == .unavailable)
        #expect(error?.metadata[stringValues: "retry-after-ms"].contains { _ in true } == true)
        let stored = try await Self.push(platform, "away", customer: 1)
        #expect(stored.status == 503 && !stored.headers["retry-after"].isEmpty, "\(stored)")
        #expect(stored.error.contains("the events are stored"), "\(stored)")
        let refused = try await Self.push(platform, "refused", customer: 2)
        #expect(
          refused.status == 503 && refused.error.contains("no events are taken"), "\(refused)")
        #expect(
          try await platform.rest.get("/metrics").text.contains("martlet_online_store_away 1"))
        try await redis.start(isPersistent ? RedisServer.keepsWrites : [])
        // What was acknowledged may be read until the waiting event, which nobody was promised, has come.
        try await Self.readBack(platform, [11, 10], after: [10, 10])
        try await waitUntil("events were taken again") {
          try await Self.push(platform, "refused", customer: 2).status == 200
        }
        let again = try await Self.push(platform, "away", customer: 1)
        #expect(again["duplicates"]?.int == 1, "\(again)")
        #expect(Self.counts(try await Self.read(platform)) == [11, 11])
      }
    }

    @Test(
      "a platform that starts without Redis has everything else, and begins with Redis when it is there"
    )
    func startWithout() async throws {
      try await Self.with { platform, redis in
        try await redis.crash()
        #expect(try await platform.stop() == 0)
        try await platform.start()
        #expect(try await platform.rest.count("SELECT count(*) FROM events_events") == 40)
        let read = try await Self.read(platform)
        #expect(read.status == 503 && !read.headers["retry-after"].isEmpty, "\(read)")
        let stored = try await Self.push(platform, "away", customer: 1)
        #expect(stored.status == 503 && stored.error.contains("the events are stored"), "\(stored)")
        try await redis.start()
        try await Self.readBack(platform, [11, 10], after: [10, 10])
        try await waitUntil("events were taken again") {
          try await Self.push(platform, "later", customer: 2).status == 200
        }
        #expect(Self.counts(try await Self.read(platform)) == [11, 11])
      }
    }

    @Test(
      "readiness, status and metrics tell of a Redis that is away, and an erasure is done when it is back"
    )
    func told() async throws {
      try await Self.with { platform, redis in
        let rest = platform.rest
        try await redis.persist()
        try await redis.crash()
        try await waitUntil("it is told") { try await rest.get("/health/ready").status == 503 }
        let reason = try await rest.get("/health/ready")["reason"]?.string ?? ""
        #expect(reason.contains("Connection refused") && !reason.contains("errno"), "\(reason)")
        #expect(try await rest.get("/metrics").text.contains("martlet_online_store_away 1"))
        let status = try await rest.okGet("/api/v1/status")
        #expect(status["online_store"]?["ready"]?.bool == false, "\(status)")
        #expect(status["definitions_version"]?.int == 1, "\(status)")
        let erased = try await platform.martlet("erase", "customer", "1", "--yes")
        #expect(erased.status == 1, "\(erased)")
        try await redis.start(RedisServer.keepsWrites)
        try await waitUntil("it is ready") { try await rest.get("/health/ready").status == 200 }
        let again = try await platform.martlet("erase", "customer", "1", "--yes")
        #expect(again.status == 0, "\(again)")
        try await waitUntil("no erasure is left half done") {
          try await rest.count("SELECT count(*) FROM erasures WHERE state <> 'done'") == 0
        }
        #expect(Self.counts(try await Self.read(platform)) == [0, 10])
      }
    }

    @Test("a Redis that comes back empty is filled without a write, and never answered for")
    func empty() async throws {
      try await Self.with { platform, redis in
        try await redis.crash()
        try await redis.start()
        try await Self.readBack(platform, [10, 10])
        // Emptied under a connection that stays, it is found by the next look.
        #expect(try await redis.cli("FLUSHALL") == "OK")
        try await waitUntil("the look found it") {
          Self.counts(try await Self.read(platform)) == [10, 10]
        }
      }
    }

    @Test("a key that another program has overwritten costs a refill of its view, not the platform")
    func foreignKey() async throws {
      try await Self.with { platform, redis in
        let key = try await redis.cli("KEYS", "*:activity@*:1")
        #expect(try await redis.cli("DEL", key) == "1")
        #expect(try await redis.cli("SET", key, "foo") == "OK")
        let read = try await Self.read(platform)
        #expect(read.status == 500 && read.error.contains(key), "\(read)")
        #expect(try await Self.push(platform, "more", customer: 1).status == 200)
        try await Self.readBack(platform, [11, 10])
      }
    }

    @Test("rebuild --verify tells what differs by view, key and feature, and rebuild puts it right")
    func rebuild() async throws {
      try await Self.with { platform, redis in
        func key(_ customer: String) async throws -> String {
          let names = try await redis.cli("--scan", "--pattern", "*:activity@*:\(customer)")
          return names
        }
        let clean = try await platform.martlet("features", "rebuild", "--verify")
        #expect(clean.status == 0, "\(clean)")
        #expect(clean.output.contains("activity: 4 keys compared, 0 differ"), "\(clean)")
        // One is deleted, one overwritten, one goes back to an older state, one is of nobody.
        let older = try await redis.state(of: key("3"))
        for id in 0..<6 { _ = try await Self.push(platform, "late\(id)", customer: 3) }
        try await redis.setState(of: key("3"), to: older)
        try await redis.setState(of: String(key("3").dropLast()) + "9", to: older)
        #expect(try await redis.cli("DEL", key("1")) == "1")
        try await redis.setState(of: key("2"), to: Array("nonsense".utf8))
        let found = try await platform.martlet(
          "features", "rebuild", "activity", "--verify", "--json")
        #expect(found.status == 1, "\(found)")
        let view = try JSON(parsing: Array(found.output.utf8))["views"]?.array?[0]
        #expect(view?["differing"] == .int(4) && view?["mended"] == .int(0), "\(found)")
        func differences(_ key: String) -> [String] {
          (view?["differences"]?.array ?? []).filter { $0["key"] == .string(key) }.map {
            "\($0["feature"]?.string ?? ""): \($0["stored"]?.string ?? "") | \($0["expected"]?.string ?? "")"
          }
        }
        let time = "of 2026-02-28T10:00:00Z"
        #expect(differences("1").contains("events_7d: missing | 10 \(time)"), "\(found)")
        #expect(
          differences("2").contains("events_7d: a state that cannot be read | 10 \(time)"),
          "\(found)")
        #expect(differences("3").contains("events_7d: 10 \(time) | 16 \(time)"), "\(found)")
        #expect(differences("9").contains("events_7d: 10 \(time) | 0 (not_found)"), "\(found)")
        #expect(differences("4").isEmpty)
        let few = try await platform.martlet(
          "features", "rebuild", "--verify", "--limit", "1", "--json")
        let bounded = try JSON(parsing: Array(few.output.utf8))["views"]?.array?[0]
        #expect(bounded?["differences"]?.array?.count == 1 && bounded?["differing"] == .int(4))
        // Live writes go on meanwhile.
        async let pushed: Void = {
          for id in 0..<40 { _ = try await Self.push(platform, "live\(id)", customer: id % 4 + 1) }
        }()
        let mended = try await platform.martlet("features", "rebuild", "--json")
        #expect(mended.status == 0, "\(mended)")
        try await pushed
        let after = try await platform.martlet("features", "rebuild", "--verify")
        #expect(after.status == 0 && after.output.contains("4 keys compared, 0 differ"), "\(after)")
        #expect(Self.counts(try await Self.read(platform)) == [20, 20])
        let read = try await platform.rest.post(
          "/api/v1/features/online",
          #"{"features": ["activity.events_7d"], "entities": [{"customer_id": 3}, {"customer_id": 9}]}"#
        )
        #expect(Self.counts(read) == [26, 0], "\(read)")
        let unknown = try await platform.martlet("features", "rebuild", "activty")
        #expect(unknown.status == 1 && unknown.errors.contains("'activity'"), "\(unknown)")
      }
    }

    @Test("a store in memory has nothing to rebuild, and says so")
    func memory() async throws {
      try await ShopProject.with { platform in
        let answer = try await platform.rest.post("/api/v1/features/rebuild", "{}")
        #expect(answer.status == 412, "\(answer)")
        #expect(
          answer.code == "failed_precondition" && answer.error.contains("memory"), "\(answer)")
        for body in [#"{"views": "activity"}"#, #"{"limit": -1}"#, #"{"verify": 1}"#] {
          let answer = try await platform.rest.post("/api/v1/features/rebuild", body)
          #expect(answer.code == "invalid_argument", "\(answer)")
        }
      }
    }
  }
}
