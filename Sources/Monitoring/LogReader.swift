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
    let inputs = version.features.enumerated().map { index, feature in
      let value = "json_extract_string(model_inputs, '$[\(index)].value')"
      let typed = feature.type == .string ? value : "TRY_CAST(\(value) AS DOUBLE)"
      return "\(typed) AS \(quotedName(feature.name))"
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
}

private func quotedName(_ name: String) -> String {
  "\"\(name.replacing("\"", with: "\"\""))\""
}
