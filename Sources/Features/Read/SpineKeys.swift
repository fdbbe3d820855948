import Core

/// Numbers distinct whole numbers 0, 1, 2, … in order of first appearance; open addressing, no
/// removal.
///
/// The hash is seeded per process, so that no choice of keys can make all of them collide.
struct Int64Numbering: Sendable {
  private struct Entry {
    var key: Int64
    /// Minus one where the place is free.
    var number: Int32
  }

  private static let seed = UInt64.random(in: .min ... .max) | 1
  private var entries = [Entry](repeating: Entry(key: 0, number: -1), count: 16)
  private var shift: UInt64 = 60
  private(set) var count: Int32 = 0

  @inline(__always)
  private func home(of key: Int64) -> Int {
    let mixed = (UInt64(bitPattern: key) ^ (UInt64(bitPattern: key) >> 32)) &* Self.seed
    return Int(((mixed ^ (mixed >> 29)) &* 0x9E37_79B9_7F4A_7C15) >> shift)
  }

  /// The number of `key`, a new one where it had none.
  mutating func number(of key: Int64) -> Int32 {
    if Int(count) * 2 >= entries.count { grow() }
    var place = home(of: key)
    while entries[place].number >= 0 {
      if entries[place].key == key { return entries[place].number }
      place = (place + 1) & (entries.count - 1)
    }
    entries[place] = Entry(key: key, number: count)
    count += 1
    return count - 1
  }

  /// Calls `body` with a function from a key to its number, -1 where it has none.
  @inline(__always)
  func reading<Result>(_ body: ((Int64) -> Int32) -> Result) -> Result {
    entries.withUnsafeBufferPointer { entries in
      let mask = entries.count - 1
      return body { key in
        var place = home(of: key)
        while entries[place].number >= 0 {
          if entries[place].key == key { return entries[place].number }
          place = (place + 1) & mask
        }
        return -1
      }
    }
  }

  private mutating func grow() {
    let old = entries
    entries = [Entry](repeating: Entry(key: 0, number: -1), count: old.count * 4)
    shift -= 2
    for entry in old where entry.number >= 0 {
      var place = home(of: entry.key)
      while entries[place].number >= 0 { place = (place + 1) & (entries.count - 1) }
      entries[place] = entry
    }
  }
}

/// Numbers distinct texts 0, 1, 2, … in order of first appearance, by their UTF-8 bytes.
struct StringNumbering: Sendable {
  private struct Entry {
    var hash: UInt64
    var number: Int32
  }

  private static let seed = UInt64.random(in: .min ... .max)
  private var entries = [Entry](repeating: Entry(hash: 0, number: -1), count: 16)
  private var bytes: [UInt8] = []
  /// Where each text begins in `bytes`, and one more for the end.
  private var starts: [Int] = [0]

  var count: Int32 { Int32(starts.count - 1) }

  private static func hash(_ text: UnsafeBufferPointer<UInt8>) -> UInt64 {
    var hash = seed ^ UInt64(truncatingIfNeeded: text.count)
    let raw = UnsafeRawBufferPointer(text)
    var offset = 0
    while offset + 8 <= raw.count {
      hash = mixed(hash ^ raw.loadUnaligned(fromByteOffset: offset, as: UInt64.self))
      offset += 8
    }
    var rest: UInt64 = 0
    while offset < raw.count {
      rest = rest << 8 | UInt64(raw[offset])
      offset += 1
    }
    return mixed(hash ^ rest)
  }

  @inline(__always)
  private static func mixed(_ value: UInt64) -> UInt64 {
    let product = value.multipliedFullWidth(by: 0x9E37_79B9_7F4A_7C15)
    return product.high ^ product.low
  }

  private func place(of text: UnsafeBufferPointer<UInt8>, hash: UInt64) -> Int {
    let mask = entries.count - 1
    var place = Int(truncatingIfNeeded: hash) & mask
    while entries[place].number >= 0 {
      if entries[place].hash == hash, isEqual(text, entries[place].number) { return place }
      place = (place + 1) & mask
    }
    return place
  }

  private func isEqual(_ text: UnsafeBufferPointer<UInt8>, _ number: Int32) -> Bool {
    let start = starts[Int(number)]
    let end = starts[Int(number) + 1]
    guard end - start == text.count else { return false }
    return bytes.withUnsafeBufferPointer { bytes in
      for offset in 0..<text.count where bytes[start + offset] != text[offset] { return false }
      return true
    }
  }

