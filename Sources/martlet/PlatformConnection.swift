import AsyncHTTPClient
import Core
import Foundation
import NIOCore
import NIOHTTP1
import Server

/// A command's line to a platform: one named by `--server` or `MARTLET_ADDRESS`, the one that runs on the data directory, or one started for the command.
struct PlatformConnection: Sendable {
  /// A refused connection is an answer: nobody waits for a platform that is not there.
  private static let client: HTTPClient = {
    var configuration = HTTPClient.Configuration()
    configuration.connectionPool.retryConnectionEstablishment = false
    return HTTPClient(eventLoopGroupProvider: .singleton, configuration: configuration)
  }()

  let address: String
  private let token: String?

  /// How long a command waits for a platform that holds the data directory to say where it is.
  private static let starting = Duration.seconds(15)

  /// Runs `body` connected to a platform.
  static func with<Result: Sendable>(
    _ options: CommonOptions,
    _ body: @escaping @Sendable (PlatformConnection) async throws -> Result
  ) async throws -> Result {
    let (configuration, _) = try ConfigurationLoader.load(options)
    let token = configuration.server.token?.value
    let named = ProcessInfo.processInfo.environment["MARTLET_ADDRESS"].flatMap {
      $0.isEmpty ? nil : $0
    }
    if let address = options.server ?? named ?? RunningPlatform.find(configuration)?.httpAddress {
      return try await body(PlatformConnection(address: address, token: token))
    }
    do {
      return try await Platform.runEmbedded(configuration) { address in
        try await body(PlatformConnection(address: address, token: token))
      }
    } catch let error as PlatformError where error.context["pid"] != nil {
      // A platform that has just been started holds the data directory before it can be found.
      let address = try await found(configuration, orElse: error)
      return try await body(PlatformConnection(address: address, token: token))
    }
  }

  private static func found(
    _ configuration: Configuration, orElse error: PlatformError
  ) async throws -> String {
    let end = ContinuousClock.now + starting
    while ContinuousClock.now < end {
      if let platform = RunningPlatform.find(configuration) { return platform.httpAddress }
      try await Task.sleep(for: .milliseconds(50))
    }
    throw error
  }

  func get(_ path: String) async throws -> JSON {
    try await send(.GET, path, nil)
  }

  /// An answer that is text as it stands.
  func text(_ path: String) async throws -> String {
    let response = try await execute(.GET, path, nil, accept: "*/*")
    guard response.status.code < 300 else { throw try await failure(response) }
    return String(buffer: try await response.body.collect(upTo: 1 << 30))
  }

  func post(_ path: String, _ body: JSON = .object([])) async throws -> JSON {
    try await send(.POST, path, .bytes(ByteBuffer(bytes: body.utf8)))
  }

  func put(_ path: String, _ body: JSON) async throws -> JSON {
    try await send(.PUT, path, .bytes(ByteBuffer(bytes: body.utf8)))
  }

  func patch(_ path: String, _ body: JSON) async throws -> JSON {
    try await send(.PATCH, path, .bytes(ByteBuffer(bytes: body.utf8)))
  }

  func delete(_ path: String, _ body: JSON) async throws -> JSON {
    try await send(.DELETE, path, .bytes(ByteBuffer(bytes: body.utf8)))
  }

  func post(
    _ path: String, body: HTTPClientRequest.Body,
    onLine: (@Sendable (JSON) async throws -> Void)? = nil
  ) async throws -> JSON {
    try await send(.POST, path, body, onLine: onLine)
  }

  /// Sends records to a source, one JSON object a line.
  func push(
    _ lines: some Collection<String>, to source: String, wait: String? = nil, client: String? = nil,
    sequence: Int64 = 0
  ) async throws -> JSON {
    var parts = wait.map { ["wait=\($0.urlEscaped)"] } ?? []
    if let client { parts += ["client=\(client.urlEscaped)", "sequence=\(sequence)"] }
    let query = parts.isEmpty ? "" : "?" + parts.joined(separator: "&")
    return try await send(
      .POST, "/api/v1/sources/\(source.urlEscaped)/events\(query)",
      .bytes(ByteBuffer(string: lines.joined(separator: "\n"))), contentType: "application/x-ndjson"
    )
  }

  /// Gives the answer's body to `sink` piece by piece, and returns its headers.
  @discardableResult
  func download(
    _ path: String, body: HTTPClientRequest.Body? = nil,
    to sink: (ByteBuffer) async throws -> Void
  ) async throws -> HTTPHeaders {
    let response = try await execute(body == nil ? .GET : .POST, path, body, accept: "*/*")
    guard response.status.code < 300 else { throw try await failure(response) }
    for try await piece in response.body { try await sink(piece) }
    return response.headers
  }

  /// Lines of the answer but the last go to `onLine`; the last is the answer.
  private func send(
    _ method: HTTPMethod, _ path: String, _ body: HTTPClientRequest.Body?,
    contentType: String = "application/json",
    onLine: (@Sendable (JSON) async throws -> Void)? = nil
  ) async throws -> JSON {
    let response = try await execute(
      method, path, body, accept: onLine == nil ? "application/json" : "application/x-ndjson",
      contentType: contentType)
    guard response.status.code < 300 else { throw try await failure(response) }
    guard let onLine else {
      let bytes = try await response.body.collect(upTo: 1 << 30)
      return try JSON(parsing: Array(bytes.readableBytesView))
    }
    var pending: [UInt8] = []
    var last: JSON?
    for try await piece in response.body {
      pending.append(contentsOf: piece.readableBytesView)
      while let end = pending.firstIndex(of: UInt8(ascii: "\n")) {
        let line = Array(pending[..<end])
        pending.removeSubrange(...end)
        if let last { try await onLine(last) }
        last = try JSON(parsing: line)
      }
    }
    guard let last else {
      throw PlatformError(
        .unavailable, "the platform at \(address) closed the connection; see its log")
    }
    if let error = last["error"] { throw Self.error(error) }
    return last
  }

  private func execute(
    _ method: HTTPMethod, _ path: String, _ body: HTTPClientRequest.Body?, accept: String,
    contentType: String = "application/json"
  ) async throws -> HTTPClientResponse {
    var request = HTTPClientRequest(url: address + path)
    request.method = method
    request.headers.add(name: "accept", value: accept)
    request.headers.add(name: "content-type", value: contentType)
    if let token { request.headers.add(name: "authorization", value: "Bearer \(token)") }
    request.body = body
    do {
      return try await Self.client.execute(request, timeout: .hours(24))
    } catch {
      throw PlatformError(
        .unavailable, "no platform answers at \(address); start it with `martlet up`", cause: error)
    }
  }

  private func failure(_ response: HTTPClientResponse) async throws -> PlatformError {
    let bytes = try await response.body.collect(upTo: 16 << 20)
    let body = try? JSON(parsing: Array(bytes.readableBytesView))
    if let error = body?["error"] { return Self.error(error) }
    return PlatformError(
      .internalError,
      "the platform answered \(response.status.code): \(String(buffer: bytes).prefix(500))")
  }

  private static func error(_ error: JSON) -> PlatformError {
    PlatformError(
      ErrorCode(rawValue: error["code"]?.string ?? "") ?? .internalError,
      error["message"]?.string ?? error.text, retryable: error["retryable"]?.bool)
  }
}

extension String {
  /// Escaped for a path segment or a query value of a URL.
  var urlEscaped: String {
    addingPercentEncoding(
      withAllowedCharacters: .alphanumerics.union(CharacterSet(charactersIn: "-._~"))) ?? self
  }
}
