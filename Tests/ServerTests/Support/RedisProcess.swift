import Core
import Foundation
import RedisBackend
import Synchronization
import TestKit

/// A `redis-server` that can end and begin again on its port.
final class RedisProcess: Sendable {
  let port: Int
  private let folder: TemporaryFolder
  private let program: Mutex<ChildProgram?> = Mutex(nil)
  private static let environment = [
    "PATH": ProcessInfo.processInfo.environment["PATH"] ?? "/usr/bin:/bin"
  ]

  private let keepsWrites: Bool

  private init(keepsWrites: Bool) throws {
    port = try Self.freePort()
    folder = try TemporaryFolder()
    self.keepsWrites = keepsWrites
  }

  /// - Parameter keepsWrites: what it acknowledged is there after a crash.
  static func with(
    keepsWrites: Bool = false, _ body: (RedisProcess) async throws -> Void
  ) async throws {
    let redis = try RedisProcess(keepsWrites: keepsWrites)
    let result: Result<Void, any Error>
    do {
      try await redis.start()
      result = .success(try await body(redis))
    } catch {
      result = .failure(error)
    }
    try await redis.crash()
    redis.folder.remove()
    try result.get()
  }

  var configuration: RedisConfiguration {
    RedisConfiguration(addresses: [RedisAddress(host: "127.0.0.1", port: port)], project: "martlet")
  }

  func start(isPersistent: Bool = false) async throws {
    let started = try ChildProgram(
      "redis-server",
      [
        "--port", "\(port)", "--bind", "127.0.0.1", "--save", "", "--dir", folder.path,
        "--appendonly", isPersistent || keepsWrites ? "yes" : "no", "--appendfsync", "always",
      ], environment: Self.environment, directory: folder.path, output: "\(folder.path)/log",
      errors: "\(folder.path)/log")
    program.withLock { $0 = started }
    try await waitUntil("redis-server answered") { try await self.cli("PING") == "PONG" }
  }

  /// From here on every write is on disk before it is answered.
  func persist() async throws {
    _ = try await cli("CONFIG", "SET", "appendonly", "yes")
    try await waitUntil("the log was written") {
      let info = try await self.cli("INFO", "persistence")
      return info.contains("aof_enabled:1") && info.contains("aof_rewrite_in_progress:0")
        && info.contains("aof_rewrite_scheduled:0")
    }
  }

  /// `kill -9`; returns when it is gone.
  func crash() async throws {
    let last = program.withLock { program in
      defer { program = nil }
      return program
    }
    try await last?.destroy()
  }

  func cli(_ words: String...) async throws -> String {
    let result = try await ChildProgram.run(
      "redis-cli", ["-h", "127.0.0.1", "-p", "\(port)"] + words, environment: Self.environment,
      directory: folder.path)
    return (result.output + result.errors).trimmingCharacters(in: .whitespacesAndNewlines)
  }

  /// The bytes of a key's state.
  func state(of key: String) async throws -> [UInt8] {
    let script =
      "return (string.gsub(redis.call('HGET', KEYS[1], '#state'), '.', function (c) return string.format('%02x', string.byte(c)) end))"
    let text = Array(try await cli("EVAL", script, "1", key).utf8)
    return stride(from: 0, to: text.count - 1, by: 2).compactMap {
      UInt8(String(decoding: text[$0...($0 + 1)], as: UTF8.self), radix: 16)
    }
  }

  func setState(of key: String, to bytes: [UInt8]) async throws {
    let script =
      "return redis.call('HSET', KEYS[1], '#state', (string.gsub(ARGV[1], '..', function (c) return string.char(tonumber(c, 16)) end)))"
    let text = bytes.map { String(Int($0) + 256, radix: 16).dropFirst() }.joined()
    _ = try await cli("EVAL", script, "1", key, text)
  }

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
