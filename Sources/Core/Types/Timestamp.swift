/// An instant in UTC, counted in microseconds since 1970-01-01T00:00:00Z.
package struct Timestamp: Hashable, Comparable, Sendable, Codable {
  package var microseconds: Int64

  @inlinable package init(microseconds: Int64) { self.microseconds = microseconds }

  /// The microseconds that an instant of the platform may have: the years 1 to 9999 in UTC, which its text can write. What comes from
  /// outside (text, files, workers, calls) is held to it, so that arithmetic on what is inside does not overflow.
  package static let bounds: ClosedRange<Int64> = -62_135_596_800_000_000...253_402_300_799_999_999
  package static let boundsText = "a time of the years 1 to 9999"

  @inlinable package static func < (a: Timestamp, b: Timestamp) -> Bool {
    a.microseconds < b.microseconds
  }

  @inlinable package static func + (a: Timestamp, b: Span) -> Timestamp {
    Timestamp(microseconds: a.microseconds &+ b.microseconds)
  }

  @inlinable package static func - (a: Timestamp, b: Span) -> Timestamp {
    Timestamp(microseconds: a.microseconds &- b.microseconds)
  }

  @inlinable package static func - (a: Timestamp, b: Timestamp) -> Span {
    Span(microseconds: a.microseconds &- b.microseconds)
  }

  /// The greatest multiple of `resolution` since the epoch that is not after this instant.
  @inlinable package func floored(to resolution: Span) -> Timestamp {
    Timestamp(microseconds: floorMultiple(microseconds, resolution.microseconds))
  }

  package init(from decoder: any Decoder) throws {
    let text = try decoder.singleValueContainer().decode(String.self)
    self = try Timestamp(iso8601: text)
  }

  package func encode(to encoder: any Encoder) throws {
    var container = encoder.singleValueContainer()
    try container.encode(description)
  }
}

/// The greatest multiple of `step` that is not above `x`, also for negative `x`; wraps at the least numbers, which are no instants.
@inlinable package func floorMultiple(_ x: Int64, _ step: Int64) -> Int64 {
  let remainder = x % step
  return remainder < 0 ? x &- remainder &- step : x &- remainder
}

/// A length of time in microseconds.
package struct Span: Hashable, Comparable, Sendable, Codable {
  package var microseconds: Int64

  @inlinable package init(microseconds: Int64) { self.microseconds = microseconds }

  @inlinable package static func < (a: Span, b: Span) -> Bool { a.microseconds < b.microseconds }

  package static func seconds(_ n: Int64) -> Span { Span(microseconds: n * 1_000_000) }
  package static func milliseconds(_ n: Int64) -> Span { Span(microseconds: n * 1_000) }
  package static func minutes(_ n: Int64) -> Span { seconds(n * 60) }
  package static func hours(_ n: Int64) -> Span { seconds(n * 3_600) }
  package static func days(_ n: Int64) -> Span { seconds(n * 86_400) }

  package var inSeconds: Double { Double(microseconds) / 1e6 }

  /// The same length for the standard library's clocks.
  package var duration: Duration { .microseconds(microseconds) }

  package init(from decoder: any Decoder) throws {
    let text = try decoder.singleValueContainer().decode(String.self)
    guard let span = Span(text) else {
      throw PlatformError(
        .invalidArgument, "'\(text)' is not a length of time; write for example 500ms, 30s, 24h, 7d"
      )
    }
    self = span
  }

  package func encode(to encoder: any Encoder) throws {
    var container = encoder.singleValueContainer()
    try container.encode(description)
  }
}

extension Span: CustomStringConvertible {
  private static let units: [(String, Int64)] = [
    ("w", 604_800_000_000), ("d", 86_400_000_000), ("h", 3_600_000_000), ("m", 60_000_000),
    ("s", 1_000_000), ("ms", 1_000), ("us", 1),
  ]

  /// Reads a whole number followed by one of `us`, `ms`, `s`, `m`, `h`, `d`, `w`; nil for anything else
  /// and for lengths that are not positive or do not fit.
  package init?(_ text: String) {
    let digits = text.prefix { $0.isASCII && $0.isNumber }
    guard let count = Int64(digits), count > 0,
      let unit = Span.units.first(where: { $0.0 == text.dropFirst(digits.count) })
    else { return nil }
    let (product, overflow) = count.multipliedReportingOverflow(by: unit.1)
    guard !overflow, product < Int64.max / 4 else { return nil }
    self.init(microseconds: product)
  }

  /// The shortest whole-number notation; a week is written in days.
  package var description: String {
    for (name, unit) in Span.units.dropFirst() where microseconds % unit == 0 && microseconds != 0 {
      return "\(microseconds / unit)\(name)"
    }
    return "0s"
  }
}
