/// Whether a cell holds a value, an observed null, or nothing because the record did not have the column.
package enum Presence: UInt8, Sendable {
  case present = 0
  case null = 1
  case absent = 2
}

/// The values of a column; cells that are not present hold a zero value.
package enum ColumnValues: Sendable, Equatable {
  case bool([Bool])
  case int64([Int64])
  case double([Double])
  case string([String])
  /// Microseconds since the epoch, UTC.
  case timestamp([Int64])

  package var count: Int {
    switch self {
    case .bool(let values): values.count
    case .int64(let values), .timestamp(let values): values.count
    case .double(let values): values.count
    case .string(let values): values.count
    }
  }

  package var type: ColumnType {
    switch self {
    case .bool: .bool
    case .int64: .int64
    case .double: .double
    case .string: .string
    case .timestamp: .timestamp
    }
  }

  package init(empty type: ColumnType, reserving capacity: Int = 0) {
    switch type {
    case .bool: self = .bool(.init(reserving: capacity))
    case .int64: self = .int64(.init(reserving: capacity))
    case .double: self = .double(.init(reserving: capacity))
    case .string: self = .string(.init(reserving: capacity))
    case .timestamp: self = .timestamp(.init(reserving: capacity))
    }
  }
}

extension Array {
  package init(reserving capacity: Int) {
    self.init()
    reserveCapacity(capacity)
  }
}

/// A named, typed column: packed values beside one presence byte a row.
///
/// `presence` is nil when every cell is present; otherwise it has one `Presence` raw value a row.
package struct Column: Sendable, Equatable {
  package var name: String
  package var values: ColumnValues
  package var presence: [UInt8]?

  package init(name: String, values: ColumnValues, presence: [UInt8]? = nil) {
    self.name = name
    self.values = values
    self.presence = presence
  }

  package var count: Int { values.count }
  package var type: ColumnType { values.type }

  /// A column of `count` nulls.
  package init(name: String, nulls count: Int, of type: ColumnType) {
    self.name = name
    presence = [UInt8](repeating: Presence.null.rawValue, count: count)
    values =
      switch type {
      case .bool: .bool([Bool](repeating: false, count: count))
      case .int64: .int64([Int64](repeating: 0, count: count))
      case .double: .double([Double](repeating: 0, count: count))
      case .string: .string([String](repeating: "", count: count))
      case .timestamp: .timestamp([Int64](repeating: 0, count: count))
      }
  }

  @inlinable package func isPresent(_ row: Int) -> Bool {
    guard let presence else { return true }
    return presence[row] == 0
  }

  package func presence(at row: Int) -> Presence {
    guard let presence else { return .present }
    return Presence(rawValue: presence[row]) ?? .null
  }

  /// The cell as a `Value`; an absent cell reads as null.
  package subscript(row: Int) -> Value {
    guard isPresent(row) else { return .null }
    return switch values {
    case .bool(let values): .bool(values[row])
    case .int64(let values): .int64(values[row])
    case .double(let values): .double(values[row])
    case .string(let values): .string(values[row])
    case .timestamp(let values): .timestamp(Timestamp(microseconds: values[row]))
    }
  }

  /// Adds a cell; int64 widens into a double column, anything else of another type becomes null.
  package mutating func append(_ value: Value, absent: Bool = false) {
    let count = self.count
    var isNull = false
    switch (values, value) {
    case (.bool(var all), .bool(let one)):
      values = .bool([])
      all.append(one)
      values = .bool(all)
    case (.int64(var all), .int64(let one)):
      values = .int64([])
      all.append(one)
      values = .int64(all)
    case (.double(var all), .double(let one)):
      values = .double([])
      all.append(one)
      values = .double(all)
    case (.double(var all), .int64(let one)):
      values = .double([])
      all.append(Double(one))
      values = .double(all)
    case (.string(var all), .string(let one)):
      values = .string([])
      all.append(one)
      values = .string(all)
    case (.timestamp(var all), .timestamp(let one)):
      values = .timestamp([])
      all.append(one.microseconds)
      values = .timestamp(all)
    default:
      isNull = true
      appendZero()
    }
    if isNull || presence != nil {
      if presence == nil { presence = [UInt8](repeating: 0, count: count) }
      presence?.append(
        isNull ? (absent ? Presence.absent : Presence.null).rawValue : Presence.present.rawValue)
    }
  }

  private mutating func appendZero() {
    switch values {
    case .bool(var all):
      values = .bool([])
      all.append(false)
      values = .bool(all)
    case .int64(var all):
      values = .int64([])
      all.append(0)
      values = .int64(all)
    case .double(var all):
      values = .double([])
      all.append(0)
      values = .double(all)
    case .string(var all):
      values = .string([])
      all.append("")
      values = .string(all)
    case .timestamp(var all):
      values = .timestamp([])
      all.append(0)
      values = .timestamp(all)
    }
  }

  /// The cells of `rows`, in that order.
  package func gather(_ rows: [Int]) -> Column {
    let gathered: ColumnValues =
      switch values {
      case .bool(let all): .bool(rows.map { all[$0] })
      case .int64(let all): .int64(rows.map { all[$0] })
      case .double(let all): .double(rows.map { all[$0] })
      case .string(let all): .string(rows.map { all[$0] })
      case .timestamp(let all): .timestamp(rows.map { all[$0] })
      }
    return Column(name: name, values: gathered, presence: presence.map { p in rows.map { p[$0] } })
  }

  /// Adds all the cells of another column of the same type.
  package mutating func append(contentsOf other: Column) {
    let count = self.count
    switch (values, other.values) {
    case (.bool(var all), .bool(let more)):
      values = .bool([])
      all.append(contentsOf: more)
      values = .bool(all)
    case (.int64(var all), .int64(let more)):
      values = .int64([])
      all.append(contentsOf: more)
      values = .int64(all)
    case (.double(var all), .double(let more)):
      values = .double([])
      all.append(contentsOf: more)
      values = .double(all)
    case (.string(var all), .string(let more)):
      values = .string([])
      all.append(contentsOf: more)
      values = .string(all)
    case (.timestamp(var all), .timestamp(let more)):
      values = .timestamp([])
      all.append(contentsOf: more)
      values = .timestamp(all)
    default:
      self.append(contentsOf: Column(name: other.name, nulls: other.count, of: type))
      return
    }
    if presence != nil || other.presence != nil {
      var merged = presence ?? [UInt8](repeating: 0, count: count)
      merged.append(contentsOf: other.presence ?? [UInt8](repeating: 0, count: other.count))
      presence = merged
    }
  }

  package init(name: String, type: ColumnType, _ cells: [Value]) {
    self.init(name: name, values: ColumnValues(empty: type, reserving: cells.count))
    for cell in cells { append(cell) }
  }
}

/// Columns of equal length under distinct names.
package struct ColumnBatch: Sendable, Equatable {
  package var columns: [Column]
  package var count: Int

  package init(columns: [Column], count: Int? = nil) {
    self.columns = columns
    self.count = count ?? columns.first?.count ?? 0
  }

  package subscript(name: String) -> Column? { columns.first { $0.name == name } }

  package mutating func append(contentsOf other: ColumnBatch) {
    if columns.isEmpty {
      self = other
      return
    }
    for index in columns.indices { columns[index].append(contentsOf: other.columns[index]) }
    count += other.count
  }

  package func gather(_ rows: [Int]) -> ColumnBatch {
    ColumnBatch(columns: columns.map { $0.gather(rows) }, count: rows.count)
  }
}
