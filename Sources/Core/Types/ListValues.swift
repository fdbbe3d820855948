/// The cells of an array column: the elements of all of them, one after another, and where each cell's begin.
///
/// Cells that are not present are empty. Where `length` is set, every cell that is present has so many elements.
package struct ListValues: Sendable, Equatable {
  /// Scalars, never lists; none of them is null.
  package private(set) var elements: ColumnValues
  /// One more than there are cells, the first 0: cell i has the elements from offset i up to offset i + 1.
  package private(set) var offsets: [Int]
  package let length: Int?

  /// No cells.
  package init(of element: ScalarType, length: Int?, reserving capacity: Int = 0) {
    elements = ColumnValues(empty: ColumnType(element), reserving: capacity * (length ?? 0))
    offsets = [Int](reserving: capacity + 1)
    offsets.append(0)
    self.length = length
  }

  /// So many empty cells.
  package init(empty count: Int, of element: ScalarType, length: Int?) {
    elements = ColumnValues(empty: ColumnType(element))
    offsets = [Int](repeating: 0, count: count + 1)
    self.length = length
  }

  /// - Parameter offsets: rising from 0 to the number of elements.
  package init(elements: ColumnValues, offsets: [Int], length: Int? = nil) {
    precondition(offsets.first == 0 && offsets.last == elements.count && !elements.type.isArray)
    self.elements = elements
    self.offsets = offsets
    self.length = length
  }

  package var count: Int { offsets.count - 1 }
  package var type: ColumnType { .array(of: elements.type.scalar, length: length) }

  @inlinable package func range(_ row: Int) -> Range<Int> { offsets[row]..<offsets[row + 1] }

  /// The elements of one cell.
  package subscript(row: Int) -> ColumnValues { elements[range(row)] }

  /// Adds a cell: false, and an empty one, where the elements are of another type or number than the cells here.
  package mutating func append(_ more: ColumnValues) -> Bool {
    var more = more
    if elements.type != more.type {
      guard let converted = more.converted(to: elements.type) else {
        append(emptyCells: 1)
        return false
      }
      more = converted
    }
    guard length == nil || length == more.count else {
      append(emptyCells: 1)
      return false
    }
    elements.append(scalars: more)
    offsets.append(elements.count)
    return true
  }

  package mutating func append(emptyCells count: Int) {
    offsets.append(contentsOf: repeatElement(elements.count, count: count))
  }

  /// Adds the cells of lists of the same type.
  package mutating func append(_ more: ListValues) {
    let base = elements.count
    elements.append(scalars: more.elements)
    offsets.append(contentsOf: more.offsets.dropFirst().lazy.map { $0 + base })
  }

  /// The cells of `rows`, in that order.
  package func gather(_ rows: [Int]) -> ListValues {
    var ends = [Int](reserving: rows.count + 1)
    ends.append(0)
    for row in rows { ends.append(ends[ends.count - 1] + range(row).count) }
    let gathered = elements.joining(rows.map { range($0) })
    return ListValues(elements: gathered, offsets: ends, length: length)
  }

  /// The elements of some cells of a fixed array, with zero values for those of empty cells.
  package func padded(_ rows: Range<Int>) -> ColumnValues {
    let length = length ?? 0
    var starts: [Int?] = []
    for row in rows { starts.append(range(row).isEmpty ? nil : range(row).lowerBound) }
    func pad<T>(_ all: [T], _ zero: T) -> [T] {
      var padded = [T](reserving: rows.count * length)
      for start in starts {
        if let start {
          padded.append(contentsOf: all[start..<start + length])
        } else {
          padded.append(contentsOf: repeatElement(zero, count: length))
        }
      }
      return padded
    }
    return switch elements {
    case .bool(let all): .bool(pad(all, false))
    case .int64(let all): .int64(pad(all, 0))
    case .double(let all): .double(pad(all, 0))
    case .string(let all): .string(pad(all, ""))
    case .timestamp(let all): .timestamp(pad(all, 0))
    case .list: elements
    }
  }

  /// The same with the cells emptied for which `presence` has anything but 0.
  package func cleared(where presence: [UInt8]) -> ListValues {
    guard presence.indices.contains(where: { presence[$0] != 0 && !range($0).isEmpty }) else {
      return self
    }
    var cleared = ListValues(of: elements.type.scalar, length: length, reserving: count)
    for row in 0..<count {
      if presence[row] != 0 {
        cleared.append(emptyCells: 1)
      } else {
        _ = cleared.append(self[row])
      }
    }
    return cleared
  }
}

