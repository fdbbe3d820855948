/// Whole tables from and to files: spines in, training sets out.
package protocol TableFiles: Sendable {
  /// Reads a CSV or Parquet file wholly.
  ///
  /// Times must say their zone: a time column without one is refused, naming the column. Throws `.invalidArgument` for a file that is not what it should be.
  func read(_ path: String, format: FileFormat) async throws -> ColumnBatch
  /// Writes a new file; nothing is left of it where that fails.
  func write(_ batch: ColumnBatch, to path: String, format: FileFormat) async throws
}
