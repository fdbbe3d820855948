/// Text and calendar forms of `Timestamp`; the proleptic Gregorian calendar by Howard Hinnant's
/// `days_from_civil` ("chrono-Compatible Low-Level Date Algorithms").
extension Timestamp: CustomStringConvertible {
  /// Why a text is not an instant.
  package enum TextFault: Error, Equatable {
    case malformed
    case withoutZone
  }

  /// Reads an ISO 8601 date and time with a zone (`Z` or an offset), `T` or a blank between them.
  package init(iso8601 text: String) throws(PlatformError) {
    switch Timestamp.parse(text) {
    case .success(let timestamp): self = timestamp
    case .failure(.withoutZone):
      throw PlatformError(
        .invalidArgument,
        "the time '\(text)' has no zone; write it with Z or an offset, as in 2026-01-31T12:00:00Z")
    case .failure(.malformed):
      throw PlatformError(
        .invalidArgument,
        "'\(text)' is not a time; write it as in 2026-01-31T12:00:00Z or 2026-01-31T12:00:00.123456+01:00"
      )
    }
  }

  /// Reads a time, or a date as its midnight; one without a zone is `withoutZone` unless `allowLocal`, where it is read as if
  /// in UTC.
  package static func parse(
    _ text: String, allowLocal: Bool = false
  ) -> Result<Timestamp, TextFault> {
    var text = text
    return text.withUTF8 { parse(utf8: $0, allowLocal: allowLocal) }
  }

