import Foundation

/// A decimal numeral as it was written, read without allocation where it is short.
///
/// `double` is correctly rounded: up to 15 digits with a small exponent by one exact operation
/// (Clinger 1990), else by the C library.
public struct DecimalNumber {
  /// The whole number, where it is written as one and fits.
  public var int64: Int64?
  public var double: Double

  /// Reads a numeral of JSON's grammar; `position` moves behind it. Nil where there is none.
  @inlinable @inline(__always)
  public init?(json bytes: UnsafePointer<UInt8>, _ position: inout Int, _ end: Int) {
    let start = position
    let digits = start < end && bytes[start] == UInt8(ascii: "-") ? start + 1 : start
    guard digits < end, bytes[digits] &- 48 < 10 else { return nil }
    // A leading zero stands alone.
    if bytes[digits] == 48, digits + 1 < end, bytes[digits + 1] &- 48 < 10 { return nil }
    self.init(bytes, start: start, digits: digits, &position, end, strict: true)
  }

  /// Reads a whole text as a numeral, with an optional sign and blanks around it; also `NaN`,
  /// `inf` and `Infinity`.
  public init?(text bytes: UnsafeBufferPointer<UInt8>) {
    guard let base = bytes.baseAddress else { return nil }
    var start = 0
    var end = bytes.count
    while start < end, base[start] == 32 || base[start] == 9 { start += 1 }
    while end > start, base[end - 1] == 32 || base[end - 1] == 9 { end -= 1 }
    guard start < end else { return nil }
    let isSigned = base[start] == UInt8(ascii: "-") || base[start] == UInt8(ascii: "+")
    let digits = isSigned ? start + 1 : start
    guard digits < end else { return nil }
    if base[digits] &- 48 < 10 || base[digits] == UInt8(ascii: ".") {
      var position = start
      self.init(base, start: start, digits: digits, &position, end, strict: false)
      guard position == end else { return nil }
    } else {
      let word = String(
        decoding: UnsafeBufferPointer(start: base + digits, count: end - digits), as: UTF8.self)
      guard let special = DecimalNumber.special(word) else { return nil }
      self.init(int64: nil, double: base[start] == UInt8(ascii: "-") ? -special : special)
    }
  }

  @usableFromInline
  init(int64: Int64?, double: Double) {
    self.int64 = int64
    self.double = double
  }

  /// `NaN`, `inf` or `Infinity` in any case.
  static func special(_ word: String) -> Double? {
    switch word.lowercased() {
    case "nan": .nan
    case "inf", "infinity": .infinity
    default: nil
    }
  }

  @inlinable @inline(__always)
  init?(
    _ bytes: UnsafePointer<UInt8>, start: Int, digits: Int, _ position: inout Int, _ end: Int,
    strict: Bool
  ) {
    var at = digits
    var mantissa: UInt64 = 0
    var significant = 0
    while at < end, bytes[at] &- 48 < 10 {
      if significant < 19 { mantissa = mantissa &* 10 &+ UInt64(bytes[at] &- 48) }
      if mantissa != 0 { significant += 1 }
      at += 1
    }
    let wholeDigits = at - digits
    var exponent = 0
    var isWhole = true
    if at < end, bytes[at] == UInt8(ascii: ".") {
      isWhole = false
      at += 1
      let fraction = at
      while at < end, bytes[at] &- 48 < 10 {
        if significant < 19 {
          mantissa = mantissa &* 10 &+ UInt64(bytes[at] &- 48)
          exponent -= 1
        }
        if mantissa != 0 { significant += 1 }
        at += 1
      }
      if at == fraction, strict || wholeDigits == 0 { return nil }
    }
    if at < end, bytes[at] | 0x20 == UInt8(ascii: "e") {
      isWhole = false
      at += 1
      let isNegative = at < end && bytes[at] == UInt8(ascii: "-")
      if at < end, isNegative || bytes[at] == UInt8(ascii: "+") { at += 1 }
      let power = at
      var value = 0
      while at < end, bytes[at] &- 48 < 10 {
        value = min(value * 10 + Int(bytes[at] &- 48), 100_000)
        at += 1
      }
      if at == power { return nil }
      exponent += isNegative ? -value : value
    }
    position = at
    let isNegative = bytes[start] == UInt8(ascii: "-")
    int64 = isWhole && significant <= 19 ? DecimalNumber.whole(mantissa, isNegative) : nil
    if significant <= 19, mantissa < 1 << 53, exponent >= -22, exponent <= 22 {
      let power = DecimalNumber.powers[abs(exponent)]
      let value = exponent < 0 ? Double(mantissa) / power : Double(mantissa) * power
      double = isNegative ? -value : value
    } else {
      double = DecimalNumber.slow(UnsafeBufferPointer(start: bytes + start, count: at - start))
    }
  }

  /// The value as a whole number: written as one, or a double without a fraction that fits.
  @inlinable public var integral: Int64? { int64 ?? Int64(exactly: double) }

  @inlinable static func whole(_ mantissa: UInt64, _ isNegative: Bool) -> Int64? {
    if isNegative { return mantissa <= 1 << 63 ? 0 &- Int64(truncatingIfNeeded: mantissa) : nil }
    return Int64(exactly: mantissa)
  }

  @usableFromInline static let powers: [Double] = [
    1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17,
    1e18, 1e19, 1e20, 1e21, 1e22,
  ]

  @inline(never) @usableFromInline
  static func slow(_ bytes: UnsafeBufferPointer<UInt8>) -> Double {
    strtod(String(decoding: bytes, as: UTF8.self), nil)
  }
}
