import Core

/// What a transform made of a batch (semantics §6).
package struct TransformedRows: Sendable {
  /// Columns of the source, with as many rows as went in; those not named stay as they were.
  package var columns: [Column]
  /// Why a row could not be transformed, by its number in the batch.
  package var faults: [Int: String]

  package init(columns: [Column], faults: [Int: String] = [:]) {
    self.columns = columns
    self.faults = faults
  }
}

/// The ability to run a user's function over a batch of events at ingest.
///
/// Guarantees: columns in, columns out, the same rows in the same order; a row for which the
/// function raises is a fault, not an error of the batch.
package protocol BatchTransform: Sendable {
  func transform(
    _ batch: ColumnBatch, of source: SourceDefinition, with function: CodeReference
  ) async throws -> TransformedRows
}
