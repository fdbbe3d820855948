import Core

extension MissingPolicy {
  /// The model's columns with the policy's values in place of nulls, as a prediction would get
  /// them; other rules leave nulls.
  package func filled(_ batch: ColumnBatch) -> ColumnBatch {
    var batch = batch
    for index in batch.columns.indices {
      guard case .value(let number) = rule(for: batch.columns[index].name),
        let presence = batch.columns[index].presence,
        case .double(var all) = batch.columns[index].values
      else { continue }
      for row in all.indices where presence[row] != 0 { all[row] = number }
      batch.columns[index].values = .double(all)
      batch.columns[index].presence = nil
    }
    return batch
  }
}
