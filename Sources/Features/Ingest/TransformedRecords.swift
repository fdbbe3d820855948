import Core

extension TransformedRows {
  /// The columns in the types of the source.
  func conformed(
    to source: SourceDefinition, count: Int, by function: CodeReference
  ) throws(PlatformError) -> [Column] {
    var conformed: [Column] = []
    for column in columns {
      guard let declared = source.column(column.name) else {
        throw PlatformError(
          .userCode,
          "\(function) returned column '\(column.name)', which source '\(source.name)' does not "
            + "declare\(suggestion(for: column.name, among: source.columns.map(\.name)))"
        )
      }
      guard let column = column.arrays(as: declared.type), column.count == count else {
        throw PlatformError(
          .userCode,
          "\(function) returned \(column.count) cells of \(column.type.rawValue) for column "
            + "'\(column.name)'; expected \(count) of \(declared.type.rawValue)"
        )
      }
      conformed.append(column)
    }
    return conformed
  }

  /// Why rows cannot be stored: the code raised for them, or made a column that the record has itself, whose raw value would be
  /// lost (semantics §6).
  ///
  /// - Parameter raw: what went in.
  func faults(over raw: [Column], by function: CodeReference) -> [Int: String] {
    var all = faults.mapValues { "\(function) failed: \($0)" }
    for made in columns {
      guard let own = raw.first(where: { $0.name == made.name }) else { continue }
      for row in 0..<own.count where own.presence(at: row) != .absent && all[row] == nil {
        all[row] = Self.overwrites(made.name, function)
      }
    }
    return all
  }

  static func overwrites(_ column: String, _ function: CodeReference) -> String {
    "\(function) returned column '\(column)', which the record has itself: the raw value is always "
      + "kept. Return the result under a name of its own, or leave '\(column)' out of the record"
  }
}

extension ValidatedRows {
  /// The rows with a transform's columns in place; rows it raised for, or whose own cells it would overwrite, go to quarantine.
  func transformed(
    _ made: TransformedRows, by function: CodeReference
  ) throws(PlatformError) -> ValidatedRows {
    var rows = self
    let columns = try made.conformed(to: source, count: count, by: function)
    rows.transformVersion = made.digest.map {
      TransformVersion(
        transform: function.description, digest: $0, columns: columns.map(\.name).sorted())
    }
    for column in columns {
      if let index = source.columns.firstIndex(where: { $0.name == column.name }) {
        rows.columns[index] = column
      }
    }
    let faults = made.faults(over: self.columns, by: function)
    guard !faults.isEmpty else { return rows }
    let good = rows.keeping((0..<count).filter { faults[$0] == nil })
    rows.columns = good.columns
    rows.eventTimestamps = good.eventTimestamps
    rows.eventIDs = good.eventIDs
    rows.places = good.places
    rows.replays = good.replays
    for (row, why) in faults.sorted(by: { $0.key < $1.key }) where row < count {
      let kind = made.faults[row] == nil ? "\(function) overwrites" : "\(function) failed"
      rows.faults[kind, default: 0] += 1
      rows.quarantined.append(
        QuarantinedRecord(
          source: source.name, record: RecordText(self, row).text, reason: why, kind: .transform,
          position: position(of: row), eventID: eventIDs[row],
          replayOf: replays.isEmpty ? nil : replays[row]))
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
