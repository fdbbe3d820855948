import Core

/// A column that grows a row at a time: each row is begun as absent and then set.
final class ColumnBuilder {
  let definition: ColumnDefinition
  private var bools: [Bool] = []
  private var integers: [Int64] = []
  private var doubles: [Double] = []
  private var strings: [String] = []
  private var presence: [UInt8] = []

  init(_ definition: ColumnDefinition, reserving capacity: Int) {
    self.definition = definition
    presence.reserveCapacity(capacity)
    switch definition.type {
    case .bool: bools.reserveCapacity(capacity)
    case .int64, .timestamp: integers.reserveCapacity(capacity)
    case .double: doubles.reserveCapacity(capacity)
    case .string: strings.reserveCapacity(capacity)
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
    }
    presence[presence.count - 1] = Presence.null.rawValue
  }

  var isPresent: Bool { presence.last == 0 }

  /// The row's number, for columns of numbers.
  var number: Double? {
    switch definition.type {
    case .double: doubles.last
    case .int64: integers.last.map { Double($0) }
    default: nil
    }
  }

  func finish() -> Column {
    let values: ColumnValues =
      switch definition.type {
      case .bool: .bool(bools)
      case .int64: .int64(integers)
      case .double: .double(doubles)
      case .string: .string(strings)
      case .timestamp: .timestamp(integers)
      }
    let isWhole = presence.allSatisfy { $0 == 0 }
    return Column(name: definition.name, values: values, presence: isWhole ? nil : presence)
  }
}
