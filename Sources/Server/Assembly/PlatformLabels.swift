import Core

extension PlatformServices {
  /// Stores what came of predictions: `{"labels": [{"request_id": …, "label": …}]}`. A later label of a request replaces the earlier one.
  ///
  /// - Returns: how many were stored.
  func push(labels body: JSON, of model: String) async throws -> Int {
    guard let items = body["labels"]?.array, !items.isEmpty, items.count <= Limits.labelRows else {
      throw PlatformError(
        .invalidArgument,
        "send {\"labels\": [{\"request_id\": \"…\", \"label\": 1}]}, 1 to \(Limits.labelRows) of them"
      )
    }
    let labels = try items.enumerated().map { row, item in
      let label = item["label"]?.number ?? item["label"]?.bool.map { $0 ? 1 : 0 }
      guard let id = item["request_id"]?.string, let label, label.isFinite else {
        throw PlatformError(
          .invalidArgument,
          "label \(row + 1) needs 'request_id', a text, and 'label', a number or a bool, not \(item.text)"
        )
      }
      return (id: id, label: label)
    }
    let now = clock.now.microseconds
    let batch = ColumnBatch(columns: [
      Column(name: "model_id", values: .string(labels.map { _ in model })),
      Column(name: "request_id", values: .string(labels.map(\.id))),
      Column(name: "label", values: .double(labels.map(\.label))),
      Column(name: "created_at", values: .timestamp(labels.map { _ in now })),
    ])
    try await warehouse.commit(WarehouseCommit(rows: [("labels", batch)]))
    return labels.count
  }
}