  mutating func number(of text: String) -> Int32 {
    var text = text
    return text.withUTF8 { text in
      if Int(count) * 2 >= entries.count { grow() }
      let hash = Self.hash(text)
      let place = place(of: text, hash: hash)
      if entries[place].number >= 0 { return entries[place].number }
      let number = count
      entries[place] = Entry(hash: hash, number: number)
      bytes.append(contentsOf: text)
      starts.append(bytes.count)
      return number
    }
  }

  /// The number of `text`, -1 where it has none.
  func find(_ text: String) -> Int32 {
    if let found = text.utf8.withContiguousStorageIfAvailable({ text in
      entries[place(of: text, hash: Self.hash(text))].number
    }) {
      return found
    }
    var copy = text
    return copy.withUTF8 { entries[place(of: $0, hash: Self.hash($0))].number }
  }

  private mutating func grow() {
    let old = entries
    entries = [Entry](repeating: Entry(hash: 0, number: -1), count: old.count * 4)
    let mask = entries.count - 1
    for entry in old where entry.number >= 0 {
      var place = Int(truncatingIfNeeded: entry.hash) & mask
      while entries[place].number >= 0 { place = (place + 1) & mask }
      entries[place] = entry
    }
  }
}

/// Numbers entity keys of one or more columns, a column at a time; no key is ever built as a value.
///
/// A composite key is a chain of pairs: (number of what came before, number of this part) has a
/// number of its own.
struct SpineKeys: Sendable {
  private struct Part: Sendable {
    var integers = Int64Numbering()
    var texts = StringNumbering()
    var isText: Bool
  }

  private var parts: [Part]
  private var pairs: [Int64Numbering]

  init(types: [ColumnType]) {
    parts = types.map { Part(isText: $0 == .string) }
    pairs = types.dropFirst().map { _ in Int64Numbering() }
  }

  /// How many distinct keys have a number.
  var count: Int {
    if let last = pairs.last { return Int(last.count) }
    return Int(parts[0].isText ? parts[0].texts.count : parts[0].integers.count)
  }

  /// The number of the key of every row, new ones where needed; -1 where a part is null or
  /// `isSkipped`.
  mutating func add(_ columns: [Column], count: Int, isSkipped: (Int) -> Bool) -> [Int32] {
    (0..<count).map { row in
      guard !isSkipped(row), columns.allSatisfy({ $0.isPresent(row) }) else { return -1 }
      var number: Int32 = -1
      for (index, column) in columns.enumerated() {
        let part = addPart(index, column.values, row)
        guard part >= 0 else { return -1 }
        number = index == 0 ? part : pairs[index - 1].number(of: Self.pair(number, part))
      }
      return number
    }
  }

  private mutating func addPart(_ index: Int, _ values: ColumnValues, _ row: Int) -> Int32 {
    switch values {
    case .int64(let all) where !parts[index].isText: parts[index].integers.number(of: all[row])
    case .string(let all) where parts[index].isText: parts[index].texts.number(of: all[row])
    default: -1
    }
  }

  @inline(__always)
  private static func pair(_ a: Int32, _ b: Int32) -> Int64 { Int64(a) << 32 | Int64(b) }

  /// The number of the key of every row, -1 where it has none; nothing is added.
  func find(_ columns: [Column], count: Int) -> [Int32] {
    [Int32](unsafeUninitializedCapacity: count) { numbers, initialized in
      for (index, column) in columns.enumerated() {
        find(part: index, column, count: count, numbers)
      }
      initialized = count
    }
  }

  private func find(
    part index: Int, _ column: Column, count: Int, _ numbers: UnsafeMutableBufferPointer<Int32>
  ) {
    switch column.values {
    case .int64(let all) where !parts[index].isText:
      all.withUnsafeBufferPointer { all in
        parts[index].integers.reading { find in
          fold(index, column.presence, count, numbers) { find(all[$0]) }
        }
      }
    case .string(let all) where parts[index].isText:
      fold(index, column.presence, count, numbers) { parts[index].texts.find(all[$0]) }
    default:
      for row in 0..<count { numbers[row] = -1 }
    }
  }

  @inline(__always)
  private func fold(
    _ index: Int, _ presence: [UInt8]?, _ count: Int,
    _ numbers: UnsafeMutableBufferPointer<Int32>, _ part: (Int) -> Int32
  ) {
    if index == 0 {
      for row in 0..<count {
        numbers[row] = presence == nil || presence?[row] == 0 ? part(row) : -1
      }
      return
    }
    pairs[index - 1].reading { find in
      for row in 0..<count where numbers[row] >= 0 {
        let isPresent = presence == nil || presence?[row] == 0
        let number = isPresent ? part(row) : -1
        numbers[row] = number < 0 ? -1 : find(Self.pair(numbers[row], number))
      }
    }
  }
}
