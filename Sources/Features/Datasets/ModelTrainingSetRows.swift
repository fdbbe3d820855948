import Core

extension ModelTrainingSet {
  /// All of it as one table: the key columns, the time, the vector, the label; and the column that has each key column.
  ///
  /// Keys are no part of what a model learns from, but of what an erasure looks for.
  func rows(
    of model: ModelDefinition, _ snapshot: Snapshot
  ) -> (batch: ColumnBatch, keys: [String: String]) {
    let names = Set(features.columns.map(\.name) + [Self.labelName, TrainingSetPlan.timeName])
    var keys: [String: String] = [:]
    var columns: [Column] = []
    for name in model.entities.flatMap({ snapshot.project.entity($0)?.key ?? [] })
    where keys[name] == nil {
      guard var column = spine[name] else { continue }
      column.name = names.contains(name) ? "key \(name)" : name
      keys[name] = column.name
      columns.append(column)
    }
    columns.append(Column(name: TrainingSetPlan.timeName, values: .timestamp(times)))
    columns += features.columns
    columns.append(Column(name: Self.labelName, values: .double(label)))
    return (ColumnBatch(columns: columns, count: times.count), keys)
  }

  private static let labelName = "label"
}
