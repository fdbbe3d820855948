import Core

/// The bitmap of cells that a record did not have: bit i of byte i / 8 is column i.
package struct AbsenceBits: Equatable {
  private var bytes: [UInt8] = []

  package init(hexadecimal text: String) {
    let digits = Array(text.utf8)
    bytes = stride(from: 0, to: digits.count - digits.count % 2, by: 2).map { place in
      Self.value(digits[place]) << 4 | Self.value(digits[place + 1])
    }
  }

  private static func value(_ digit: UInt8) -> UInt8 {
    digit <= UInt8(ascii: "9") ? digit &- 48 : (digit | 0x20) &- 87
  }

  package mutating func set(_ bit: Int, _ isSet: Bool) {
    while bytes.count <= bit / 8 { bytes.append(0) }
    if isSet {
      bytes[bit / 8] |= 1 << UInt8(bit % 8)
    } else {
      bytes[bit / 8] &= ~(1 << UInt8(bit % 8))
    }
  }

  /// Marks columns that were declared after an event was stored.
  package mutating func lack(_ names: [String], in table: EventTable, at sequence: Int64) {
    for place in table.columns where sequence <= place.since && names.contains(place.name) {
      set(place.position, true)
    }
  }

  /// Nil where the record had every column.
  package var hexadecimal: String? {
    guard bytes.contains(where: { $0 != 0 }) else { return nil }
    let digits = Array("0123456789ABCDEF")
    return String(bytes.flatMap { [digits[Int($0 >> 4)], digits[Int($0 & 15)]] })
  }
}
