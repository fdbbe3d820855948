import Core
import Synchronization

/// Reads a window of the prediction log as columns: the inputs in the order of the version's vector, and the prediction.
package struct LogReader: Sendable {
  private let warehouse: any Warehouse

  package init(warehouse: any Warehouse) { self.warehouse = warehouse }

  /// The successful predictions of a version with `start <= event_datetime <= end`, at most `limit` of the newest.
  package func window(
    of version: ModelVersion, from start: Timestamp, to end: Timestamp, limit: Int = 200_000
  ) async throws -> ColumnBatch {
    let numbered = version.features.enumerated().filter { !$0.element.type.isArray }
    let inputs = numbered.map { index, feature in
      let value = "json_extract_string(model_inputs, '$[\(index)].value')"
      return "\(typed(value, feature.type)) AS \(EventTable.quoted(feature.name))"
    }
    let sql = """
      SELECT \((inputs + ["model_result AS \(Baseline.predictionName)"]).joined(separator: ", "))
      FROM model_logs
      WHERE model_id = ? AND model_version = ? AND model_error IS NULL
        AND event_datetime >= ? AND event_datetime <= ?
      ORDER BY event_datetime DESC LIMIT \(limit)
      """
    let collected = Mutex(ColumnBatch(columns: []))
    try await warehouse.stream(
      sql,
      [
        .string(version.model), .string(String(version.version)), .timestamp(start),
        .timestamp(end),
      ]
    ) { batch in
      let copy = copy batch
      collected.withLock { $0.append(contentsOf: copy) }
    }
    return collected.withLock { $0 }
  }

  /// A logged value as the baseline has it: true is 1, a time its microseconds; what is none is null.
  private func typed(_ value: String, _ type: ColumnType) -> String {
    switch type {
    case .string: value
    case .bool: "CAST(TRY_CAST(\(value) AS BOOLEAN) AS DOUBLE)"
    case .int64, .double: "TRY_CAST(\(value) AS DOUBLE)"
    case .timestamp: "CAST(epoch_us(TRY_CAST(\(value) AS TIMESTAMP)) AS DOUBLE)"
    // Arrays have no baseline, and are not read.
    case .array: "NULL"
    }
  }
}
