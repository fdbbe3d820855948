import Core
import Foundation
import Logging
import RedisBackend
import Synchronization
import TestKit
import Testing

extension WholeProgram {
  /// The warehouse of a running platform for other processes: real Redis, real queues, a platform that is killed.
  @Suite struct DatabaseServiceTests {
    private static let quiet = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }

    private static func with(
      _ settings: [String: String] = [:],
      _ body: (PlatformProcess, RedisServer) async throws -> Void
    ) async throws {
      try await RedisServer.with { redis in
        let environment = [
          "MARTLET_DATABASE_SERVICE_ENABLED": "true",
          "MARTLET_REDIS_ADDRESSES": "127.0.0.1:\(redis.port)",
        ].merging(settings) { $1 }
        try await ShopProject.with(environment: environment) { try await body($0, redis) }
      }
    }

    private static func client<Result: Sendable>(
      _ redis: RedisServer, queueLimit: Int = Limits.databaseQueueJobs,
      _ body: @Sendable @escaping (DatabaseClient) async throws -> Result
    ) async throws -> Result {
      try await DatabaseClient.with(
        RedisConfiguration(
          addresses: [RedisAddress(host: "127.0.0.1", port: redis.port)], project: "martlet"),
        queueLimit: queueLimit, logger: quiet, body)
    }

    private struct Note: Decodable, Sendable, Equatable {
      var id: Int
      var words: String?
      var weight: Double
      var noted: Timestamp
      var tags: [String]
    }

    @Test("rows come back as the caller's own type, parameters are values")
    func types() async throws {
      try await Self.with { _, redis in
        let note = Note(
          id: 7, words: "'); DROP TABLE notes; --", weight: 0.1,
          noted: Timestamp(microseconds: 1_700_000_000_000_001), tags: ["a", "ü"])
        let (changed, found, counts) = try await Self.client(redis) { client in
          try await client.execute(
            "CREATE TABLE notes (id BIGINT, words VARCHAR, weight DOUBLE, noted TIMESTAMP, tags VARCHAR[])"
          )
          let changed = try await client.execute(
            "INSERT INTO notes VALUES (?, ?, ?, ?, ?)",
            rows: [
              [
                .int64(7), .string(note.words ?? ""), .double(0.1), .timestamp(note.noted),
                .list(.string(note.tags)),
              ], [.int64(8), .null, .double(2), .timestamp(note.noted), .list(.string([]))],
            ])
          let found = try await client.query(
            "SELECT * FROM notes WHERE words = ?", [.string(note.words ?? "")], as: Note.self)
          return (
            changed, found, try await client.query("SELECT count(*) FROM notes", as: Int.self)
          )
        }
        #expect(changed == 2)
        #expect(found == [note])
        #expect(counts == [2])
      }
    }

    @Test("a platform killed again and again applies every write once")
    func kills() async throws {
      let seed = UInt64.random(in: 0..<1_000_000)
      try await Self.with(["MARTLET_DATABASE_SERVICE_WRITE_BATCH": "20"]) { platform, redis in
        try await Self.client(redis) {
          _ = try await $0.execute("CREATE TABLE counted (id BIGINT, worker BIGINT)")
        }
        let progress = WriteProgress()
        async let writing: Void = Self.client(redis) { try await progress.write(with: $0) }
        var random = SeededGenerator(seed: seed)
        for _ in 0..<8 {
          let after = progress.answered + Int.random(in: 1...150, using: &random)
          try await waitUntil("\(after) writes were answered (seed \(seed))") {
            progress.answered >= after
          }
          try await platform.crash()
          try await platform.start()
        }
        progress.end()
        try await writing
        let wrong = try await platform.rest.rows(
          "SELECT id, count(*) FROM counted GROUP BY id HAVING count(*) <> 1")
        #expect(wrong.isEmpty, "seed \(seed): \(wrong.prefix(5))")
        let stored = try await platform.rest.count("SELECT count(*) FROM counted")
        #expect(stored == Int64(progress.answered), "seed \(seed)")
        #expect(try await redis.cli("LLEN", "{duckdb_write_queue}:processing") == "0")
      }
    }

