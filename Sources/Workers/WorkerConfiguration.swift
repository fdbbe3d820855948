import Core
import Foundation

/// How workers are started, watched and bounded.
package struct WorkerConfiguration: Sendable {
  /// The Python interpreter, a path or a name on PATH.
  package var python: String
  /// Folders for PYTHONPATH; the one that holds `martlet_worker` is among them.
  package var pythonPath: [String]
  /// Where the socket is made; a temporary folder is taken where the path would be too long for a
  /// socket.
  package var directory: String
  /// All Python processes together, at least two: one to serve and one for everything else.
  package var maxPythonWorkers: Int
  package var heartbeatInterval: Span
  /// No frame for so long: the worker is killed and replaced.
  package var heartbeatTimeout: Span
  /// From the start of a process to its hello.
  package var helloTimeout: Span
  package var loadTimeout: Span
  /// A prediction that nobody waits for any more may run so long before its worker is killed: a
  /// caller with a very short deadline must not cost a warm worker.
  package var predictPatience: Span
  /// Workers are asked to finish, then told (SIGTERM), then killed, each after this time.
  package var stopGrace: Span
  /// A worker without a model that was idle for so long is ended.
  package var idleTimeout: Span
  /// The share of the machine's memory that the platform and its workers may take together.
  package var memoryShare: Double
  package var backoff: RestartBackoff
  /// A version whose libraries differ by more is not opened.
  package var libraryVersions = LibraryVersions.off
  /// How long the need for more or fewer workers must last.
  package var scaling = WorkerScaling.Patience()
  /// A model gets no more workers than that, where its definition says nothing.
  package var cores = ProcessInfo.processInfo.activeProcessorCount
  /// Added to the environment of every worker.
  package var environment: [String: String]

  package init(
    python: String = "python3", pythonPath: [String], directory: String, maxPythonWorkers: Int = 4,
    heartbeatInterval: Span = .seconds(1), heartbeatTimeout: Span = .seconds(5),
    helloTimeout: Span = .seconds(30), loadTimeout: Span = .minutes(2),
    predictPatience: Span = .seconds(5), stopGrace: Span = .seconds(10),
    idleTimeout: Span = .minutes(2), memoryShare: Double = 0.9,
    backoff: RestartBackoff = RestartBackoff(), environment: [String: String] = [:]
  ) {
    self.python = python
    self.pythonPath = pythonPath
    self.directory = directory
    self.maxPythonWorkers = maxPythonWorkers
    self.heartbeatInterval = heartbeatInterval
    self.heartbeatTimeout = heartbeatTimeout
    self.helloTimeout = helloTimeout
    self.loadTimeout = loadTimeout
    self.predictPatience = predictPatience
    self.stopGrace = stopGrace
    self.idleTimeout = idleTimeout
    self.memoryShare = memoryShare
    self.backoff = backoff
    self.environment = environment
  }
}

/// How long a place stays empty after its process has failed: doubling, bounded, and spread so that
/// many do not restart at once.
package struct RestartBackoff: Sendable, Equatable {
  package var first: Span
  package var longest: Span
  /// A process that lived so long starts the count anew.
  package var stableAfter: Span

  package init(
    first: Span = .milliseconds(100), longest: Span = .seconds(30), stableAfter: Span = .seconds(10)
  ) {
    self.first = first
    self.longest = longest
    self.stableAfter = stableAfter
  }

  /// - Parameters:
  ///   - failures: in a row, at least 1.
  ///   - chance: in [0, 1); the delay lies between half of the full one and the full one.
  package func delay(failures: Int, chance: Double) -> Span {
    let doublings = min(max(failures - 1, 0), 40)
    let full = min(
      Double(first.microseconds) * Double(UInt64(1) << UInt64(doublings)),
      Double(longest.microseconds))
    return Span(microseconds: Int64(full * (0.5 + 0.5 * chance)))
  }
}

/// Keeps the platform and its workers under a share of the machine's memory.
package enum MemoryGuard {
  package struct Candidate: Sendable, Equatable {
    package var worker: WorkerID
    package var bytes: Int
    /// Whether it can be spared.
    package var idle: Bool

    package init(worker: WorkerID, bytes: Int, idle: Bool) {
      self.worker = worker
      self.bytes = bytes
      self.idle = idle
    }
  }

  package enum Verdict: Sendable, Equatable {
    case fine
    /// No new worker; `recycle` is the largest idle one, nil where all are busy.
    case full(recycle: WorkerID?)
  }

  package static func judge(_ workers: [Candidate], own: Int, limit: Int) -> Verdict {
    let total = workers.reduce(own) { $0 + $1.bytes }
    guard total > limit else { return .fine }
    let largest = workers.filter(\.idle).max { $0.bytes < $1.bytes }
    return .full(recycle: largest?.worker)
  }
}

/// One process; never given again, so that a restarted worker is not taken for its predecessor.
package struct WorkerID: Hashable, Sendable, CustomStringConvertible {
  package var number: UInt64

  package init(number: UInt64) { self.number = number }

  package init?(_ text: String) {
    guard text.first == "w", let number = UInt64(text.dropFirst()) else { return nil }
    self.number = number
  }

  package var description: String { "w\(number)" }
}
