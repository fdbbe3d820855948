import Core
import Foundation
import RedisBackend
import TestKit

/// A `redis-server` of one test, on a free port.
struct RedisProcess: Sendable {
  let port: Int

  var configuration: RedisConfiguration {
    RedisConfiguration(addresses: [RedisAddress(host: "127.0.0.1", port: port)], project: "martlet")
  }

  static func with<Result>(_ body: (RedisProcess) async throws -> Result) async throws -> Result {
    let folder = try TemporaryFolder()
    defer { folder.remove() }
    let port = try freePort()
    let server = try ChildProgram(
      "redis-server", ["--port", "\(port)", "--bind", "127.0.0.1", "--save", ""],
      environment: environment, directory: folder.path, output: "\(folder.path)/log",
      errors: "\(folder.path)/log")
    let result: Swift.Result<Result, any Error>
    do {
      try await waitUntil("redis-server was ready") {
        folder.text("log").contains("Ready to accept connections")
      }
      result = .success(try await body(RedisProcess(port: port)))
    } catch {
      result = .failure(error)
    }
    try await server.destroy()
    return try result.get()
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

  private static func freePort() throws -> Int {
    let handle = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
    defer { close(handle) }
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
    var size = socklen_t(MemoryLayout<sockaddr_in>.size)
    let status = withUnsafeMutablePointer(to: &address) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        bind(handle, $0, size) == 0 ? getsockname(handle, $0, &size) : -1
      }
    }
    guard status == 0 else { throw Disappointment("no free port") }
    return Int(UInt16(bigEndian: address.sin_port))
  }
}
