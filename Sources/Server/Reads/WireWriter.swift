#if canImport(Glibc)
import Glibc
#else
import Darwin
#endif

/// Protobuf written from its end to its beginning: the length of a message is known once it stands there.
struct WireWriter: ~Copyable {
  private var base: UnsafeMutablePointer<UInt8>
  private var capacity: Int
  /// Where the first byte stands.
  private var start: Int

  init(capacity: Int) {
    self.capacity = max(64, capacity)
    base = UnsafeMutablePointer<UInt8>.allocate(capacity: self.capacity)
    start = self.capacity
  }

  deinit { base.deallocate() }

  /// Bytes written so far.
  var count: Int { capacity - start }

  var bytes: [UInt8] { Array(UnsafeBufferPointer(start: base + start, count: count)) }

  private mutating func reserve(_ bytes: Int) {
    if start >= bytes { return }
    let larger = max(capacity * 2, capacity + bytes)
    let next = UnsafeMutablePointer<UInt8>.allocate(capacity: larger)
    memcpy(next + larger - count, base + start, count)
    base.deallocate()
    start = larger - count
    base = next
    capacity = larger
  }

  mutating func prepend(_ byte: UInt8) {
    reserve(1)
    start -= 1
    base[start] = byte
  }

  mutating func prepend(_ bytes: UnsafeRawBufferPointer) {
    guard let source = bytes.baseAddress else { return }
    reserve(bytes.count)
    start -= bytes.count
    memcpy(base + start, source, bytes.count)
  }

  mutating func prepend(_ bytes: [UInt8]) { bytes.withUnsafeBytes { prepend($0) } }

  /// Writes again the bytes that were written when `count` went from `range.lowerBound` to `range.upperBound`.
  mutating func repeatBytes(_ range: Range<Int>) {
    reserve(range.count)
    let source = capacity - range.upperBound
    start -= range.count
    memcpy(base + start, base + source, range.count)
  }

  mutating func varint(_ value: UInt64) {
    if value < 128 { return prepend(UInt8(value)) }
    var groups = 1
    while groups < 10, value >> UInt64(7 * groups) != 0 { groups += 1 }
    reserve(groups)
    start -= groups
    for group in 0..<groups {
      let bits = UInt8(truncatingIfNeeded: value >> UInt64(7 * group)) & 0x7F
      base[start + group] = group == groups - 1 ? bits : bits | 0x80
    }
  }

  // MARK: Fields, numbered below 16

  mutating func field(_ number: UInt8, varint value: UInt64) {
    varint(value)
    prepend(number << 3)
  }

  mutating func field(_ number: UInt8, double value: Double) {
    withUnsafeBytes(of: value.bitPattern.littleEndian) { prepend($0) }
    prepend(number << 3 | 1)
  }

  mutating func field(_ number: UInt8, text: String) {
    var text = text
    let before = count
    text.withUTF8 { prepend(UnsafeRawBufferPointer($0)) }
    close(number, before)
  }

  mutating func field(_ number: UInt8, bytes: [UInt8]) {
    prepend(bytes)
    varint(UInt64(bytes.count))
    prepend(number << 3 | 2)
  }

  /// Begins the message, or text, that was written since `count` was `before`.
  mutating func close(_ number: UInt8, _ before: Int) {
    varint(UInt64(count - before))
    prepend(number << 3 | 2)
  }
}
