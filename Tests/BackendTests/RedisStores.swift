import Core
import Foundation
import Logging
import RedisBackend
import TestKit

extension RedisServer {
  var address: RedisAddress { RedisAddress(host: "127.0.0.1", port: port) }
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
