import CDuckDB
import Core
import Foundation

extension PlatformError {
  /// What a failure of DuckDB means to a caller.
  static func duckDB(_ type: duckdb_error_type, _ message: String, doing action: String) -> Self {
    let text = message.trimmingCharacters(in: .whitespacesAndNewlines)
    let isFatal = type == DUCKDB_ERROR_FATAL || text.contains("database has been invalidated")
    let context = isFatal ? ["warehouse": "stopped"] : [:]
    if text.contains("No space left on device") || text.contains("File too large")
      || text.contains("Disk quota exceeded") || text.contains("not enough space")
    {
      return PlatformError(
        .storage,
        "\(action): the disk is full. Nothing of it was stored; free space and retry. DuckDB says: \(text)",
        context: context, retryable: true)
    }
    switch type {
    case DUCKDB_ERROR_OUT_OF_MEMORY:
      return PlatformError(
        .overloaded,
        "\(action): the warehouse's memory limit is reached. Raise the limit or ask for less. DuckDB says: \(text)"
      )
    case DUCKDB_ERROR_IO, DUCKDB_ERROR_SERIALIZATION, DUCKDB_ERROR_PERMISSION:
      return PlatformError(.storage, "\(action): \(text)")
    case _ where isFatal:
      return PlatformError(
        .storage,
        "\(action): the warehouse stopped and is opened again; retry. DuckDB says: \(text)",
        context: context, retryable: true)
    case DUCKDB_ERROR_INTERNAL:
      return PlatformError(.storage, "\(action): DuckDB has a defect here. It says: \(text)")
    case DUCKDB_ERROR_TRANSACTION where text.contains("read-only"):
      return PlatformError(
        .invalidArgument, "\(action): only reading is possible here. DuckDB says: \(text)")
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

  var meansFullDisk: Bool { code == .storage && message.contains("the disk is full") }

  /// DuckDB refuses everything until the file is opened again.
  var meansReopening: Bool { context["warehouse"] == "stopped" }
}
