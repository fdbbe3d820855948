import Core

/// A spine's time and key columns, checked and brought to the types that sources declare.
struct SpineColumns {
  private let spine: ColumnBatch
  private let time: Column
  let isTimeNull: [Bool]

  init(_ spine: ColumnBatch, time name: String, features: [FeatureName]) throws {
    let names = spine.columns.map(\.name)
    guard let time = spine[name] else {
      throw PlatformError(
        .invalidArgument,
        "the spine has no time column '\(name)'\(suggestion(for: name, among: names))")
    }
    guard case .timestamp = time.values else {
      throw PlatformError(
        .invalidArgument,
        "the spine's time column '\(name)' is \(time.type.rawValue), not timestamp; give times with a zone, as in 2026-01-31T12:00:00Z"
      )
    }
    var seen = Set(names)
    guard seen.count == names.count else {
      throw PlatformError(.invalidArgument, "the spine has two columns of one name; rename one")
    }
    for feature in Set(features) where !seen.insert(feature.description).inserted {
      throw PlatformError(
        .invalidArgument,
        "the spine has a column '\(feature)', as the feature is called; rename it, or leave one out"
      )
    }
    for column in spine.columns {
      guard let row = column.rowsOutsideCalendar.first else { continue }
      throw PlatformError(
        .invalidArgument,
        "row \(row + 1) of the spine is not \(Timestamp.boundsText) in column '\(column.name)'; correct it"
      )
    }
    self.spine = spine
    self.time = time
    isTimeNull = (0..<spine.count).map { !time.isPresent($0) }
  }

  /// By the views' key names.
  func indexes(for views: [PointInTimeJoinPlan.View]) throws -> [String: SpineIndex] {
    var indexes: [String: SpineIndex] = [:]
    for view in views where indexes[view.keyName] == nil {
      let columns = try zip(view.layout.keyColumns, view.layout.keyTypes).map {
        try key($0, of: $1, for: view)
      }
      indexes[view.keyName] = SpineIndex(
        keyColumns: columns, types: view.layout.keyTypes, time: time, count: spine.count)
    }
    return indexes
  }

  /// Rows that some index has no place for, or that have no time.
  func incompleteRows(_ indexes: some Sequence<SpineIndex>) -> Int {
    var isIncomplete = isTimeNull
    for index in indexes {
      for row in isIncomplete.indices where index.places[row] < 0 { isIncomplete[row] = true }
    }
    return isIncomplete.count { $0 }
  }

  private func key(
    _ name: String, of type: ColumnType, for view: PointInTimeJoinPlan.View
  ) throws -> Column {
    guard let column = spine[name] else {
      let near = suggestion(for: name, among: spine.columns.map(\.name))
      throw PlatformError(
        .invalidArgument,
        "view '\(view.layout.view)' is about entity '\(view.entity.name)', whose key column '\(name)' the spine does not have\(near)"
      )
    }
    if column.type == type { return column }
    if type == .int64, let whole = try wholeNumbers(column) { return whole }
    if (0..<column.count).allSatisfy({ !column.isPresent($0) }) {
      return Column(name: name, nulls: column.count, of: type)
    }
    throw PlatformError(
      .invalidArgument,
      "the spine's column '\(name)' is \(column.type.rawValue), but as key of entity '\(view.entity.name)' (view '\(view.layout.view)') it is \(type.rawValue); convert it"
    )
  }

  /// Whole numbers that were stored as doubles, as data frames do to columns with nulls; NaN is
  /// null.
  private func wholeNumbers(_ column: Column) throws -> Column? {
    guard case .double(let all) = column.values else { return nil }
    var numbers = [Int64](repeating: 0, count: all.count)
    var presence = column.presence ?? [UInt8](repeating: 0, count: all.count)
    for (row, value) in all.enumerated() where presence[row] == 0 {
      if value.isNaN {
        presence[row] = Presence.null.rawValue
      } else if let whole = Int64(exactly: value) {
        numbers[row] = whole
      } else {
        throw PlatformError(
          .invalidArgument,
          "the spine's key column '\(column.name)' has \(value) in row \(row + 1), which is not a whole number"
        )
      }
    }
    return Column(name: column.name, values: .int64(numbers), presence: presence)
  }
}
