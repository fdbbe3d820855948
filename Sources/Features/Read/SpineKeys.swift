import Core
import Foundation

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
///
/// A text of at most 15 bytes lies in the table itself, so that finding it touches memory once; of a longer one the
/// table has the hash and the length, and its bytes are elsewhere.
struct StringNumbering: Sendable {
  /// What is compared first. A short text is its bytes, little-endian, and its length in the top byte; a long one is
  /// its hash, and its length under a top byte that no short one has.
  private struct Words: Equatable {
    var low: UInt64
    var high: UInt64

    static let longMark: UInt64 = 0xFF << 56

    @inline(__always) var isLong: Bool { high >= Words.longMark }
  }

  private struct Entry {
    var words: Words
    /// Minus one where the place is free.
    var number: Int32
  }

  private static let free = Entry(words: Words(low: 0, high: 0), number: -1)
  private static let seeds = (
    UInt64.random(in: .min ... .max) | 1, UInt64.random(in: .min ... .max) | 1
  )
  private var entries = [Entry](repeating: Self.free, count: 16)
  private(set) var count: Int32 = 0
  /// The bytes of long texts.
  private var bytes: [UInt8] = []
  /// By number, where a long text begins in `bytes`; 0 for a short one.
  private var starts: [Int] = []

  // MARK: Words

  @inline(__always)
  private static func words(of text: UnsafeBufferPointer<UInt8>) -> Words {
    let raw = UnsafeRawBufferPointer(text)
    let count = raw.count
    guard count < 16 else { return longWords(raw) }
    let length = UInt64(count) << 56
    if count > 8 {
      // The last eight bytes overlap the first; what both have is shifted out.
      let last = raw.loadUnaligned(fromByteOffset: count - 8, as: UInt64.self)
      return Words(
        low: raw.loadUnaligned(as: UInt64.self),
        high: UInt64(littleEndian: last) >> UInt64((16 - count) * 8) | length)
    }
    if count == 8 { return Words(low: raw.loadUnaligned(as: UInt64.self), high: length) }
    if count >= 4 {
      let first = UInt64(raw.loadUnaligned(as: UInt32.self))
      let last = UInt64(raw.loadUnaligned(fromByteOffset: count - 4, as: UInt32.self))
      return Words(low: first | last << UInt64((count - 4) * 8), high: length)
    }
    var low: UInt64 = 0
    for index in 0..<count { low |= UInt64(raw[index]) << UInt64(index * 8) }
    return Words(low: low, high: length)
  }

  private static func longWords(_ raw: UnsafeRawBufferPointer) -> Words {
    var hash = seeds.0
    var offset = 0
    while offset + 8 < raw.count {
      hash = fold(hash ^ raw.loadUnaligned(fromByteOffset: offset, as: UInt64.self), seeds.1)
      offset += 8
    }
    let last = raw.loadUnaligned(fromByteOffset: raw.count - 8, as: UInt64.self)
    return Words(low: fold(hash ^ last, seeds.1), high: Words.longMark | UInt64(raw.count))
  }

  @inline(__always)
  private static func fold(_ a: UInt64, _ b: UInt64) -> UInt64 {
    let product = a.multipliedFullWidth(by: b)
    return product.high ^ product.low
  }

  @inline(__always)
  private static func home(of words: Words, _ mask: Int) -> Int {
    let hash = fold(words.low ^ seeds.0, words.high ^ seeds.1)
    return Int(truncatingIfNeeded: fold(hash, 0x9E37_79B9_7F4A_7C15)) & mask
  }

  /// The table while it is read: pointers only, of which no copy is counted.
  private struct Reader {
    let entries: UnsafeBufferPointer<Entry>
    let bytes: UnsafeBufferPointer<UInt8>
    let starts: UnsafeBufferPointer<Int>

    /// Where the text is, or the free place where it would be.
    @inline(__always)
    func place(of words: Words, _ text: UnsafeBufferPointer<UInt8>) -> Int {
      let mask = entries.count - 1
      var place = StringNumbering.home(of: words, mask)
      while entries[place].number >= 0 {
        if entries[place].words == words, !words.isLong || isSame(text, entries[place].number) {
          return place
        }
        place = (place + 1) & mask
      }
      return place
    }

