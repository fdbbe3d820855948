import Core

extension TransformedRows {
  /// The columns in the types of the source; rows with a cell that cannot be of its column's type, or is no time of the calendar, are faults.
  ///
  /// - Throws: `userCode` for what no record brings about: a column that the source does not declare, and another number of rows.
  func fitted(
    to source: SourceDefinition, count: Int, by function: CodeReference
  ) throws(PlatformError) -> TransformedRows {
    var fitted = self
    for (index, column) in columns.enumerated() {
      guard let declared = source.column(column.name) else {
        throw PlatformError(
          .userCode,
          "\(function) returned column '\(column.name)', which source '\(source.name)' does not "
            + "declare\(suggestion(for: column.name, among: source.columns.map(\.name)))"
        )
      }
      guard column.count == count else {
        throw PlatformError(
          .userCode,
          "\(function) returned \(column.count) cells for column '\(column.name)'; expected \(count)"
        )
      }
      let (cells, misfits) = column.fitted(to: declared.type)
      fitted.columns[index] = cells
      for row in misfits where fitted.faults[row] == nil {
        fitted.faults[row] =
          "returned \(JSON(column[row]).text) for column '\(column.name)', which is \(declared.type.rawValue)"
      }
      for row in cells.rowsOutsideCalendar where fitted.faults[row] == nil {
        fitted.faults[row] = "column '\(column.name)' is not \(Timestamp.boundsText)"
      }
    }
    return fitted
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
    let made = try made.fitted(to: source, count: count, by: function)
    let columns = made.columns
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
  /// The column as one of `type`, with the rows whose cells cannot be of it, which are null then.
  func fitted(to type: ColumnType) -> (column: Column, misfits: [Int]) {
    if self.type == type { return (self, []) }
    var misfits: [Int] = []
    let cells = (0..<count).map { row -> Value in
      guard isPresent(row) else { return .null }
      if let value = self[row].fitted(to: type) { return value }
      misfits.append(row)
      return .null
    }
    return (Column(name: name, type: type, cells), misfits)
  }
}

extension Value {
  /// Whole numbers as doubles, doubles without a fraction as whole numbers, and arrays of such; nil for what is of another kind.
  fileprivate func fitted(to type: ColumnType) -> Value? {
    switch (self, type) {
    case (.null, _), (.bool, .bool), (.int64, .int64), (.double, .double), (.string, .string),
      (.timestamp, .timestamp):
      return self
    case (.int64(let number), .double): return .double(Double(number))
    case (.double(let number), .int64): return Int64(exactly: number).map { .int64($0) }
    case (.list(let elements), .array(let element, let length)):
      guard elements.count == length ?? min(elements.count, Limits.arrayElements) else {
        return nil
      }
      return elements.converted(to: ColumnType(element)).map { .list($0) }
    default: return nil
    }
  }
}
