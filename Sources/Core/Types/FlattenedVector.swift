/// A model is given numbers side by side: an array of its vector is taken apart, element by element.
extension ModelFeature {
  /// What the columns that the model gets for this feature are called: `NAME[0]`, `NAME[1]`, … of an array.
  package var columnNames: [String] {
    guard case .array(_, let length) = type, let width = length ?? elements else { return [name] }
    return (0..<width).map { "\(name)[\($0)]" }
  }
}

extension ColumnBatch {
  /// The same rows as a model gets them: every array as a column of doubles for each element, named as by
  /// `ModelFeature.columnNames`. A null array is null in all of them. A list of any length fills the first columns and is cut where there
  /// are too few; columns without an element have the value that the policy states for the feature, else null.
  package func flattened(as features: [ModelFeature], missing: MissingPolicy) -> ColumnBatch {
    guard columns.contains(where: \.type.isArray) else { return self }
    let widths = Dictionary(
      features.compactMap { feature in feature.elements.map { (feature.name, $0) } }
    ) { first, _ in first }
    return ColumnBatch(
      columns: columns.flatMap { column -> [Column] in
        guard let width = widths[column.name] else { return column.flattened }
        guard case .value(let number) = missing.rule(for: column.name) else {
          return column.spread(over: width, padding: nil)
        }
        return column.spread(over: width, padding: number)
      }, count: count)
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

  /// So many columns of lists of any length.
  fileprivate func spread(over width: Int, padding: Double?) -> [Column] {
    guard case .list(let lists) = values, let all = lists.elements.numbers else { return [self] }
    let ranges = (0..<count).map { isPresent($0) ? lists.range($0) : 0..<0 }
    let pad = padding.map { Value.double($0) } ?? .null
    return (0..<width).map { element in
      Column(
        name: "\(name)[\(element)]", type: .double,
        ranges.map { $0.count > element ? .double(all[$0.lowerBound + element]) : pad })
    }
  }
}
