import Core
import Foundation
import Logging
import NIOCore
import ServiceLifecycle
import Synchronization
import UnixSignals

extension Platform {
  /// Serves until SIGTERM or SIGINT, then drains within the grace time.
  package static func run(_ configuration: Configuration) async throws {
    try await run(configuration, signals: [.sigterm, .sigint], onReady: { _ in })
  }

  /// Starts a platform on free ports for one command, runs `body` with its address, and stops it.
  package static func runEmbedded<Result: Sendable>(
    _ configuration: Configuration,
    _ body: @escaping @Sendable (String) async throws -> Result
  ) async throws -> Result {
    var configuration = configuration
    configuration.server.host = "127.0.0.1"
    configuration.server.httpPort = 0
    configuration.server.grpcPort = 0
    configuration.log.level = .warning
    configuration.workers.remoteAddress = nil
    let quiet = configuration
    typealias Outcome = Swift.Result<Result, any Error>
    return try await withThrowingTaskGroup(of: Outcome?.self) { group in
      let (ready, isReady) = AsyncStream.makeStream(of: RunningPlatform.self)
      let stop = StopSwitch()
      group.addTask {
        defer { isReady.finish() }
        try await run(quiet, signals: [], stop: stop) { isReady.yield($0) }
        return nil
      }
      group.addTask {
        defer { stop.flip() }
        for await platform in ready {
          do {
            return .success(try await body(platform.httpAddress))
          } catch {
            // Thrown on once the platform has stopped in good order.
            return .failure(error)
          }
        }
        return nil
      }
      var outcome: Outcome?
      while let next = try await group.next() { if let next { outcome = next } }
      guard let outcome else {
        throw PlatformError(.unavailable, "the platform ended before the command had its answer")
      }
      return try outcome.get()
    }
  }

  private static func run(
    _ configuration: Configuration, signals: [UnixSignal], stop: StopSwitch? = nil,
    onReady: @escaping @Sendable (RunningPlatform) -> Void
  ) async throws {
    let log = Logging.logger(configuration)
    PlatformMetrics.bootstrap()
    if stop == nil { configuration.warnOfUnsignedArtifacts(log) }
    let platform = try await Platform(configuration)
    let ports = ListeningPorts()
    var list = platform.serviceList(ports)
    list.append(Announcement(configuration, ports, log, onReady))
    if let stop { list.append(stop) }
    var group = ServiceGroupConfiguration(
      services: list.map {
        .init(
          service: $0,
          successTerminationBehavior: $0 is StopSwitch ? .gracefullyShutdownGroup : .cancelGroup,
          failureTerminationBehavior: .gracefullyShutdownGroup)
      }, gracefulShutdownSignals: signals, logger: log)
    group.maximumGracefulShutdownDuration = configuration.server.shutdownGrace.duration
    defer { RunningPlatform.remove(configuration) }
    try await ServiceGroup(configuration: group).run()
  }
}

/// Ends the group when the command is done.
final class StopSwitch: Service {
  private let (stream, continuation) = AsyncStream.makeStream(of: Void.self)

  func flip() { continuation.finish() }

  func run() async throws {
    await withGracefulShutdownHandler {
      for await _ in stream {}
    } onGracefulShutdown: { [continuation] in
      continuation.finish()
    }
  }
}

/// The ports that the doors got, for whoever waits for both.
final class ListeningPorts: Sendable {
  private struct Ports {
    var http: Int?
    var grpc: Int?
  }

  private let known = Published(Ports())
  private let writing = Mutex(())

  func set(http: Int? = nil, grpc: Int? = nil) {
    writing.withLock { _ in
      let before = known.current
      known.publish(Ports(http: http ?? before.http, grpc: grpc ?? before.grpc))
    }
  }

  /// Both ports; nil where the caller is cancelled first.
  func wait() async -> (Int, Int)? {
    for await ports in known.changes() {
      if let http = ports.http, let grpc = ports.grpc { return (http, grpc) }
    }
    return nil
  }
}

/// Says that the platform is ready, in the log and in `martlet.json`, once every door is open.
private struct Announcement: Service {
  let configuration: Configuration
  let ports: ListeningPorts
  let log: Logger
  let onReady: @Sendable (RunningPlatform) -> Void

  init(
    _ configuration: Configuration, _ ports: ListeningPorts, _ log: Logger,
    _ onReady: @escaping @Sendable (RunningPlatform) -> Void
  ) {
    self.configuration = configuration
    self.ports = ports
    self.log = log
    self.onReady = onReady
  }

  func run() async throws {
    await cancelWhenGracefulShutdown {
      guard let (http, grpc) = await ports.wait() else { return }
      let host = configuration.server.host
      let reachable = host == "0.0.0.0" ? "127.0.0.1" : host
      let platform = RunningPlatform(
        pid: ProcessInfo.processInfo.processIdentifier, http: "http://\(reachable):\(http)",
        grpc: "\(reachable):\(grpc)")
      do { try platform.write(configuration) } catch {
        log.error(
          "martlet.json could not be written; commands need --server",
          metadata: ["error": "\(error)"])
      }
      log.notice("ready", metadata: ["http": "\(platform.http)", "grpc": "\(platform.grpc)"])
      onReady(platform)
      try? await gracefulShutdown()
    }
  }
}
