/// A model is given numbers side by side: an array of its vector is taken apart, element by element.
extension ModelFeature {
  /// What the columns that the model gets for this feature are called: `NAME[0]`, `NAME[1]`, … of an array of one length.
  package var columnNames: [String] {
    guard case .array(_, let length?) = type else { return [name] }
    return (0..<length).map { "\(name)[\($0)]" }
  }
}

extension ColumnBatch {
  /// The same rows with every array of one length as a column of doubles for each element, named as by
  /// `ModelFeature.columnNames`; a null array is null in all of them.
  package var flattened: ColumnBatch {
    guard columns.contains(where: \.type.isFixedNumberArray) else { return self }
    return ColumnBatch(columns: columns.flatMap(\.flattened), count: count)
  }
}

extension Column {
  fileprivate var flattened: [Column] {
    guard case .list(let lists) = values, let length = lists.length,
      let all = lists.elements.numbers
    else { return [self] }
    let starts = (0..<count).map { isPresent($0) ? lists.offsets[$0] : -1 }
    return (0..<length).map { element in
      Column(
        name: "\(name)[\(element)]",
        values: .double(starts.map { $0 < 0 ? 0 : all[$0 + element] }), presence: presence)
    }
  }
}
