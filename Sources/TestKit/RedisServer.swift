import Core
import Foundation
import Synchronization

/// A `redis-server` of one test, on a free port of this machine; it can end and begin again there.
///
/// Guarantees: the process ends when `with` or `ending` returns, or when the tests do.
package final class RedisServer: Sendable {
  package let port: Int
  package let folder: TemporaryFolder
  private let arguments: [String]
  private let isSentinel: Bool
  private let programs: Mutex<[ChildProgram]> = Mutex([])

  package static let environment = [
    "PATH": ProcessInfo.processInfo.environment["PATH"] ?? "/usr/bin:/bin"
  ]

  /// Arguments with which what it acknowledged is there after a crash.
  package static let keepsWrites = ["--appendonly", "yes", "--appendfsync", "always"]

  package init(_ arguments: [String] = [], isSentinel: Bool = false) throws {
    port = try freePort()
    self.isSentinel = isSentinel
    folder = try TemporaryFolder()
    self.arguments = arguments
  }

  /// Runs `body` with a started server and ends the server, whatever happened.
  package static func with<Result>(
    _ arguments: [String] = [], _ body: (RedisServer) async throws -> Result
  ) async throws -> Result {
    let server = try RedisServer(arguments)
    return try await ending([server]) {
      try await server.start()
      return try await body(server)
    }
  }

  /// Runs `body` and then ends the servers.
  package static func ending<Result>(
    _ servers: [RedisServer], _ body: () async throws -> Result
  ) async throws -> Result {
    let result: Swift.Result<Result, any Error>
    do { result = .success(try await body()) } catch { result = .failure(error) }
    for server in servers { try await server.remove() }
    return try result.get()
  }

  /// Starts it, or starts it again on the same files; returns when it answers.
  ///
  /// - Parameter more: arguments of this start only.
  package func start(_ more: [String] = []) async throws {
    var all = ["--port", "\(port)", "--bind", "127.0.0.1", "--dir", folder.path]
    if isSentinel {
      // A Sentinel keeps what it knows in its file of settings.
      try folder.write("", to: "sentinel.conf")
      all = ["\(folder.path)/sentinel.conf", "--sentinel"] + all
    } else {
      all += ["--save", ""]
    }
    let program = try ChildProgram(
      "redis-server", all + arguments + more, environment: Self.environment,
      directory: folder.path, output: "\(folder.path)/log", errors: "\(folder.path)/log")
    programs.withLock { $0.append(program) }
    try await waitUntil("redis-server answered") {
      if let status = program.status {
        throw Disappointment("redis-server ended with \(status):\n\(folder.text("log"))")
      }
      let answer = try await cli("PING")
      return answer == "PONG" || answer.contains("NOAUTH")
    }
  }

  /// From here on every write is on disk before it is answered.
  package func persist() async throws {
    _ = try await cli("CONFIG", "SET", "appendonly", "yes")
    try await waitUntil("the log was written") {
      let info = try await self.cli("INFO", "persistence")
      return info.contains("aof_enabled:1") && info.contains("aof_rewrite_in_progress:0")
        && info.contains("aof_rewrite_scheduled:0")
    }
  }

  package func send(_ signal: Int32) { programs.withLock { $0.last }?.send(signal) }

  /// `kill -9`; returns when it is gone.
  package func crash() async throws { try await programs.withLock { $0.last }?.destroy() }

  package func remove() async throws {
    for program in programs.withLock({ $0 }) {
      // One that was stopped by a signal cannot be waited for otherwise.
      program.send(SIGCONT)
      try await program.destroy()
    }
    folder.remove()
  }

  /// What `redis-cli` prints for a command.
  @discardableResult
  package func cli(_ command: String...) async throws -> String {
    try await Self.cli(port: port, command)
  }

  package static func cli(port: Int, _ command: [String]) async throws -> String {
    let result = try await ChildProgram.run(
      "redis-cli", ["-h", "127.0.0.1", "-p", "\(port)"] + command, environment: environment,
      directory: "/tmp")
    return (result.output + result.errors).trimmingCharacters(in: .whitespacesAndNewlines)
  }

  /// The bytes of a key's state.
  package func state(of key: String) async throws -> [UInt8] {
    let script =
      "return (string.gsub(redis.call('HGET', KEYS[1], '#state'), '.', function (c) return string.format('%02x', string.byte(c)) end))"
    let text = Array(try await cli("EVAL", script, "1", key).utf8)
    return stride(from: 0, to: text.count - 1, by: 2).compactMap {
      UInt8(String(decoding: text[$0...($0 + 1)], as: UTF8.self), radix: 16)
    }
  }

  package func setState(of key: String, to bytes: [UInt8]) async throws {
    let script =
      "return redis.call('HSET', KEYS[1], '#state', (string.gsub(ARGV[1], '..', function (c) return string.char(tonumber(c, 16)) end)))"
    let text = bytes.map { String(Int($0) + 256, radix: 16).dropFirst() }.joined()
    _ = try await cli("EVAL", script, "1", key, text)
  }
}

/// A port of this machine that nobody listens on.
package func freePort() throws -> Int {
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
