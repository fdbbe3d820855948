/// An intermediate result: cells of one type, or one cell that stands for every row.
struct Vector {
  /// Nil is a null of no type yet, in every row.
  var values: ColumnValues?
  /// As in `Column`; any byte but 0 is null.
  var presence: [UInt8]?
  /// The one cell stands for every row.
  var isConstant: Bool

  static let null = Vector(values: nil, presence: nil, isConstant: true)

  init(values: ColumnValues?, presence: [UInt8]?, isConstant: Bool) {
    self.values = values
    self.presence = presence
    self.isConstant = isConstant
  }

  init(_ column: Column) {
    self.init(values: column.values, presence: column.presence, isConstant: false)
  }

  init(_ literal: Expression.Literal) {
    let values: ColumnValues? =
      switch literal {
      case .null: nil
      case .bool(let value): .bool([value])
      case .int64(let value): .int64([value])
      case .double(let value): .double([value])
      case .string(let value): .string([value])
      }
    self.init(values: values, presence: nil, isConstant: true)
  }

  /// A null of that type in every row.
  init(nullOf type: ColumnType) {
    let column = Column(name: "", nulls: 1, of: type)
    self.init(values: column.values, presence: column.presence, isConstant: true)
  }

  var isNullEverywhere: Bool {
    guard values != nil else { return true }
    guard isConstant, let presence else { return false }
    return presence[0] != 0
  }

  /// Values of a whole-number or double vector as doubles.
  var doubles: [Double]? {
    switch values {
    case .double(let all): all
    case .int64(let all): all.map { Double($0) }
    default: nil
    }
  }

  /// The presence of `rows` rows, a constant's spread out.
  func presence(rows: Int) -> [UInt8]? {
    if values == nil { return [UInt8](repeating: 1, count: rows) }
    guard let presence else { return nil }
    guard isConstant else { return presence }
    return presence[0] == 0 ? nil : [UInt8](repeating: 1, count: rows)
  }

  /// Widened to `type`, where it is not of it already.
  func widened(to type: ColumnType) -> Vector {
    guard let values else { return Vector(nullOf: type) }
    if values.type == type { return self }
    guard type == .double, let doubles else { return Vector(nullOf: type) }
    return Vector(values: .double(doubles), presence: presence, isConstant: isConstant)
  }

  /// As a column of `rows` rows whose null cells hold zero values.
  func column(rows: Int) -> Column {
    guard let values else { return Column(name: "", nulls: rows, of: .double) }
    if isNullEverywhere { return Column(name: "", nulls: rows, of: values.type) }
    if isConstant {
      let spread: ColumnValues =
        switch values {
        case .bool(let all): .bool([Bool](repeating: all[0], count: rows))
        case .int64(let all): .int64([Int64](repeating: all[0], count: rows))
        case .double(let all): .double([Double](repeating: all[0], count: rows))
        case .string(let all): .string([String](repeating: all[0], count: rows))
        case .timestamp(let all): .timestamp([Int64](repeating: all[0], count: rows))
        case .list(let lists): .list(lists.gather([Int](repeating: 0, count: rows)))
        }
      return Column(name: "", values: spread)
    }
    guard let presence, presence.contains(where: { $0 != 0 }) else {
      return Column(name: "", values: values)
    }
    let cleared: ColumnValues =
      switch values {
      case .bool(let all): .bool(zeroed(all, false, where: presence))
      case .int64(let all): .int64(zeroed(all, 0, where: presence))
      case .double(let all): .double(zeroed(all, 0, where: presence))
      case .string(let all): .string(zeroed(all, "", where: presence))
      case .timestamp(let all): .timestamp(zeroed(all, 0, where: presence))
      case .list(let lists): .list(lists.cleared(where: presence))
      }
    return Column(name: "", values: cleared, presence: presence)
  }
}

private func zeroed<T>(_ values: [T], _ zero: T, where presence: [UInt8]) -> [T] {
  var values = values
  for row in values.indices where presence[row] != 0 { values[row] = zero }
  return values
}

/// Null where either is; nil when neither has a null. `rows` is 1 when both are constants.
func merged(_ a: Vector, _ b: Vector, rows: Int) -> [UInt8]? {
  let rows = a.isConstant && b.isConstant ? 1 : rows
  let left = a.presence(rows: rows)
  let right = b.presence(rows: rows)
  guard let left else { return right }
  guard let right else { return left }
  return [UInt8](unsafeUninitializedCapacity: rows) { buffer, count in
    for row in 0..<rows { buffer[row] = left[row] | right[row] }
    count = rows
  }
}

/// `operation` of each pair of cells; a constant stands for every row of the other.
@inline(__always)
func combine<A, B, R>(
  _ a: [A], _ aIsConstant: Bool, _ b: [B], _ bIsConstant: Bool, _ operation: (A, B) -> R
) -> [R] {
  if bIsConstant {
    let constant = b[0]
    return mapCells(a) { operation($0, constant) }
  }
  if aIsConstant {
    let constant = a[0]
    return mapCells(b) { operation(constant, $0) }
  }
  let rows = min(a.count, b.count)
  return [R](unsafeUninitializedCapacity: rows) { buffer, count in
    a.withUnsafeBufferPointer { a in
      b.withUnsafeBufferPointer { b in
        for row in 0..<rows { buffer.initializeElement(at: row, to: operation(a[row], b[row])) }
      }
    }
    count = rows
  }
}

@inline(__always)
func mapCells<A, R>(_ cells: [A], _ operation: (A) -> R) -> [R] {
  [R](unsafeUninitializedCapacity: cells.count) { buffer, count in
    cells.withUnsafeBufferPointer { cells in
      for row in 0..<cells.count { buffer.initializeElement(at: row, to: operation(cells[row])) }
    }
    count = cells.count
  }
}

/// Marks null the rows where `isNull` holds; `presence` stays nil while there are none.
@inline(__always)
func markNull(_ presence: inout [UInt8]?, rows: Int, where isNull: (Int) -> Bool) {
  for row in 0..<rows where isNull(row) {
    if presence == nil { presence = [UInt8](repeating: 0, count: rows) }
    presence?[row] = 1
  }
}
