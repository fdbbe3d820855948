import Core
import Foundation
import Logging
import Synchronization
import Workers

/// Scores versions that have a native form in this process, and passes all others on to the workers.
///
/// Guarantees: a version is held by either, never by both; one whose native form cannot be opened here is served by workers, and the
/// log says why; a version that is let go of finishes the calls that it has.
package final class NativeEngine: ScoringEngine, ModelHost, ContributionScoring {
  /// Rows that are scored without letting others have the thread.
  private static let rowsAtOnce = 256

  /// A version's model, and what it takes.
  struct Loaded: Sendable {
    let model: any NativeModel
    let features: [String]
    let categories: [String: [String: Double]]

    init(_ bytes: [UInt8], by libraries: [String: any NativeLibrary]) throws {
      let file = try NativeFile(bytes)
      features = file.features
      categories = file.categories
      model = try file.model(by: libraries)
    }

    func matrix(_ rows: ColumnBatch) throws -> FeatureMatrix {
      try FeatureMatrix(rows, features: features, categories: categories)
    }
  }

  private let workers: any ScoringEngine
  private let host: any ModelHost
  /// By the kind of models that they read.
  private let libraries: [String: any NativeLibrary]
  /// Whether versions are loaded here at all; they are compared in any case.
  private let isEnabled: Bool
  private let clock: WorkerClock
  private let log: Logger
  private let loaded = Mutex<[ModelKey: Loaded]>([:])

  package init(
    libraries: [String: any NativeLibrary], workers: any ScoringEngine, host: any ModelHost,
    isEnabled: Bool = true, clock: WorkerClock = .system,
    log: Logger = Logger(label: "martlet.native")
  ) {
    self.libraries = libraries
    self.workers = workers
    self.host = host
    self.isEnabled = isEnabled
    self.clock = clock
    self.log = log
  }

  // MARK: Loading

  package func ensureLoaded(_ artifact: ModelArtifact, workers count: Int) async throws {
    if isLoaded(artifact.key) { return }
    if isEnabled, let path = artifact.nativePath {
      do {
        return try await open(path, artifact)
      } catch {
        log.warning(
          "a version is served by workers, because its native form cannot be opened: \(error)",
          metadata: ["model": "\(artifact.key.model)", "version": "\(artifact.key.version)"])
      }
    }
    try await host.ensureLoaded(artifact, workers: count)
  }

  private func open(_ path: String, _ artifact: ModelArtifact) async throws {
    let libraries = libraries
    let model = try await onOwnThread {
      try Loaded([UInt8](Data(contentsOf: URL(fileURLWithPath: path))), by: libraries)
    }
    guard model.features.sorted() == artifact.features.sorted() else {
      throw NativeFile.broken(
        "it takes \(model.features.joined(separator: ", ")), but the version has "
          + artifact.features.joined(separator: ", "))
    }
    loaded.withLock { $0[artifact.key] = model }
  }

  package func unload(_ key: ModelKey) {
    let isNative = loaded.withLock { $0.removeValue(forKey: key) != nil }
    if !isNative { host.unload(key) }
  }

  /// Whether this process itself scores the version, now.
  package func isLoaded(_ key: ModelKey) -> Bool { loaded.withLock { $0[key] != nil } }

  // MARK: Scoring

  package func score(
    _ key: ModelKey, _ rows: ColumnBatch, timeout: Span
  ) async throws -> ScoredRows {
    guard let version = loaded.withLock({ $0[key] }) else {
      return try await workers.score(key, rows, timeout: timeout)
    }
    let begin = clock.now()
    let matrix = try version.matrix(rows)
    var values: [Double] = []
    if matrix.rows <= Self.rowsAtOnce {
      values = try version.model.score(matrix)
    } else {
      for from in stride(from: 0, to: matrix.rows, by: Self.rowsAtOnce) {
        let part = matrix.part(from..<min(from + Self.rowsAtOnce, matrix.rows))
        values += try version.model.score(part)
        await Task.yield()
        guard passed(since: begin) < timeout else {
          throw PlatformError(
            .deadlineExceeded, "\(key) scored \(values.count) of \(matrix.rows) rows in its time")
        }
      }
    }
    return ScoredRows(
      values: values, queue: Span(microseconds: 0), compute: passed(since: begin))
  }

  private func passed(since begin: Span) -> Span {
    Span(microseconds: clock.now().microseconds - begin.microseconds)
  }

  // MARK: Contributions

  package func contributions(
    _ key: ModelKey, _ rows: ColumnBatch
  ) async throws -> [FeatureContributions]? {
    guard let version = loaded.withLock({ $0[key] }),
      let model = version.model as? any ContributingModel
    else { return nil }
    let matrix = try version.matrix(rows)
    return try await onOwnThread { try model.contributions(matrix) }
  }

  // MARK: Publishing

  /// Asks the native form for the rows that the library itself has predicted, and says who is to serve the version.
  package func compare(
    fileAt path: String, rows: ColumnBatch, expected: [Double]
  ) async throws -> NativeForm {
    let libraries = libraries
    return try await onOwnThread {
      try NativeComparison(path: path, libraries: libraries).form(rows, expected)
    }
  }
}

/// Who can tell what each feature added to a prediction.
package protocol ContributionScoring: Sendable {
  /// A row's contributions for each row, in the order of the version's columns; nil where the version's engine cannot tell.
  func contributions(_ key: ModelKey, _ rows: ColumnBatch) async throws -> [FeatureContributions]?
}

/// Runs what blocks or takes long away from the threads that answer requests.
private func onOwnThread<Result: Sendable>(
  _ body: @escaping @Sendable () throws -> Result
) async throws -> Result {
  try await withCheckedThrowingContinuation { continuation in
    DispatchQueue.global(qos: .utility).async {
      continuation.resume(with: Swift.Result { try body() })
    }
  }
}
