import AsyncHTTPClient
import Core
import NIOCore
import TestKit
import Testing
import Wire

extension WholeProgram {
  /// Requests that are refused, with what to send instead; the platform answers the next one.
  @Suite(.sharedPlatform) struct BadRequestsTests {
    static let unknown: [(path: String, body: String, says: String)] = [
      ("/api/v1/sources/event/events", "[]", "'events'"),
      ("/api/v1/sources/event/files?name=a.csv", "a", "'events'"),
      (
        "/api/v1/features/online",
        #"{"features": ["activity.event_7d"], "entities": {"customer_id": 1}}"#, "events_7d"
      ),
      (
        "/api/v1/features/online",
        #"{"features": ["activty.events_7d"], "entities": {"customer_id": 1}}"#, "activity"
      ),
      (
        "/api/v1/features/history?features=activity.event_7d&time=at",
        "customer_id,at\n1,2026-02-28T00:00:00Z\n",
        "events_7d"
      ),
      ("/api/v1/models/churm/predict", #"{"rows": [{"customer_id": 1}]}"#, "there are none"),
      ("/api/v1/models/churm/train", "{}", "there are none"),
      ("/api/v1/models/churm/drift", "{}", "there are none"),
    ]

    @Test("an unknown name is answered with 404 and the nearest known one", arguments: unknown)
    func unknownName(path: String, body: String, says: String) async throws {
      let answer = try await SharedPlatform.current.rest.post(path, body)
      #expect(answer.status == 404, "\(answer)")
      #expect(answer.code == "not_found")
      #expect(answer.error.contains(says), "\(says) in \(answer.error)")
    }

    static let malformed: [(path: String, body: String, says: String)] = [
      ("/api/v1/sources/events/events", #"[{"customer_id": 1, "#, "byte"),
      ("/api/v1/sources/events/events", "customer_id=1", "JSON"),
      (
        "/api/v1/sources/events/events?sequence=1&client=\(String(repeating: "c", count: 257))",
        "[]", "longer than 256 characters"
      ),
      (
        "/api/v1/sources/events/events?client=c&sequence=18446744073709551615", "[]",
        "too large to count on from"
      ),
      (
        "/api/v1/sources/events/events?clinet=a&sequence=4", "[]",
        "there is no query parameter 'clinet' at POST /api/v1/sources/{source}/events; did you mean 'client'?"
      ),
      ("/api/v1/sources/events/events?client=a", "[]", "'client' and 'sequence' belong together"),
      ("/api/v1/sources/events/events?sequence=4", "[]", "Send the name of the client"),
      ("/api/v1/features/online?view=activity", "{}", "it takes none"),
      ("/api/v1/features/online", #"{"features": ["#, "byte"),
      ("/api/v1/features/online", #"{"entities": {"customer_id": 1}}"#, "'features'"),
      ("/api/v1/features/online", #"{"features": "activity.events_7d", "entities": {}}"#, "list"),
      (
        "/api/v1/features/online",
        #"{"features": ["events_7d"], "entities": {"customer_id": 1}}"#, "view.feature"
      ),
      (
        "/api/v1/features/online",
        #"{"features": ["activity.events_7d"], "entities": {"customer_id": "one"}}"#, "customer_id"
      ),
      (
        "/api/v1/features/online",
        #"{"features": ["activity.events_7d"], "entities": {"customer_id": [1]}}"#, "customer_id"
      ),
      (
        "/api/v1/features/online",
        #"{"features": ["activity.events_7d"], "entities": {"custmer_id": 1}}"#,
        "did you mean 'customer_id'?"
      ),
      (
        "/api/v1/features/online", #"{"features": ["activity.events_7d"], "entities": {}}"#,
        "give its key column 'customer_id'"
      ),
      ("/api/v1/features/history?time=at", "customer_id,at\n", "'features'"),
      (
        "/api/v1/features/history?features=activity.events_7d&time=at&mode=sometimes",
        "customer_id,at\n", "as_known"
      ),
      (
        "/api/v1/features/history?features=activity.events_7d&time=at&format=xml",
        "customer_id,at\n", "csv or parquet, not 'xml'"
      ),
      (
        "/api/v1/features/history?features=activity.events_7d&time=when",
        "customer_id,at\n1,2026-02-28T00:00:00Z\n", "'when'"
      ),
      (
        "/api/v1/features/history?features=activity.events_7d&time=at",
        "customer,at\n1,2026-02-28T00:00:00Z\n", "customer_id"
      ),
      ("/api/v1/sql", "{}", "sql"),
      ("/api/v1/sql", #"{"sql": "SELEC 1"}"#, "SELEC"),
      ("/api/v1/clock", #"{"now": "tomorrow"}"#, "tomorrow"),
      ("/api/v1/definitions/apply", "{}", "yaml"),
    ]

    @Test(
      "a malformed request is answered with 400 and what is wrong with it", arguments: malformed)
    func malformedRequest(path: String, body: String, says: String) async throws {
      let answer = try await SharedPlatform.current.rest.post(path, body)
      #expect(answer.status == 400, "\(answer)")
      #expect(answer.error.contains(says), "\(says) in \(answer.error)")
    }

    @Test("JSON that is nested too deep is refused, whatever it is sent to")
    func tooDeep() async throws {
      let rest = try SharedPlatform.current.rest
      let deep = String(repeating: "[", count: 200_000) + String(repeating: "]", count: 200_000)
      let read = try await rest.post(
        "/api/v1/features/online", #"{"features": \#(deep), "entities": {}}"#)
      #expect(read.status == 400, "\(read)")
      #expect(read.error.contains("deep"), "\(read.error)")
      let pushed = try await rest.push("events", #"[{"customer_id": \#(deep)}]"#)
      #expect(pushed.status == 400 || pushed["quarantined"]?.int == 1, "\(pushed.status)")
      #expect(try await rest.get("/health/live").status == 200)
    }

    @Test("a body above the limit is refused with the limit")
    func tooLarge() async throws {
      let rest = try SharedPlatform.current.rest
      let body = ByteBuffer(repeating: UInt8(ascii: " "), count: (64 << 20) + 2)
      let answer = try await rest.send(.POST, "/api/v1/sources/events/events", .bytes(body))
      #expect(answer.status == 413 || answer.status == 400, "\(answer)")
      #expect(answer.error.contains("64") || answer.error.contains("67108864"), "\(answer.error)")
      #expect(try await rest.get("/health/live").status == 200)
    }

    @Test(
      "a path that is there with another method is answered with the methods that it takes",
      arguments: [
        ("/api/v1/features/online", "POST"), ("/api/v1/sources/events/events", "POST"),
        ("/api/v1/entities/customer/keys", "DELETE"), ("/api/v1/datasets", "GET, POST"),
      ])
    func otherMethod(path: String, allowed: String) async throws {
      let answer = try await SharedPlatform.current.rest.send(.PUT, path, nil)
      #expect(answer.status == 405, "\(answer)")
      #expect(answer.headers.first(name: "Allow") == allowed, "\(answer.headers)")
      #expect(answer.error == "\(path) takes \(allowed), not PUT", "\(answer)")
    }

    @Test("a path that there is not is answered with where the API begins")
    func noPath() async throws {
      let answer = try await SharedPlatform.current.rest.get("/api/v2/status")
      #expect(answer.status == 404, "\(answer)")
      #expect(answer.error.contains("/api/v1"), "\(answer.error)")
    }

    @Test(
      "SQL only reads the warehouse",
      arguments: [
        "DROP TABLE events_events", "INSERT INTO quarantine (source) VALUES ('x')",
        "CREATE TABLE mine (a INTEGER)", "ATTACH '/tmp/other.duckdb'",
        "COPY (SELECT 1) TO '/tmp/martlet-test-escaped.csv'", "INSTALL httpfs",
        "SELECT * FROM read_text('/etc/hostname')", "SET memory_limit = '1KB'",
      ])
    func readOnly(sql: String) async throws {
      let rest = try SharedPlatform.current.rest
      let answer = try await rest.post("/api/v1/sql", JSON.object(["sql": .string(sql)]).text)
      #expect(answer.status == 400, "\(sql): \(answer)")
      #expect(!answer.error.isEmpty)
      #expect(try await rest.count("SELECT count(*) FROM events_events") >= 0)
    }

    @Test("gRPC refuses what REST refuses, with the same message and its own code")
    func overGRPC() async throws {
      let platform = try SharedPlatform.current
      let rest = try await platform.rest.push("event", "[]")
      let (push, read, predict) = try await platform.withGRPC { client in
        (
          try await grpcError { _ = try await client.push("event", "{}") },
          try await grpcError { _ = try await client.online(["events_7d"], "customer_id", 1) },
          try await grpcError {
            var request = Martlet_V1_PredictRequest()
            request.model = "churn"
            request.rows = [wireRow(["customer_id": 1])]
            _ = try await client.serving.predict(request)
          }
        )
      }
      #expect(push?.code == .notFound)
      #expect(push?.message == rest.error)
      #expect(read?.code == .invalidArgument)
      #expect(predict?.code == .notFound)
    }

    @Test(
      "over gRPC an unknown mode or format is refused with those that there are",
      arguments: [
        ("sometimes", "csv", "as_corrected or as_known, not 'sometimes'"),
        ("as_known", "xml", "csv, parquet or sql, not 'xml'"),
        ("as_known", "jsonl", "csv, parquet or sql, not 'jsonl'"),
      ])
    func unknownWords(mode: String, format: String, says: String) async throws {
      let platform = try SharedPlatform.current
      let error = try await platform.withGRPC { client in
        try await grpcError {
          var request = Martlet_V1_GetHistoryRequest()
          request.features = ["activity.events_7d"]
          request.spine = .init("customer_id,at\n".utf8)
          request.timeColumn = "at"
          request.mode = mode
          request.format = format
          try await client.features.getHistory(request) { response in
            for try await _ in response.messages {}
          }
        }
      }
      #expect(error?.code == .invalidArgument)
      #expect(error?.message.contains(says) == true, "\(error?.message ?? "")")
    }

    @Test(
      "over gRPC a refused history read says why, as REST does",
      arguments: [
        (["activity.events_8d"], "customer_id,at\n7,2026-03-01T00:00:00Z\n", "'events_8d'"),
        (["activity.events_7d"], "customer_id,at\n7,yesterday\n", "'yesterday'"),
        (["activity.events_7d"], "customer_id\n7\n", "'at'"),
        ([], "customer_id,at\n7,2026-03-01T00:00:00Z\n", "no features"),
      ])
    func refusedHistory(features: [String], spine: String, says: String) async throws {
      let platform = try SharedPlatform.current
      let error = try await platform.withGRPC { client in
        try await grpcError {
          var request = Martlet_V1_GetHistoryRequest()
          request.features = features
          request.spine = .init(spine.utf8)
          request.timeColumn = "at"
          request.format = "csv"
          try await client.features.getHistory(request) { response in
            for try await _ in response.messages {}
          }
        }
      }
      #expect(error?.code == .invalidArgument || error?.code == .notFound, "\(error as Any)")
      #expect(error?.message.contains(says) == true, "\(error as Any)")
    }

    @Test("a push of more lines than one may have is refused, and nothing of it is stored")
    func tooManyLines() async throws {
      let platform = try SharedPlatform.current
      let lines = String(repeating: "{}\n", count: 100_001)
      let error = try await platform.withGRPC { client in
        try await grpcError { _ = try await client.push("events", lines) }
      }
      #expect(error?.code == .invalidArgument)
      #expect(error?.message.contains("more than 100000 records") == true)
      #expect(
        try await platform.rest.count("SELECT count(*) FROM quarantine WHERE record = '{}'") == 0)
    }

    @Test("a bad line of a gRPC push is quarantined with its reason")
    func badLineOverGRPC() async throws {
      let platform = try SharedPlatform.current
      let good = ShopProject.event("wire-good", customer: 1, at: "2026-02-28T10:00:00Z")
      let receipt = try await platform.withGRPC { try await $0.push("events", "{oops\n\(good)\n") }
      #expect(receipt.accepted == 1)
      #expect(receipt.quarantined == 1)
      #expect(receipt.reasons.first?.contains("not a record") == true, "\(receipt.reasons)")
    }
  }
}
