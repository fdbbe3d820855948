#if canImport(Glibc)
import Glibc
#else
import Darwin
#endif

/// Bytes of a long answer, written front to back without a check for each of them.
///
/// Numbers and times are written digit by digit in place, since making texts of them was half the time of an answer of a
/// thousand values.
package struct TextBuffer: ~Copyable {
  private var base: UnsafeMutablePointer<UInt8>
  private var capacity: Int
  package private(set) var count = 0

  package init(capacity: Int) {
    self.capacity = max(64, capacity)
    base = UnsafeMutablePointer<UInt8>.allocate(capacity: self.capacity)
  }

  deinit { base.deallocate() }

  package borrowing func withBytes<Result>(_ body: (UnsafeRawBufferPointer) -> Result) -> Result {
    body(UnsafeRawBufferPointer(start: base, count: count))
  }

  package mutating func append(_ byte: UInt8) {
    reserve(1)
    base[count] = byte
    count += 1
  }

  package mutating func append(_ text: StaticString) {
    reserve(text.utf8CodeUnitCount)
    memcpy(base + count, text.utf8Start, text.utf8CodeUnitCount)
    count += text.utf8CodeUnitCount
  }

  package mutating func append(_ bytes: [UInt8]) {
    reserve(bytes.count)
    bytes.withUnsafeBufferPointer { bytes in
      if let source = bytes.baseAddress { memcpy(base + count, source, bytes.count) }
    }
    count += bytes.count
  }

  /// Writes again what stands at `range`.
  package mutating func repeatBytes(_ range: Range<Int>) {
    reserve(range.count)
    memcpy(base + count, base + range.lowerBound, range.count)
    count += range.count
  }

  private mutating func reserve(_ bytes: Int) {
    if count + bytes <= capacity { return }
    let larger = max(capacity * 2, count + bytes)
    let next = UnsafeMutablePointer<UInt8>.allocate(capacity: larger)
    memcpy(next, base, count)
    base.deallocate()
    base = next
    capacity = larger
  }

  // MARK: JSON

  /// As `JSON.write` writes it.
  package mutating func append(json value: Value) {
    switch value {
    case .null: append("null")
    case .bool(true): append("true")
    case .bool(false): append("false")
    case .int64(let value): append(value)
    case .double(let value): append(json: value)
    case .timestamp(let value):
      append(UInt8(ascii: "\""))
      append(value)
      append(UInt8(ascii: "\""))
    case .string, .list:
      var bytes: [UInt8] = []
      JSON.write(value, into: &bytes)
      append(bytes)
    }
  }

  package mutating func append(json value: Double) {
    if append(short: value) { return }
    var bytes: [UInt8] = []
    JSON.write(value, into: &bytes)
    append(bytes)
  }

  /// A number of at most four decimals and nine digits before them; false, and nothing is written, for any other.
  ///
  /// A whole number below 2^53 divided by a power of ten is rounded correctly, so that the first quotient that is the
  /// number itself is its shortest decimal.
  private mutating func append(short value: Double) -> Bool {
    let magnitude = value.magnitude
    guard magnitude < 1e9 else { return false }
    var scale = 1.0
    for decimals in 0...4 {
      let scaled = (magnitude * scale).rounded()
      if scaled / scale == magnitude {
        if value.sign == .minus { append(UInt8(ascii: "-")) }
        appendFixed(UInt64(scaled), decimals: decimals)
        return true
      }
      scale *= 10
    }
    return false
  }

  /// `digits` with a point before the last `decimals` of them; at least one digit stands on either side.
  private mutating func appendFixed(_ digits: UInt64, decimals: Int) {
    var divisor: UInt64 = 1
    for _ in 0..<decimals { divisor *= 10 }
    append(digits / divisor)
    append(UInt8(ascii: "."))
    append(digits % divisor, width: max(1, decimals))
  }

  // MARK: Numbers

  package mutating func append(_ value: Int64) {
    if value < 0 { append(UInt8(ascii: "-")) }
    append(value.magnitude)
  }

  package mutating func append(_ value: UInt64) {
    var width = 1
    var rest = value / 10
    while rest > 0 {
      width += 1
      rest /= 10
    }
    append(value, width: width)
  }

  /// The last `width` digits, with zeros before them.
  private mutating func append(_ value: UInt64, width: Int) {
    reserve(width)
    var rest = value
    var place = count + width
    while place > count {
      place -= 1
      let next = rest / 10
      base[place] = UInt8(truncatingIfNeeded: 48 + rest - next * 10)
      rest = next
    }
    count += width
  }

  /// A length in seconds with three decimals.
  package mutating func append(seconds microseconds: Int64) {
    let milliseconds = (microseconds.magnitude + 500) / 1_000
    if microseconds < 0, milliseconds > 0 { append(UInt8(ascii: "-")) }
    appendFixed(milliseconds, decimals: 3)
  }

  /// ISO 8601 in UTC, as `Timestamp.description` has it.
  package mutating func append(_ time: Timestamp) {
    let (days, inDay) = time.splitDays
    let (year, month, day) = Timestamp.civil(fromDays: days)
    guard (0...9_999).contains(year) else { return append(Array(time.description.utf8)) }
    append(UInt64(year), width: 4)
    append(UInt8(ascii: "-"))
    append(UInt64(month), width: 2)
    append(UInt8(ascii: "-"))
    append(UInt64(day), width: 2)
    append(UInt8(ascii: "T"))
    let seconds = UInt64(inDay / 1_000_000)
    append(seconds / 3_600, width: 2)
    append(UInt8(ascii: ":"))
    append(seconds / 60 % 60, width: 2)
    append(UInt8(ascii: ":"))
    append(seconds % 60, width: 2)
    let micros = UInt64(inDay % 1_000_000)
    if micros != 0 {
      append(UInt8(ascii: "."))
      if micros % 1_000 == 0 {
        append(micros / 1_000, width: 3)
      } else {
        append(micros, width: 6)
      }
    }
    append(UInt8(ascii: "Z"))
  }
}
