import Core
import Foundation
import RedisBackend
import Synchronization
import TestKit
import Testing

/// A `redis-server` that keeps what it acknowledged, and may be killed and started again.
final class RedisProcess: Sendable {
  let port: Int
  private let folder: TemporaryFolder
  private let program = Mutex<ChildProgram?>(nil)

  private init() throws {
    folder = try TemporaryFolder()
    port = try freePort()
  }

  static func with(_ body: (RedisProcess) async throws -> Void) async throws {
    let redis = try RedisProcess()
    defer { redis.folder.remove() }
    let result: Result<Void, any Error>
    do {
      try await redis.start()
      result = .success(try await body(redis))
    } catch {
      result = .failure(error)
    }
    try await redis.program.withLock { $0.take() }?.destroy()
    try result.get()
  }

  func start() async throws {
    let before = ready
    let started = try ChildProgram(
      "redis-server",
      [
        "--port", "\(port)", "--bind", "127.0.0.1", "--save", "", "--appendonly", "yes",
        "--appendfsync", "always",
      ],
      environment: Self.environment, directory: folder.path, output: "\(folder.path)/log",
      errors: "\(folder.path)/log")
    program.withLock { $0 = started }
    try await waitUntil("redis-server was ready") { ready > before }
  }

  private var ready: Int {
    folder.text("log").components(separatedBy: "Ready to accept connections").count
  }

  func crash() async throws { try await program.withLock { $0.take() }?.destroy() }

  var configuration: RedisConfiguration {
    RedisConfiguration(addresses: [RedisAddress(host: "127.0.0.1", port: port)], project: "martlet")
  }

  /// What `redis-cli` prints for a command.
  func cli(_ command: String...) async throws -> String {
    let result = try await ChildProgram.run(
      "redis-cli", ["-h", "127.0.0.1", "-p", "\(port)"] + command, environment: Self.environment,
      directory: "/tmp")
    return (result.output + result.errors).trimmingCharacters(in: .whitespacesAndNewlines)
  }

  private static let environment = [
    "PATH": ProcessInfo.processInfo.environment["PATH"] ?? "/usr/bin:/bin"
  ]
}

/// A port of 127.0.0.1 that nobody uses now.
func freePort() throws -> Int {
  let handle = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
  defer { close(handle) }
  var address = sockaddr_in()
  address.sin_family = sa_family_t(AF_INET)
  address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
  var size = socklen_t(MemoryLayout<sockaddr_in>.size)
  let port = withUnsafeMutablePointer(to: &address) { pointer in
    pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { address -> Int? in
      guard bind(handle, address, size) == 0, getsockname(handle, address, &size) == 0 else {
        return nil
      }
      return address.withMemoryRebound(to: sockaddr_in.self, capacity: 1) {
        Int(in_port_t(bigEndian: $0.pointee.sin_port))
      }
    }
  }
  return try #require(port)
}
