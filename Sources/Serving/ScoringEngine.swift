import Core
import Workers

/// What turns rows into numbers with one model version.
package protocol ScoringEngine: Sendable {
  /// One number a row, in order.
  ///
  /// - Throws: `unavailable` with the context `reason: not_loaded` for a version that is not loaded
  /// (any more).
  func score(_ model: ModelKey, _ rows: ColumnBatch, timeout: Span) async throws -> ScoredRows
}

package struct ScoredRows: Sendable {
  package var values: [Double]
  /// Until the engine began.
  package var queue: Span
  /// In the model itself.
  package var compute: Span

  package init(values: [Double], queue: Span, compute: Span) {
    self.values = values
    self.queue = queue
    self.compute = compute
  }
}

/// Scores in the Python workers that hold the version.
package struct WorkerEngine: ScoringEngine {
  private let pool: WorkerPool

  package init(pool: WorkerPool) { self.pool = pool }

  package func score(
    _ model: ModelKey, _ rows: ColumnBatch, timeout: Span
  ) async throws -> ScoredRows {
    let result = try await pool.run(.predict(model, rows: rows), timeout: timeout)
    guard case .predicted(let values) = result.payload else {
      throw PlatformError(.internalError, "a prediction was answered with something else")
    }
    return ScoredRows(values: values, queue: result.queue, compute: result.compute)
  }
}

/// Where model versions are made ready to score.
package protocol ModelHost: Sendable {
  /// Returns once `workers` of them hold the version, warm.
  func ensureLoaded(_ artifact: ModelArtifact, workers: Int) async throws
  /// Lets go of the version after the last call that waits for it.
  func unload(_ key: ModelKey)
}

extension WorkerPool: ModelHost {}
