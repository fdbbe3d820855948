import Core
import Foundation
import Logging
import Metrics
import Synchronization

/// The process's metrics: swift-metrics knows one backend per process.
enum PlatformMetrics {
  static let shared = PrometheusMetrics()
  private static let isBootstrapped = Mutex(false)

  static func bootstrap() {
    isBootstrapped.withLock { done in
      if !done { MetricsSystem.bootstrap(shared) }
      done = true
    }
  }
}

/// The process's log, on standard error.
enum Logging {
  static func logger(_ configuration: Configuration) -> Logger {
    var logger = Logger(label: "martlet") { label in
      switch configuration.log.format {
      case .text: StreamLogHandler.standardError(label: label)
      case .json: JSONLogHandler()
      }
    }
    logger.logLevel = Logger.Level(rawValue: configuration.log.level.rawValue) ?? .info
    return logger
  }
}

/// One JSON object a line.
struct JSONLogHandler: LogHandler {
  var metadata: Logger.Metadata = [:]
  var logLevel: Logger.Level = .info

  subscript(metadataKey key: String) -> Logger.Metadata.Value? {
    get { metadata[key] }
    set { metadata[key] = newValue }
  }

  func log(event: LogEvent) {
    var members: [JSON.Member] = [
      .init("time", .string(SystemClock().now.description)),
      .init("level", .string(event.level.rawValue)),
      .init("message", .string(event.message.description)),
    ]
    let all = metadata.merging(event.metadata ?? [:]) { $1 }
    for (key, value) in all.sorted(by: { $0.key < $1.key }) {
      members.append(.init(key, .string(value.description)))
    }
    FileHandle.standardError.write(Data((JSON.object(members).text + "\n").utf8))
  }
}
