import Core
import Foundation
import Logging
import RedisBackend
import TestKit
import Testing

/// A `redis-server` of one test, on a free port of this machine.
final class RedisServer: Sendable {
  let port: Int
  let folder: TemporaryFolder
  private let arguments: [String]
  private let isSentinel: Bool
  private let program: Programs

  /// Every start of the server.
  private final class Programs: Sendable {
    let all = Locked<[ChildProgram]>([])
  }

  init(_ arguments: [String] = [], isSentinel: Bool = false) throws {
    port = try freePort()
    self.isSentinel = isSentinel
    folder = try TemporaryFolder()
    self.arguments = arguments
    program = Programs()
  }

  var address: RedisAddress { RedisAddress(host: "127.0.0.1", port: port) }

  /// Starts it, or starts it again on the same files; returns when it answers.
  func start() async throws {
    var all = ["--port", "\(port)", "--bind", "127.0.0.1", "--dir", folder.path]
    if isSentinel {
      // A Sentinel keeps what it knows in its file of settings.
      try folder.write("", to: "sentinel.conf")
      all = ["\(folder.path)/sentinel.conf", "--sentinel"] + all
    } else {
      all += ["--save", ""]
    }
    let program = try ChildProgram(
      "redis-server", all + arguments, environment: RedisServer.environment,
      directory: folder.path, output: "\(folder.path)/log", errors: "\(folder.path)/log")
    self.program.all.update { $0.append(program) }
    try await waitUntil("redis-server answered") {
      if let status = program.status {
        throw Disappointment("redis-server ended with \(status):\n\(folder.text("log"))")
      }
      let answer = try await cli("PING")
      return answer.contains("PONG") || answer.contains("NOAUTH")
    }
  }

  /// What `redis-cli` prints for a command.
  func cli(_ command: String...) async throws -> String {
    try await RedisServer.cli(port: port, command)
  }

  static func cli(port: Int, _ command: [String]) async throws -> String {
    let result = try await ChildProgram.run(
      "redis-cli", ["-h", "127.0.0.1", "-p", "\(port)"] + command, environment: environment,
      directory: "/tmp")
    return (result.output + result.errors).trimmingCharacters(in: .whitespacesAndNewlines)
  }

  func send(_ signal: Int32) { program.all.value.last?.send(signal) }

  /// `kill -9`; returns when it is gone.
  func crash() async throws { try await program.all.value.last?.destroy() }

  func remove() async throws {
    for program in program.all.value {
      // One that was stopped by a signal cannot be waited for otherwise.
      program.send(SIGCONT)
      try await program.destroy()
    }
    folder.remove()
  }

  static let environment = ["PATH": ProcessInfo.processInfo.environment["PATH"] ?? "/usr/bin:/bin"]

  /// Runs `body` with a started server and ends the server, whatever happened.
  static func with<Result>(
    _ arguments: [String] = [], _ body: (RedisServer) async throws -> Result
  ) async throws -> Result {
    let server = try RedisServer(arguments)
    return try await ending([server]) {
      try await server.start()
      return try await body(server)
    }
  }

  /// Runs `body` and then ends the servers.
  static func ending<Result>(
    _ servers: [RedisServer], _ body: () async throws -> Result
  ) async throws -> Result {
    let result: Swift.Result<Result, any Error>
    do { result = .success(try await body()) } catch { result = .failure(error) }
    for server in servers { try await server.remove() }
    return try result.get()
  }
}

/// A port of this machine that nobody listens on.
func freePort() throws -> Int {
  let socket = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
  defer { close(socket) }
  var address = sockaddr_in()
  address.sin_family = sa_family_t(AF_INET)
  address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
  var size = socklen_t(MemoryLayout<sockaddr_in>.size)
  let status = withUnsafeMutablePointer(to: &address) {
    $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
      bind(socket, $0, size) == 0 ? getsockname(socket, $0, &size) : -1
    }
  }
  guard status == 0 else { throw Disappointment("no free port") }
  return Int(UInt16(bigEndian: address.sin_port))
}

extension RedisOnlineStore {
  /// A store of a test; it is to be closed by the test.
  static func test(
    _ configuration: RedisConfiguration
  ) throws -> RedisOnlineStore {
    try RedisOnlineStore(
      configuration, logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
  }

  /// A store on one server.
  static func test(
    _ server: RedisServer, _ change: (inout RedisConfiguration) -> Void = { _ in }
  ) throws -> RedisOnlineStore {
    var configuration = RedisConfiguration(addresses: [server.address], project: "shop")
    // Twenty tests at once on a small machine are no reason to give up.
    configuration.requestTimeout = .seconds(20)
    configuration.connectTimeout = .seconds(20)
    configuration.longestBackoff = .milliseconds(200)
    change(&configuration)
    return try test(configuration)
  }
}

/// A value behind a lock.
final class Locked<Value: Sendable>: @unchecked Sendable {
  private let lock = NSLock()
  private var stored: Value

  init(_ value: Value) { stored = value }

  var value: Value { lock.withLock { stored } }
  func update(_ change: (inout Value) -> Void) { lock.withLock { change(&stored) } }
}

/// The error that work ends with.
func failure(_ work: () async throws -> Void) async -> PlatformError? {
  do {
    try await work()
    return nil
  } catch {
    return error as? PlatformError
  }
}
