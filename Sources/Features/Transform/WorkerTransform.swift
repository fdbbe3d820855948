import Core
import Workers

/// Runs transforms in Python workers.
package struct WorkerTransform: BatchTransform {
  /// A worker gets at most so many rows at once, so that a hanging function is seen soon.
  private static let batchRows = 10_000

  private let pool: WorkerPool
  private let definitions: Published<Snapshot>
  private let timeout: Span

  /// - Parameter timeout: of one batch.
  package init(
    pool: WorkerPool, definitions: Published<Snapshot>, timeout: Span = .seconds(60)
  ) {
    self.pool = pool
    self.definitions = definitions
    self.timeout = timeout
  }

  package func transform(
    _ batch: ColumnBatch, of source: SourceDefinition, with function: CodeReference
  ) async throws -> TransformedRows {
    let directory = definitions.current.projectDirectory
    let path = function.file.hasPrefix("/") ? function.file : "\(directory)/\(function.file)"
    var made = ColumnBatch(columns: [])
    var faults: [Int: String] = [:]
    var from = 0
    while from < batch.count {
      let to = min(from + Self.batchRows, batch.count)
      let rows = to - from == batch.count ? batch : batch.gather(Array(from..<to))
      let task = TransformTask(codePath: path, function: function.function, rows: rows)
      let result = try await pool.run(.transform(task), timeout: timeout)
      guard case .transformed(let part) = result.payload else {
        throw PlatformError(.internalError, "a transform was answered with something else")
      }
      guard from == 0 || part.rows.columns.map(\.name) == made.columns.map(\.name) else {
        throw PlatformError(
          .userCode, "\(function) answers other columns for some batches; always return the same")
      }
      for (row, error) in part.errors { faults[from + row] = error }
      made.append(contentsOf: part.rows)
      from = to
    }
    return TransformedRows(columns: made.columns, faults: faults)
  }
}
