/// Whole tables to files, as answers of history reads.
package protocol TableFiles: Sendable {
  /// Writes a new file; nothing is left of it where that fails.
  ///
  /// Instants keep their zone. CSV and Parquet can be written.
  func write(_ batch: ColumnBatch, to path: String, format: FileFormat) async throws
}