private func joined<T>(_ all: [T], _ ranges: [Range<Int>], count: Int) -> [T] {
  var joined = [T](reserving: count)
  for range in ranges { joined.append(contentsOf: all[range]) }
  return joined
}

extension ColumnValues {
  /// Some of the values, in order; of lists some of the cells.
  package subscript(range: Range<Int>) -> ColumnValues {
    switch self {
    case .bool(let all): .bool(Array(all[range]))
    case .int64(let all): .int64(Array(all[range]))
    case .double(let all): .double(Array(all[range]))
    case .string(let all): .string(Array(all[range]))
    case .timestamp(let all): .timestamp(Array(all[range]))
    case .list(let lists): .list(lists.gather(Array(range)))
    }
  }

  /// The scalars of some ranges, one range after another.
  package func joining(_ ranges: [Range<Int>]) -> ColumnValues {
    let count = ranges.reduce(0) { $0 + $1.count }
    return switch self {
    case .bool(let all): .bool(joined(all, ranges, count: count))
    case .int64(let all): .int64(joined(all, ranges, count: count))
    case .double(let all): .double(joined(all, ranges, count: count))
    case .string(let all): .string(joined(all, ranges, count: count))
    case .timestamp(let all): .timestamp(joined(all, ranges, count: count))
    case .list: self
    }
  }

  /// The values one by one.
  package var scalars: [Value] {
    switch self {
    case .bool(let all): all.map { .bool($0) }
    case .int64(let all): all.map { .int64($0) }
    case .double(let all): all.map { .double($0) }
    case .string(let all): all.map { .string($0) }
    case .timestamp(let all): all.map { .timestamp(Timestamp(microseconds: $0)) }
    case .list(let lists): (0..<lists.count).map { .list(lists[$0]) }
    }
  }

  /// Numbers and truth values as doubles; nil for the rest.
  package var numbers: [Double]? {
    switch self {
    case .bool(let all): all.map { $0 ? 1 : 0 }
    case .int64(let all): all.map { Double($0) }
    case .double(let all): all
    case .string, .timestamp, .list: nil
    }
  }

  /// What elements of one type are as another: none are of every type, int64 are doubles, whole doubles are int64; nil
  /// for what is not the same value.
  package func converted(to type: ColumnType) -> ColumnValues? {
    if self.type == type { return self }
    if count == 0 { return ColumnValues(empty: type) }
    switch (self, type) {
    case (.int64(let all), .double): return .double(all.map { Double($0) })
    case (.double(let all), .int64):
      let whole = all.compactMap { Int64(exactly: $0) }
      return whole.count == all.count ? .int64(whole) : nil
    default: return nil
    }
  }

  /// Adds scalars of the same type.
  fileprivate mutating func append(scalars more: ColumnValues) {
    // Emptied before it grows, so that nothing is copied.
    switch self {
    case .bool(var all):
      guard case .bool(let more) = more else { return }
      self = .bool([])
      all.append(contentsOf: more)
      self = .bool(all)
    case .int64(var all):
      guard case .int64(let more) = more else { return }
      self = .bool([])
      all.append(contentsOf: more)
      self = .int64(all)
    case .double(var all):
      guard case .double(let more) = more else { return }
      self = .bool([])
      all.append(contentsOf: more)
      self = .double(all)
    case .string(var all):
      guard case .string(let more) = more else { return }
      self = .bool([])
      all.append(contentsOf: more)
      self = .string(all)
    case .timestamp(var all):
      guard case .timestamp(let more) = more else { return }
      self = .bool([])
      all.append(contentsOf: more)
      self = .timestamp(all)
    case .list: return
    }
  }
}

extension Value {
  /// A list as a value of an array type: elements widened where nothing is lost, times read from their text; nil where
  /// it is not of the type, or not of its length.
  package func list(as type: ColumnType) -> Value? {
    guard case .array(let element, let length) = type, case .list(let elements) = self,
      length == nil || length == elements.count, elements.count <= Limits.arrayElements
    else { return nil }
    if let converted = elements.converted(to: ColumnType(element)) { return .list(converted) }
    guard element == .timestamp, case .string(let texts) = elements else { return nil }
    let times = texts.compactMap { try? Timestamp(iso8601: $0).microseconds }
    return times.count == texts.count ? .list(.timestamp(times)) : nil
  }

  /// Whether it is a value of that type as it is; a null is one of every type.
  package func isOf(_ type: ColumnType) -> Bool {
    switch (self, type) {
    case (.null, _): true
    case (.list(let elements), .array(let element, let length)):
      elements.type.scalar == element && (length == nil || length == elements.count)
    default: self.type == type
    }
  }
}