  package static func parse(
    utf8 bytes: UnsafeBufferPointer<UInt8>, allowLocal: Bool = false
  ) -> Result<Timestamp, TextFault> {
    var reader = DigitReader(bytes: bytes)
    guard let year = reader.number(4), reader.skip(UInt8(ascii: "-")),
      let month = reader.number(2), reader.skip(UInt8(ascii: "-")), let day = reader.number(2),
      (1...12).contains(month), day >= 1, day <= daysInMonth(year, month)
    else { return .failure(.malformed) }
    // A date is its first instant.
    if reader.atEnd {
      let seconds = daysSinceEpoch(year, month, day) * 86_400
      guard year > 0 else { return .failure(.malformed) }
      return allowLocal
        ? .success(Timestamp(microseconds: seconds * 1_000_000)) : .failure(.withoutZone)
    }
    guard
      reader.skip(UInt8(ascii: "T")) || reader.skip(UInt8(ascii: " ")),
      let hour = reader.number(2), reader.skip(UInt8(ascii: ":")), let minute = reader.number(2),
      hour < 24, minute < 60
    else { return .failure(.malformed) }
    var second: Int64 = 0
    var fraction: Int64 = 0
    if reader.skip(UInt8(ascii: ":")) {
      guard let value = reader.number(2), value < 60 else { return .failure(.malformed) }
      second = value
      if reader.skip(UInt8(ascii: ".")) {
        guard let value = reader.fraction() else { return .failure(.malformed) }
        fraction = value
      }
    }
    var offset: Int64 = 0
    if reader.atEnd {
      guard allowLocal else { return .failure(.withoutZone) }
    } else if !reader.skip(UInt8(ascii: "Z")) {
      guard let value = reader.zoneOffset() else { return .failure(.malformed) }
      offset = value
    }
    guard reader.atEnd else { return .failure(.malformed) }
    let seconds =
      daysSinceEpoch(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second - offset
    let microseconds = seconds * 1_000_000 + fraction
    guard bounds.contains(microseconds) else { return .failure(.malformed) }
    return .success(Timestamp(microseconds: microseconds))
  }

  /// ISO 8601 in UTC, with as many decimals (0, 3 or 6) as the value needs.
  package var description: String {
    // What an engine's own infinities come as.
    if microseconds == .max { return "infinity" }
    if microseconds == -.max { return "-infinity" }
    let (days, inDay) = splitDays
    let (year, month, day) = Timestamp.civil(fromDays: days)
    let seconds = inDay / 1_000_000
    let micros = inDay % 1_000_000
    var text = ""
    text.reserveCapacity(27)
    pad(year, 4, into: &text)
    text += "-"
    pad(month, 2, into: &text)
    text += "-"
    pad(day, 2, into: &text)
    text += "T"
    pad(seconds / 3_600, 2, into: &text)
    text += ":"
    pad(seconds / 60 % 60, 2, into: &text)
    text += ":"
    pad(seconds % 60, 2, into: &text)
    if micros != 0 {
      text += "."
      if micros % 1_000 == 0 {
        pad(micros / 1_000, 3, into: &text)
      } else {
        pad(micros, 6, into: &text)
      }
    }
    return text + "Z"
  }

  /// Whole days since the epoch and the microseconds of the day that has begun.
  package var splitDays: (days: Int64, microseconds: Int64) {
    let day: Int64 = 86_400_000_000
    let (days, rest) = microseconds.quotientAndRemainder(dividingBy: day)
    return rest < 0 ? (days - 1, rest + day) : (days, rest)
  }

  package static func daysSinceEpoch(_ year: Int64, _ month: Int64, _ day: Int64) -> Int64 {
    let y = month <= 2 ? year - 1 : year
    let era = floorMultiple(y, 400) / 400
    let yearOfEra = y - era * 400
    let dayOfYear = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1
    return era * 146_097 + yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear - 719_468
  }

  package static func civil(fromDays days: Int64) -> (year: Int64, month: Int64, day: Int64) {
    let z = days + 719_468
    let era = floorMultiple(z, 146_097) / 146_097
    let dayOfEra = z - era * 146_097
    let yearOfEra =
      (dayOfEra - dayOfEra / 1_460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
    let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
    let shifted = (5 * dayOfYear + 2) / 153
    let month = shifted < 10 ? shifted + 3 : shifted - 9
    return (
      yearOfEra + era * 400 + (month <= 2 ? 1 : 0), month, dayOfYear - (153 * shifted + 2) / 5 + 1
    )
  }

  private static func daysInMonth(_ year: Int64, _ month: Int64) -> Int64 {
    switch month {
    case 4, 6, 9, 11: 30
    case 2: (year % 4 == 0 && year % 100 != 0) || year % 400 == 0 ? 29 : 28
    default: 31
    }
  }
}

private func pad(_ value: Int64, _ width: Int, into text: inout String) {
  let digits = String(value)
  for _ in 0..<max(0, width - digits.count) { text += "0" }
  text += digits
}

private struct DigitReader {
  let bytes: UnsafeBufferPointer<UInt8>
  var position = 0

  init(bytes: UnsafeBufferPointer<UInt8>) { self.bytes = bytes }

  var atEnd: Bool { position == bytes.count }

  mutating func skip(_ byte: UInt8) -> Bool {
    guard position < bytes.count, bytes[position] == byte else { return false }
    position += 1
    return true
  }

  mutating func number(_ width: Int) -> Int64? {
    guard position + width <= bytes.count else { return nil }
    var value: Int64 = 0
    for index in position..<position + width {
      let digit = bytes[index] &- 48
      guard digit < 10 else { return nil }
      value = value * 10 + Int64(digit)
    }
    position += width
    return value
  }

  /// Decimals of a second in microseconds; digits past the sixth are cut off.
  mutating func fraction() -> Int64? {
    var value: Int64 = 0
    var scale: Int64 = 100_000
    let start = position
    while position < bytes.count, bytes[position] &- 48 < 10 {
      value += Int64(bytes[position] - 48) * scale
      scale /= 10
      position += 1
    }
    return position > start ? value : nil
  }

  /// `+01`, `+0100` or `+01:00` in seconds east of Greenwich.
  mutating func zoneOffset() -> Int64? {
    let sign: Int64
    if skip(UInt8(ascii: "+")) {
      sign = 1
    } else if skip(UInt8(ascii: "-")) {
      sign = -1
    } else {
      return nil
    }
    guard let hours = number(2), hours < 24 else { return nil }
    var minutes: Int64 = 0
    if !atEnd {
      _ = skip(UInt8(ascii: ":"))
      guard let value = number(2), value < 60 else { return nil }
      minutes = value
    }
    return sign * (hours * 3_600 + minutes * 60)
  }
}
