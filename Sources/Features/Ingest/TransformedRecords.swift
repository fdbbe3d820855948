import Core

extension ValidatedRows {
  /// The rows with a transform's columns in place; rows it raised for go to quarantine.
  func transformed(
    _ made: TransformedRows, by function: CodeReference
  ) throws(PlatformError) -> ValidatedRows {
    var rows = self
    rows.transformVersion = made.digest.map {
      TransformVersion(transform: function.description, digest: $0)
    }
    for column in made.columns {
      guard let index = source.columns.firstIndex(where: { $0.name == column.name }) else {
        throw PlatformError(
          .userCode,
          "\(function) returned column '\(column.name)', which source '\(source.name)' does not "
            + "declare\(suggestion(for: column.name, among: source.columns.map(\.name)))"
        )
      }
      guard let column = column.arrays(as: source.columns[index].type), column.count == count else {
        throw PlatformError(
          .userCode,
          "\(function) returned \(column.count) cells of \(column.type.rawValue) for column "
            + "'\(column.name)'; expected \(count) of \(source.columns[index].type.rawValue)"
        )
      }
      rows.columns[index] = column
    }
    guard !made.faults.isEmpty else { return rows }
    let good = rows.keeping((0..<count).filter { made.faults[$0] == nil })
    rows.columns = good.columns
    rows.eventTimestamps = good.eventTimestamps
    rows.eventIDs = good.eventIDs
    rows.places = good.places
    rows.replays = good.replays
    for (row, why) in made.faults.sorted(by: { $0.key < $1.key }) where row < count {
      rows.faults["\(function) failed", default: 0] += 1
      rows.quarantined.append(
        QuarantinedRecord(
          source: source.name, record: RecordText(self, row).text,
          reason: "\(function) failed: \(why)", kind: .transform, position: position(of: row),
          eventID: eventIDs[row], replayOf: replays.isEmpty ? nil : replays[row]))
    }
    return rows
  }
}

extension Column {
  /// The column itself where it is of the type, and arrays of any length as the array type where they fit it; nil where
  /// they do not.
  func arrays(as type: ColumnType) -> Column? {
    if self.type == type { return self }
    guard case .list(let lists) = values, case .array(let element, let length) = type,
      let elements = lists.elements.converted(to: ColumnType(element))
    else { return nil }
    let fits = (0..<count).allSatisfy { row in
      let count = lists.range(row).count
      return !isPresent(row) || count == length ?? min(count, Limits.arrayElements)
    }
    guard fits else { return nil }
    return Column(
      name: name,
      values: .list(ListValues(elements: elements, offsets: lists.offsets, length: length)),
      presence: presence)
  }
}
