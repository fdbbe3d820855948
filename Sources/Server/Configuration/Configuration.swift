import Core
import Workers

/// Everything that can be set about a running platform; each field begins with its default.
///
/// What a field means stands beside its name in `Setting.all`, the table that reads and documents it.
package struct Configuration: Sendable, Equatable {
  package var project = "."
  package var roles = Role.allCases
  package var data = Data()
  package var server = Server()
  package var workers = Workers()
  package var online = Online()
  package var redis = Redis()
  package var kafka = Kafka()
  package var databaseService = DatabaseService()
  package var warehouse = Warehouse()
  package var blobs = Blobs()
  package var ingest = Ingest()
  package var serving = Serving()
  package var registry = Registry()
  package var quarantine = Quarantine()
  package var retention = Retention()
  package var predictionLog = PredictionLog()
  package var monitoring = Monitoring()
  package var jobs = Jobs()
  package var lineage = Lineage()
  package var log = Log()
  package var clock = Clock()

  package init() {}

  package enum Role: String, Sendable, CaseIterable {
    case serving, monitoring, orchestrator
  }

  package struct Data: Sendable, Equatable {
    package var directory = "martlet-data"
  }

  package struct Server: Sendable, Equatable {
    package var host = "127.0.0.1"
    package var httpPort = 8080
    package var grpcPort = 9090
    package var shutdownGrace = Span.seconds(20)
    package var token: Secret?
    package var echo = false
  }

  package struct Workers: Sendable, Equatable {
    package var python = "python3"
    package var maxPythonWorkers = 4
    package var memoryLimitShare = 0.9
    package var heartbeat = Span.seconds(1)
    package var heartbeatTimeout = Span.seconds(5)
    package var startTimeout = Span.seconds(60)
    package var taskTimeout = Span.minutes(10)
    package var idleTimeout = Span.minutes(10)
    package var libraryVersions = LibraryVersions.minor
    package var artifactKey: Secret?
    package var remoteAddress: String?
    package var remoteCertificateFile: String?
    package var remoteKeyFile: String?
    package var remoteToken: Secret?
  }

  package struct Online: Sendable, Equatable {
    package enum Backend: String, Sendable, CaseIterable { case memory, redis }
    package var backend = Backend.memory
    package var snapshotInterval = Span.minutes(5)
    package var snapshotEvents = 1_000_000
  }

  package struct Redis: Sendable, Equatable {
    package enum Mode: String, Sendable, CaseIterable { case single, sentinel, cluster }
    package var mode = Mode.single
    package var addresses = "127.0.0.1:6379"
    package var master: String?
    package var prefix = "martlet"
    package var database = 0
    package var username: String?
    package var password: Secret?
    package var tls = false
    package var authorityFile: String?
    package var knownIDs = 1_000_000
    package var writeWait = Span.seconds(30)
  }

  package struct Kafka: Sendable, Equatable {
    package var brokers: String?
    package var group = "martlet"
    package var instanceID: String?
    package var batchRecords = 5_000
    package var batchInterval = Span.seconds(2)
    package var waitTimeout = Span.seconds(30)
    package var propertiesFile: String?
  }

  package struct DatabaseService: Sendable, Equatable {
    package var enabled = false
    package var namespace: String?
    package var concurrentReads = 50
    package var writeBatch = 500
    package var queueJobs = Limits.databaseQueueJobs
    package var answerExpiry = Span.minutes(5)
    package var readTimeout = Span.seconds(30)
  }

  package struct Warehouse: Sendable, Equatable {
    package enum Backend: String, Sendable, CaseIterable { case duckdb }
    package var backend = Backend.duckdb
    package var memoryLimit = ByteSize.gigabytes(4)
    package var readers = 4
  }

  package struct Blobs: Sendable, Equatable {
    package enum Backend: String, Sendable, CaseIterable { case directory }
    package var backend = Backend.directory
  }

  package struct Ingest: Sendable, Equatable {
    package var commitQueueRows = Limits.commitQueueRows
  }

  package struct Serving: Sendable, Equatable {
    package var predictTimeout = Span.seconds(30)
    package var rolloutInterval = Span.seconds(5)
    package var native = true
    package var lightgbmLibrary: String?
    package var xgboostLibrary: String?
    package var defaultModel: String?
  }

  package struct Registry: Sendable, Equatable {
    package var deployAlias = "champion"
  }

  package struct Quarantine: Sendable, Equatable {
    package var maxRecords = 1_000_000
    package var maxAge = Span.days(90)
  }

  package struct Retention: Sendable, Equatable {
    package var interval = Span.hours(1)
  }

  package struct PredictionLog: Sendable, Equatable {
    package var bufferRows = Limits.predictionLogRows
    package var flushInterval = Span.seconds(1)
    package var flushRows = 2_000
  }

  package struct Monitoring: Sendable, Equatable {
    package var interval = Span.seconds(30)
  }

  package struct Jobs: Sendable, Equatable {
    package var lease = Span.seconds(30)
    package var maxAttempts = 3
    package var backOff = Span.seconds(5)
    package var backOffLimit = Span.minutes(5)
  }

  package struct Lineage: Sendable, Equatable {
    package var openlineageURL: String?
    package var openlineageToken: Secret?
  }

  package struct Log: Sendable, Equatable {
    package enum Level: String, Sendable, CaseIterable {
      case trace, debug, info, notice, warning, error, critical
    }
    package enum Format: String, Sendable, CaseIterable { case text, json }
    package var level = Level.info
    package var format = Format.text
  }

  package struct Clock: Sendable, Equatable {
    package enum Mode: String, Sendable, CaseIterable { case system, simulated }
    package var mode = Mode.system
    package var start: Timestamp?
  }
}

/// A value that is used but never printed, not even by mistake.
package struct Secret: Sendable, Equatable, CustomStringConvertible, CustomDebugStringConvertible,
  CustomReflectable
{
  /// The secret itself, for the one place that compares or sends it.
  package let value: String

  package init(_ value: String) { self.value = value }

  package var description: String { "(set)" }
  package var debugDescription: String { description }
  package var customMirror: Mirror { Mirror(self, children: []) }
}

/// A number of bytes, written like `512MB` or `4GB`.
package struct ByteSize: Sendable, Hashable, Comparable, CustomStringConvertible {
  package var bytes: Int64

  private static let units: [(String, Int64)] = [
    ("TB", 1_000_000_000_000), ("GB", 1_000_000_000), ("MB", 1_000_000), ("KB", 1_000),
  ]

  package static func gigabytes(_ n: Int64) -> ByteSize { ByteSize(bytes: n * 1_000_000_000) }

  package init(bytes: Int64) { self.bytes = bytes }

  /// A whole number above 0 followed by KB, MB, GB or TB (powers of 1000); nil for anything else.
  package init?(_ text: String) {
    let digits = text.prefix { $0.isASCII && $0.isNumber }
    guard let count = Int64(digits), count > 0,
      let unit = Self.units.first(where: { $0.0 == text.dropFirst(digits.count).uppercased() })
    else { return nil }
    let (product, overflow) = count.multipliedReportingOverflow(by: unit.1)
    guard !overflow else { return nil }
    bytes = product
  }

  package static func < (a: ByteSize, b: ByteSize) -> Bool { a.bytes < b.bytes }

  package var description: String {
    for (name, unit) in Self.units where bytes % unit == 0 { return "\(bytes / unit)\(name)" }
    return "\(bytes) bytes"
  }
}