    @Test("fifty reads run at once, the next one waits, and a read ends at its deadline")
    func concurrency() async throws {
      try await Self.with { _, redis in
        let endless = "SELECT count(*) FROM range(1000000000) a, range(1000000000) b"
        let outcomes = try await Self.client(redis) { client in
          try await withThrowingTaskGroup(of: ErrorCode?.self) { group in
            for _ in 0..<50 {
              group.addTask {
                do {
                  _ = try await client.query(endless, timeout: .seconds(8), as: Int.self)
                  return nil
                } catch let error as PlatformError {
                  return error.code
                }
              }
            }
            try await waitUntil("fifty reads ran") {
              try await redis.cli("LLEN", "{duckdb_read_queue}:processing") == "50"
            }
            group.addTask {
              let rows = try await client.query("SELECT 1", timeout: .seconds(60), as: Int.self)
              return rows == [1] ? nil : .internalError
            }
            try await waitUntil("the next one waited") {
              try await redis.cli("LLEN", "duckdb_read_queue") == "1"
            }
            return try await group.reduce(into: []) { $0.append($1) }
          }
        }
        #expect(outcomes.count { $0 == .deadlineExceeded } == 50)
        #expect(outcomes.count { $0 == nil } == 1)
        try await waitUntil("nothing was left") {
          try await redis.cli("LLEN", "{duckdb_read_queue}:processing") == "0"
        }
      }
    }

    @Test("any program can write a job and read the answer, which expires")
    func plain() async throws {
      try await Self.with(["MARTLET_DATABASE_SERVICE_ANSWER_EXPIRY": "3s"]) { platform, redis in
        _ = try await platform.rest.push(
          "events", ShopProject.event("e1", customer: 1, amount: 9.5, at: "2026-02-28T10:00:00Z"))
        let job =
          #"{"id":"j1","sql":"SELECT customer_id, amount FROM events_events WHERE customer_id = ?","parameters":[1],"response_key":"duckdb_response:me"}"#
        _ = try await redis.cli("RPUSH", "duckdb_read_queue", job)
        try await waitUntil("an answer came") {
          try await redis.cli("EXISTS", "duckdb_response:me") == "1"
        }
        let left = Int(try await redis.cli("PTTL", "duckdb_response:me")) ?? 0
        #expect((1...3_000).contains(left))
        let answer = try JSON(
          parsing: Array(try await redis.cli("LINDEX", "duckdb_response:me", "0").utf8))
        #expect(answer["ok"] == .bool(true))
        #expect(answer["row_count"] == .int(1))
        #expect(answer["columns"]?.array?[1]["values"] == .array([.double(9.5)]))
        try await waitUntil("the answer expired") {
          try await redis.cli("EXISTS", "duckdb_response:me") == "0"
        }
      }
    }

