/// Whether a cell holds a value, an observed null, or nothing because the record did not have the column.
package enum Presence: UInt8, Sendable {
  case present = 0
  case null = 1
  case absent = 2
}

/// The values of a column; cells that are not present hold a zero value. Texts are compared by their bytes.
package enum ColumnValues: Sendable, Equatable {
  case bool([Bool])
  case int64([Int64])
  case double([Double])
  case string([String])
  /// Microseconds since the epoch, UTC.
  case timestamp([Int64])
  /// The zero value of a cell is the empty list, of fixed arrays as well.
  indirect case list(ListValues)

  package var count: Int {
    switch self {
    case .bool(let values): values.count
    case .int64(let values), .timestamp(let values): values.count
    case .double(let values): values.count
    case .string(let values): values.count
    case .list(let lists): lists.count
    }
  }

  package var type: ColumnType {
    switch self {
    case .bool: .bool
    case .int64: .int64
    case .double: .double
    case .string: .string
    case .timestamp: .timestamp
    case .list(let lists): lists.type
    }
  }

  package init(empty type: ColumnType, reserving capacity: Int = 0) {
    switch type {
    case .bool: self = .bool(.init(reserving: capacity))
    case .int64: self = .int64(.init(reserving: capacity))
    case .double: self = .double(.init(reserving: capacity))
    case .string: self = .string(.init(reserving: capacity))
    case .timestamp: self = .timestamp(.init(reserving: capacity))
    case .array(let element, let length):
      self = .list(ListValues(of: element, length: length, reserving: capacity))
    }
  }
}

extension ColumnValues {
  package static func == (a: ColumnValues, b: ColumnValues) -> Bool {
    switch (a, b) {
    case (.bool(let a), .bool(let b)): a == b
    case (.int64(let a), .int64(let b)): a == b
    case (.double(let a), .double(let b)): a == b
    case (.string(let a), .string(let b)): a.elementsEqual(b) { $0.hasSameBytes(as: $1) }
    case (.timestamp(let a), .timestamp(let b)): a == b
    case (.list(let a), .list(let b)): a == b
    default: false
    }
  }

  /// Moves the cells out, so that whoever changes them holds them alone: a payload that is bound while
  /// `self` still refers to it is copied whole at the first change.
  private mutating func take() -> ColumnValues {
    let taken = consume self
    self = .bool([])
    return taken
  }

  /// Adds a cell, a zero where `value` is of another type; int64 widens into doubles.
  ///
  /// - Returns: whether the value was of the type.
  fileprivate mutating func append(_ value: Value) -> Bool {
    switch take() {
    case .bool(var all):
      let cell: Bool? = if case .bool(let one) = value { one } else { nil }
      all.append(cell ?? false)
      self = .bool(all)
      return cell != nil
    case .int64(var all):
      let cell: Int64? = if case .int64(let one) = value { one } else { nil }
      all.append(cell ?? 0)
      self = .int64(all)
      return cell != nil
    case .double(var all):
      let cell: Double? =
        switch value {
        case .double(let one): one
        case .int64(let one): Double(one)
        default: nil
        }
      all.append(cell ?? 0)
      self = .double(all)
      return cell != nil
    case .string(var all):
      let cell: String? = if case .string(let one) = value { one } else { nil }
      all.append(cell ?? "")
      self = .string(all)
      return cell != nil
    case .timestamp(var all):
      let cell: Int64? = if case .timestamp(let one) = value { one.microseconds } else { nil }
      all.append(cell ?? 0)
      self = .timestamp(all)
      return cell != nil
    case .list(var lists):
      var fits = false
      if case .list(let elements) = value {
        fits = lists.append(elements)
      } else {
        lists.append(emptyCells: 1)
      }
      self = .list(lists)
      return fits
    }
  }

  /// Adds all the cells of `other`, which is of the same type.
  fileprivate mutating func append(contentsOf other: ColumnValues) {
    switch take() {
    case .bool(var all):
      if case .bool(let more) = other { all.append(contentsOf: more) }
      self = .bool(all)
    case .int64(var all):
      if case .int64(let more) = other { all.append(contentsOf: more) }
      self = .int64(all)
    case .double(var all):
      if case .double(let more) = other { all.append(contentsOf: more) }
      self = .double(all)
    case .string(var all):
      if case .string(let more) = other { all.append(contentsOf: more) }
      self = .string(all)
    case .timestamp(var all):
      if case .timestamp(let more) = other { all.append(contentsOf: more) }
      self = .timestamp(all)
    case .list(var lists):
      if case .list(let more) = other { lists.append(more) }
      self = .list(lists)
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
      case .array(let element, let length):
        .list(ListValues(empty: count, of: element, length: length))
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
    case .list(let lists): .list(lists[row])
    }
  }

  /// Adds a cell; int64 widens into a double column, anything else of another type becomes null, as does a list of another
  /// length than the column's.
  ///
  /// Amortised O(1): the cells are copied only where somebody else holds them too.
  package mutating func append(_ value: Value, absent: Bool = false) {
    let count = self.count
    let isNull = !values.append(value)
    if isNull || presence != nil {
      if presence == nil { presence = [UInt8](repeating: 0, count: count) }
      presence?.append(
        isNull ? (absent ? Presence.absent : Presence.null).rawValue : Presence.present.rawValue)
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
      case .list(let lists): .list(lists.gather(rows))
      }
    return Column(name: name, values: gathered, presence: presence.map { p in rows.map { p[$0] } })
  }

  /// Adds all the cells of another column; those of one of another type become null.
  ///
  /// Amortised O(`other.count`).
  package mutating func append(contentsOf other: Column) {
    guard type == other.type else {
      return append(contentsOf: Column(name: other.name, nulls: other.count, of: type))
    }
    let count = self.count
    values.append(contentsOf: other.values)
    guard presence != nil || other.presence != nil else { return }
    if presence == nil { presence = [UInt8](repeating: 0, count: count) }
    if let more = other.presence {
      presence?.append(contentsOf: more)
    } else {
      presence?.append(contentsOf: repeatElement(0, count: other.count))
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

extension Column {
  /// The rows with a time, or an array with one, that is outside `Timestamp.bounds`.
  package var rowsOutsideCalendar: [Int] {
    switch values {
    case .timestamp(let all):
      if all.allSatisfy(Timestamp.bounds.contains) { return [] }
      return all.indices.filter { isPresent($0) && !Timestamp.bounds.contains(all[$0]) }
    case .list(let lists):
      guard case .timestamp(let all) = lists.elements,
        !all.allSatisfy(Timestamp.bounds.contains)
      else { return [] }
      return (0..<count).filter { row in
        isPresent(row) && !all[lists.range(row)].allSatisfy(Timestamp.bounds.contains)
      }
    case .bool, .int64, .double, .string: return []
    }
  }
}
