import CDuckDB
import Core
import Foundation

extension PlatformError {
  /// What a failure of DuckDB means to a caller.
  static func duckDB(_ type: duckdb_error_type, _ message: String, doing action: String) -> Self {
    let text = message.trimmingCharacters(in: .whitespacesAndNewlines)
    if text.contains("No space left on device") || text.contains("File too large")
      || text.contains("Disk quota exceeded") || text.contains("not enough space")
    {
      return PlatformError(
        .storage,
        "\(action): the disk is full. Nothing of it was stored; free space and retry. DuckDB says: \(text)",
        retryable: true)
    }
    switch type {
    case DUCKDB_ERROR_OUT_OF_MEMORY:
      return PlatformError(
        .overloaded,
        "\(action): the warehouse's memory limit is reached. Raise the limit or ask for less. DuckDB says: \(text)")
    case DUCKDB_ERROR_IO, DUCKDB_ERROR_SERIALIZATION, DUCKDB_ERROR_PERMISSION:
      return PlatformError(.storage, "\(action): \(text)")
    case DUCKDB_ERROR_FATAL, DUCKDB_ERROR_INTERNAL:
      return PlatformError(
        .storage, "\(action): the warehouse has stopped. Restart the platform. DuckDB says: \(text)")
    case DUCKDB_ERROR_TRANSACTION:
      return PlatformError(.conflict, "\(action): \(text)", retryable: true)
    case DUCKDB_ERROR_INTERRUPT:
      return PlatformError(.cancelled, "\(action): interrupted.")
    case DUCKDB_ERROR_CONSTRAINT:
      return PlatformError(.conflict, "\(action): \(text)")
    default:
      return PlatformError(.invalidArgument, "\(action): \(text)")
    }
  }
}