    @Test("what is no job is put aside or answered, and those behind it go on")
    func poison() async throws {
      try await Self.with { _, redis in
        for queue in ["duckdb_read_queue", "duckdb_write_queue"] {
          _ = try await redis.cli(
            "RPUSH", queue, "{broken", "",
            #"{"id":"x","sql":7,"response_key":"duckdb_response:bad"}"#,
            #"{"id":"y","sql":"SELECT 1","response_key":"martlet:views"}"#)
          let told = try await redis.cli("BLPOP", "duckdb_response:bad", "30")
          #expect(told.contains("'sql' must be a statement"), "\(told)")
        }
        let rows = try await Self.client(redis) { client in
          try await client.execute("CREATE TABLE t (a BIGINT)")
          try await client.execute("INSERT INTO t VALUES (1)")
          return try await client.query("SELECT a FROM t", as: Int.self)
        }
        #expect(rows == [1])
        for queue in ["duckdb_read_queue", "duckdb_write_queue"] {
          #expect(try await redis.cli("LLEN", "{\(queue)}:dead") == "3")
          #expect(try await redis.cli("LRANGE", "{\(queue)}:dead", "0", "-1").contains("{broken"))
          #expect(try await redis.cli("LLEN", "{\(queue)}:processing") == "0")
        }
        #expect(try await redis.cli("EXISTS", "martlet:views") == "0")
      }
    }

    @Test("a full queue refuses with a time to come again")
    func bound() async throws {
      let settings = [
        "MARTLET_DATABASE_SERVICE_CONCURRENT_READS": "1",
        "MARTLET_DATABASE_SERVICE_QUEUE_JOBS": "3",
      ]
      try await Self.with(settings) { platform, redis in
        let endless =
          #"{"id":"slow","sql":"SELECT count(*) FROM range(1000000000) a, range(1000000000) b"}"#
        _ = try await redis.cli("RPUSH", "duckdb_read_queue", endless)
        try await waitUntil("it ran") {
          try await redis.cli("LLEN", "{duckdb_read_queue}:processing") == "1"
        }
        for number in 1...5 {
          _ = try await redis.cli(
            "RPUSH", "duckdb_read_queue",
            #"{"id":"\#(number)","sql":"SELECT 1","response_key":"duckdb_response:r\#(number)"}"#)
        }
        let refused = try await redis.cli("BLPOP", "duckdb_response:r5", "30")
        #expect(refused.contains("overloaded") && refused.contains("retry_after_ms"), "\(refused)")
        #expect(try await redis.cli("BLPOP", "duckdb_response:r4", "30").contains("overloaded"))
        #expect(try await redis.cli("LLEN", "duckdb_read_queue") == "3")
        let error = await #expect(throws: PlatformError.self) {
          try await Self.client(redis, queueLimit: 3) {
            _ = try await $0.query("SELECT 1", as: Int.self)
          }
        }
        #expect(error?.code == .overloaded)
        #expect(error?.retryAfter != nil)
        let metrics = try await platform.rest.get("/metrics").text
        #expect(
          metrics.contains(
            #"martlet_database_jobs_total{queue="duckdb_read_queue",outcome="refused"} 2"#)
            || metrics.contains(
              #"martlet_database_jobs_total{outcome="refused",queue="duckdb_read_queue"} 2"#)
        )
      }
    }

    @Test("a read is refused whatever it tries to write, and its error has code and message")
    func readOnly() async throws {
      try await Self.with { platform, redis in
        let errors = try await Self.client(redis) { client in
          var errors: [PlatformError] = []
          for sql in [
            "DELETE FROM events_events", "ATTACH 'x.duckdb'",
            "SELECT * FROM read_text('/etc/passwd')",
            "SELECT * FROM nowhere",
          ] {
            do {
              _ = try await client.columns(sql)
            } catch let error as PlatformError { errors.append(error) }
          }
          return errors
        }
        #expect(errors.map(\.code) == Array(repeating: .invalidArgument, count: 4))
        #expect(errors.last?.message.contains("nowhere") == true)
        let shown = try await platform.martlet(
          "sql", "--via-redis", "SELECT 41 + 1 AS answer", "--json")
        #expect(shown.output.contains("[42]"), "\(shown.output) \(shown.errors)")
      }
    }
  }
}

/// Writers that go on until they are told to end.
private final class WriteProgress: Sendable {
  private let count = Atomic(0)
  private let next = Atomic<Int64>(0)
  private let isEnding = Atomic(false)

  /// Writes that were acknowledged.
  var answered: Int { count.load(ordering: .relaxed) }

  func end() { isEnding.store(true, ordering: .relaxed) }

  /// Eight tasks, each with one write under way; one that is not answered is sent again under its id.
  func write(with client: DatabaseClient) async throws {
    try await withThrowingDiscardingTaskGroup { group in
      for worker in 0..<8 {
        group.addTask {
          while !self.isEnding.load(ordering: .relaxed) {
            try await self.writeOne(by: worker, client)
          }
        }
      }
    }
  }

  private func writeOne(by worker: Int, _ client: DatabaseClient) async throws {
    let id = next.wrappingAdd(1, ordering: .relaxed).oldValue
    while true {
      do {
        try await client.execute(
          "INSERT INTO counted VALUES (?, ?)", [.int64(id), .int64(Int64(worker))], id: "w\(id)",
          timeout: .seconds(3))
        count.wrappingAdd(1, ordering: .relaxed)
        return
      } catch let error as PlatformError where error.code == .deadlineExceeded {}
    }
  }
}
