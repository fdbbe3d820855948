import Core

extension MissingPolicy {
  /// The model's columns with the policy's values in place of nulls, as a prediction would get
  /// them; other rules leave nulls.
  package func filled(_ batch: ColumnBatch) -> ColumnBatch {
    var batch = batch
    for index in batch.columns.indices {
      guard case .value(let number) = rule(for: batch.columns[index].name),
        let presence = batch.columns[index].presence
      else { continue }
      switch batch.columns[index].values {
      case .double(var all):
        for row in all.indices where presence[row] != 0 { all[row] = number }
        batch.columns[index].values = .double(all)
        batch.columns[index].presence = nil
      case .list(let lists) where lists.type.isFixedNumberArray:
        batch.columns[index] = filled(batch.columns[index], lists, with: number)
      default: continue
      }
    }
    return batch
  }

  /// Every element of an array that is not there is the number; the elements become doubles.
  private func filled(_ column: Column, _ lists: ListValues, with number: Double) -> Column {
    guard let length = lists.length, let elements = lists.elements.numbers else { return column }
    var all = [Double](reserving: column.count * length)
    for row in 0..<column.count {
      if column.isPresent(row) {
        all.append(contentsOf: elements[lists.range(row)])
      } else {
        all.append(contentsOf: repeatElement(number, count: length))
      }
    }
    let offsets = (0...column.count).map { $0 * length }
    return Column(
      name: column.name,
      values: .list(ListValues(elements: .double(all), offsets: offsets, length: length)))
  }
}