    /// The words say that the length is the same.
    private func isSame(_ text: UnsafeBufferPointer<UInt8>, _ number: Int32) -> Bool {
      guard let known = bytes.baseAddress, let sought = text.baseAddress else { return false }
      return memcmp(known + starts[Int(number)], sought, text.count) == 0
    }

    @inline(__always)
    func number(of text: UnsafeBufferPointer<UInt8>) -> Int32 {
      entries[place(of: StringNumbering.words(of: text), text)].number
    }
  }

  @inline(__always)
  private func withReader<Result>(_ body: (Reader) -> Result) -> Result {
    entries.withUnsafeBufferPointer { entries in
      bytes.withUnsafeBufferPointer { bytes in
        starts.withUnsafeBufferPointer { starts in
          body(Reader(entries: entries, bytes: bytes, starts: starts))
        }
      }
    }
  }

  // MARK: Numbers

  /// The number of `text`, a new one where it had none.
  mutating func number(of text: String) -> Int32 {
    var text = text
    return text.withUTF8 { text in
      if Int(count) * 2 >= entries.count { grow() }
      let words = Self.words(of: text)
      let place = withReader { $0.place(of: words, text) }
      if entries[place].number >= 0 { return entries[place].number }
      entries[place] = Entry(words: words, number: count)
      starts.append(words.isLong ? bytes.count : 0)
      if words.isLong { bytes.append(contentsOf: text) }
      count += 1
      return count - 1
    }
  }

  /// Calls `body` with a function from a text to its number, -1 where it has none.
  @inline(__always)
  func reading<Result>(_ body: ((String) -> Int32) -> Result) -> Result {
    withReader { reader in
      body { text in
        let found = text.utf8.withContiguousStorageIfAvailable { reader.number(of: $0) }
        if let found { return found }
        var copy = text
        return copy.withUTF8 { reader.number(of: $0) }
      }
    }
  }

  private mutating func grow() {
    let old = entries
    // A large table grows by less: its size is what a look-up costs.
    let larger = old.count * (old.count < 1 << 16 ? 4 : 2)
    entries = [Entry](repeating: Self.free, count: larger)
    let mask = larger - 1
    for entry in old where entry.number >= 0 {
      var place = Self.home(of: entry.words, mask)
      while entries[place].number >= 0 { place = (place + 1) & mask }
      entries[place] = entry
    }
  }
}

/// Numbers entity keys of one or more columns, a column at a time; no key is ever built as a value.
///
/// A composite key is a chain of pairs: (number of what came before, number of this part) has a
/// number of its own. Without any column there is one key, number 0, that every row has.
struct SpineKeys: Sendable {
  private struct Part: Sendable {
    var integers = Int64Numbering()
    var texts = StringNumbering()
    var isText: Bool
  }

  private var parts: [Part]
  private var pairs: [Int64Numbering]
  /// Whether a row has the key of no columns.
  private var hasKeyOfNone = false

  init(types: [ColumnType]) {
    parts = types.map { Part(isText: $0 == .string) }
    pairs = types.dropFirst().map { _ in Int64Numbering() }
  }

  /// How many distinct keys have a number.
  var count: Int {
    if parts.isEmpty { return hasKeyOfNone ? 1 : 0 }
    if let last = pairs.last { return Int(last.count) }
    return Int(parts[0].isText ? parts[0].texts.count : parts[0].integers.count)
  }

  /// The number of the key of every row, new ones where needed; -1 where a part is null or
  /// `isSkipped`.
  mutating func add(_ columns: [Column], count: Int, isSkipped: (Int) -> Bool) -> [Int32] {
    if parts.isEmpty {
      let numbers: [Int32] = (0..<count).map { isSkipped($0) ? -1 : 0 }
      hasKeyOfNone = hasKeyOfNone || numbers.contains(0)
      return numbers
    }
    return (0..<count).map { row in
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
    if parts.isEmpty { return [Int32](repeating: hasKeyOfNone ? 0 : -1, count: count) }
    return [Int32](unsafeUninitializedCapacity: count) { numbers, initialized in
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
      all.withUnsafeBufferPointer { all in
        parts[index].texts.reading { find in
          fold(index, column.presence, count, numbers) { find(all[$0]) }
        }
      }
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
