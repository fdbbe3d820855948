import Core

/// A column that grows a row at a time: each row is begun as absent and then set.
///
/// The row of an array is set between `beginList` and `endList` by `add` for each element.
final class ColumnBuilder {
  let definition: ColumnDefinition
  private var bools: [Bool] = []
  private var integers: [Int64] = []
  private var doubles: [Double] = []
  private var strings: [String] = []
  private var presence: [UInt8] = []
  /// Of an array where the elements of each row begin, and one more for the end.
  private var offsets: [Int] = [0]
  private let isArray: Bool

  init(_ definition: ColumnDefinition, reserving capacity: Int) {
    self.definition = definition
    isArray = definition.type.isArray
    presence.reserveCapacity(capacity)
    switch definition.type {
    case .bool: bools.reserveCapacity(capacity)
    case .int64, .timestamp: integers.reserveCapacity(capacity)
    case .double: doubles.reserveCapacity(capacity)
    case .string: strings.reserveCapacity(capacity)
    case .array: offsets.reserveCapacity(capacity + 1)
    }
  }

  @inline(__always)
  func begin() {
    presence.append(Presence.absent.rawValue)
    switch definition.type {
    case .bool: bools.append(false)
    case .int64, .timestamp: integers.append(0)
    case .double: doubles.append(0)
    case .string: strings.append("")
    case .array: offsets.append(offsets[offsets.count - 1])
    }
  }

  /// Takes the row back that was begun last.
  func drop() {
    presence.removeLast()
    switch definition.type {
    case .bool: bools.removeLast()
    case .int64, .timestamp: integers.removeLast()
    case .double: doubles.removeLast()
    case .string: strings.removeLast()
    case .array:
      beginList()
      offsets.removeLast()
    }
  }

  @inline(__always)
  func set(_ value: Bool) {
    bools[bools.count - 1] = value
    presence[presence.count - 1] = 0
  }

  @inline(__always)
  func set(_ value: Int64) {
    integers[integers.count - 1] = value
    presence[presence.count - 1] = 0
  }

  @inline(__always)
  func set(_ value: Double) {
    doubles[doubles.count - 1] = value
    presence[presence.count - 1] = 0
  }

  @inline(__always)
  func set(_ value: String) {
    strings[strings.count - 1] = value
    presence[presence.count - 1] = 0
  }

  /// An observed null; a value that was set before (a repeated member) is forgotten.
  func setNull() {
    switch definition.type {
    case .bool: bools[bools.count - 1] = false
    case .int64, .timestamp: integers[integers.count - 1] = 0
    case .double: doubles[doubles.count - 1] = 0
    case .string: strings[strings.count - 1] = ""
    case .array:
      beginList()
      offsets[offsets.count - 1] = offsets[offsets.count - 2]
    }
    presence[presence.count - 1] = Presence.null.rawValue
  }

  /// Begins the elements of the row; those that were set before (a repeated member) are forgotten.
  func beginList() {
    let start = offsets[offsets.count - 2]
    switch definition.type.scalar {
    case .bool: bools.removeLast(bools.count - start)
    case .int64, .timestamp: integers.removeLast(integers.count - start)
    case .double: doubles.removeLast(doubles.count - start)
    case .string: strings.removeLast(strings.count - start)
    }
  }

  func add(_ element: Bool) { bools.append(element) }
  func add(_ element: Int64) { integers.append(element) }
  func add(_ element: Double) { doubles.append(element) }
  func add(_ element: String) { strings.append(element) }

  /// How many elements the row got since `beginList`.
  var elementCount: Int {
    let end =
      switch definition.type.scalar {
      case .bool: bools.count
      case .int64, .timestamp: integers.count
      case .double: doubles.count
      case .string: strings.count
      }
    return end - offsets[offsets.count - 2]
  }

  func endList() {
    offsets[offsets.count - 1] = offsets[offsets.count - 2] + elementCount
    presence[presence.count - 1] = Presence.present.rawValue
  }

  var isPresent: Bool { presence.last == 0 }

  /// What the check finds in the row that was begun last.
  @inline(__always)
  func fault(_ check: RowCheck) -> RowFault? {
    guard isPresent else {
      return check.check.required ? .missing(column: check.check.column) : nil
    }
    guard check.looksAtValues else { return nil }
    switch definition.type {
    case .double: return doubles.last.flatMap { check.fault($0) }
    case .int64: return integers.last.flatMap { check.fault($0) }
    case .string: return strings.last.flatMap { check.fault($0) }
    case .bool, .timestamp, .array: return nil
    }
  }

  func finish() -> Column {
    var values: ColumnValues =
      switch definition.type.scalar {
      case .bool: .bool(bools)
      case .int64: .int64(integers)
      case .double: .double(doubles)
      case .string: .string(strings)
      case .timestamp: .timestamp(integers)
      }
    if case .array(_, let length) = definition.type {
      values = .list(ListValues(elements: values, offsets: offsets, length: length))
    }
    let isWhole = presence.allSatisfy { $0 == 0 }
    return Column(name: definition.name, values: values, presence: isWhole ? nil : presence)
  }
}
