import AsyncHTTPClient
import Core
import NIOCore
import NIOHTTP1
import TestKit

/// An answer of the REST API, whatever its status.
struct Answer: Sendable, CustomStringConvertible {
  var status: Int
  var headers: HTTPHeaders
  var body: [UInt8]

  var text: String { String(decoding: body, as: UTF8.self) }
  /// Null where the body is not JSON.
  var json: JSON { (try? JSON(parsing: body)) ?? .null }
  var error: String { json["error"]?["message"]?.string ?? "" }
  var code: String { json["error"]?["code"]?.string ?? "" }
  var description: String { "\(status) \(text.prefix(2_000))" }

  subscript(key: String) -> JSON? { json[key] }
}

/// Answers other than 200 where a test needs one.
struct Refused: Error, CustomStringConvertible {
  var request: String
  var answer: Answer
  var description: String { "\(request): \(answer)" }
}

/// Calls the REST API of a platform.
struct RESTClient: Sendable {
  let address: String
  var token: String?

  /// A platform that is gone is not asked again and again.
  private static let client: HTTPClient = {
    var configuration = HTTPClient.Configuration.singletonConfiguration
    configuration.connectionPool.retryConnectionEstablishment = false
    return HTTPClient(
      eventLoopGroupProvider: .shared(.singletonMultiThreadedEventLoopGroup),
      configuration: configuration)
  }()

  func get(_ path: String) async throws -> Answer { try await send(.GET, path, nil) }

  func post(
    _ path: String, _ body: String = "{}", headers: HTTPHeaders = [:]
  ) async throws -> Answer {
    try await send(.POST, path, .bytes(ByteBuffer(string: body)), headers: headers)
  }

  func post(_ path: String, bytes: [UInt8]) async throws -> Answer {
    try await send(.POST, path, .bytes(ByteBuffer(bytes: bytes)))
  }

  func send(
    _ method: HTTPMethod, _ path: String, _ body: HTTPClientRequest.Body?,
    headers: HTTPHeaders = [:], within limit: TimeAmount = .seconds(120)
  ) async throws -> Answer {
    var request = HTTPClientRequest(url: address + path)
    request.method = method
    request.headers = headers
    if let token { request.headers.add(name: "authorization", value: "Bearer \(token)") }
    request.body = body
    let response = try await Self.client.execute(request, timeout: limit)
    let bytes = try await response.body.collect(upTo: 256 << 20)
    return Answer(
      status: Int(response.status.code), headers: response.headers,
      body: Array(bytes.readableBytesView))
  }

  /// The JSON of an answer that must be 200.
  func ok(_ path: String, _ body: String = "{}") async throws -> JSON {
    let answer = try await post(path, body)
    guard answer.status == 200 else { throw Refused(request: "POST \(path)", answer: answer) }
    return answer.json
  }

  func okGet(_ path: String) async throws -> JSON {
    let answer = try await get(path)
    guard answer.status == 200 else { throw Refused(request: "GET \(path)", answer: answer) }
    return answer.json
  }

  // MARK: What tests do again and again

  func apply(_ yaml: String) async throws -> Answer {
    try await post("/api/v1/definitions/apply", JSON.object(["yaml": .string(yaml)]).text)
  }

  func push(_ source: String, _ records: String) async throws -> Answer {
    try await post("/api/v1/sources/\(source)/events", records)
  }

  func upload(_ source: String, _ name: String, _ content: String) async throws -> Answer {
    try await post("/api/v1/sources/\(source)/files?name=\(name)", content)
  }

  /// The values of one row.
  func online(_ features: [String], _ entities: String) async throws -> [JSON] {
    let names = JSON.array(features.map { .string($0) }).text
    let answer = try await ok(
      "/api/v1/features/online", #"{"features": \#(names), "entities": [\#(entities)]}"#)
    return answer["rows"]?.array?.first?["values"]?.array ?? []
  }

  func rows(_ sql: String) async throws -> [[JSON]] {
    let answer = try await ok("/api/v1/sql", JSON.object(["sql": .string(sql)]).text)
    return (answer["rows"]?.array ?? []).map { $0.array ?? [] }
  }

  func count(_ sql: String) async throws -> Int64 { try await rows(sql).first?.first?.int ?? -1 }

  func moveClock(_ time: String) async throws {
    _ = try await ok("/api/v1/clock", #"{"now": "\#(time)"}"#)
  }

  /// Files a job and waits for its end.
  func train(_ model: String, _ options: String = "{}") async throws -> JSON {
    let job = try await ok("/api/v1/models/\(model)/train", options)
    return try await finished(job["id"]?.string ?? "")
  }

  func finished(_ id: String) async throws -> JSON {
    var job = JSON.null
    try await waitUntil("job \(id) was over", within: .seconds(120)) {
      job = try await okGet("/api/v1/jobs/\(id)")
      return !["PENDING", "RUNNING"].contains(job["state"]?.string ?? "")
    }
    return job
  }

  func promote(_ model: String, _ version: Int) async throws {
    _ = try await ok("/api/v1/models/\(model)/versions/\(version)/promote")
    try await waitUntil("version \(version) of \(model) served") {
      try await okGet("/api/v1/models/\(model)")["serving"]?.int == Int64(version)
    }
  }

  func predict(_ model: String, _ row: String) async throws -> Answer {
    try await post("/api/v1/models/\(model)/predict", #"{"rows": [\#(row)]}"#)
  }
}

extension PlatformProcess {
  var rest: RESTClient { RESTClient(address: http) }
}
