import Core

/// Why a record goes to quarantine.
enum RowFault: Equatable {
  case malformed(String)
  case noEventTime(column: String)
  case missing(column: String)
  /// `expected` reads as "is not …".
  case wrongType(column: String, value: String, expected: String)
  case withoutZone(column: String, value: String)
  case outOfRange(column: String, value: String, limit: String, isBelow: Bool)
  case notAllowed(column: String, value: String, allowed: String)
  case noMatch(column: String, value: String, pattern: String)
  case notUnique(column: String, value: String, within: Span)
  case eventID(column: String, why: String)
  case array(column: String, value: String, type: ColumnType, ArrayTrouble)
  case eventIDHeader(String)

  /// What is wrong with the record, naming the column, its value (cut) and what is expected.
  var reason: String {
    switch self {
    case .malformed(let why): "not a record: \(why)"
    case .noEventTime(let column): "no event time: column '\(column)' is absent or null"
    case .missing(let column): "column '\(column)' is required, but absent or null"
    case .wrongType(let column, let value, let expected):
      "column '\(column)': \(cut(value)) is not \(expected)"
    case .withoutZone(let column, let value):
      "column '\(column)': the time \(cut(value)) has no zone; send it with Z or an offset, or "
        + "declare the source's `zone`"
    case .outOfRange(let column, let value, let limit, _):
      "column '\(column)': \(cut(value)) is \(limit)"
    case .notAllowed(let column, let value, let allowed):
      "column '\(column)': \(cut(value)) is none of \(allowed)"
    case .noMatch(let column, let value, let pattern):
      "column '\(column)': \(cut(value)) does not match \(pattern)"
    case .notUnique(let column, let value, let within):
      "column '\(column)': \(cut(value)) is in another event less than \(within) away"
    case .eventID(let column, let why): "event id column '\(column)' \(why)"
    case .array(let column, let value, let type, let trouble):
      "column '\(column)': \(cut(value)) \(trouble.text(type))"
    case .eventIDHeader(let why): "the header event_id \(why)"
    }
  }

  /// The reason without the value, so that faults of one kind are counted together.
  var kind: String {
    switch self {
    case .malformed(let why):
      "not a record: \(why.firstRange(of: " (byte ").map { why[..<$0.lowerBound] } ?? why[...])"
    case .noEventTime, .missing, .eventID, .eventIDHeader: reason
    case .wrongType(let column, _, let expected): "column '\(column)' is not \(expected)"
    case .withoutZone(let column, _): "column '\(column)': a time without a zone"
    case .outOfRange(let column, _, let limit, _): "column '\(column)' is \(limit)"
    case .array(let column, _, let type, let trouble): "column '\(column)' \(trouble.text(type))"
    case .notAllowed(let column, _, let allowed): "column '\(column)' is none of \(allowed)"
    case .noMatch(let column, _, let pattern): "column '\(column)' does not match \(pattern)"
    case .notUnique(let column, _, let within):
      "column '\(column)' is in another event less than \(within) away"
    }
  }

  var quarantineKind: QuarantineKind {
    switch self {
    case .malformed: .malformed
    case .noEventTime: .noEventTime
    case .missing: .required
    case .wrongType: .type
    case .withoutZone, .array(_, _, _, .timeWithoutZone): .zone
    case .array: .type
    case .outOfRange: .range
    case .notAllowed: .set
    case .noMatch: .regex
    case .notUnique: .unique
    case .eventID, .eventIDHeader: .eventID
    }
  }

  /// `column.rule` of the check that found it; nil for faults that no check is asked for.
  var checkName: String? {
    switch self {
    case .missing(let column): "\(column).required"
    case .outOfRange(let column, _, _, let isBelow): "\(column).\(isBelow ? "min" : "max")"
    case .notAllowed(let column, _, _): "\(column).in"
    case .noMatch(let column, _, _): "\(column).regex"
    case .notUnique(let column, _, _): "\(column).unique"
    case .malformed, .noEventTime, .wrongType, .withoutZone, .eventID, .array,
      .eventIDHeader:
      nil
    }
  }

  private func cut(_ value: String) -> String {
    value.utf8.count <= 80 ? value : "\(value.prefix(80))…"
  }
}

extension ColumnType {
  /// What a value of the type is called when one is expected.
  var expectation: String {
    switch self {
    case .bool: "a bool (true or false)"
    case .int64: "an int64 (a whole number of 64 bits)"
    case .double: "a double (a number)"
    case .string: "a string"
    case .timestamp: "a timestamp (ISO 8601 text such as 2026-01-31T12:00:00Z)"
    case .array(let element, let length):
      "\(rawValue) (an array of \(length.map { "\($0) " } ?? "")\(element.rawValue) elements)"
    }
  }
}

/// A number without the `.0` of a whole one.
func shortText(_ number: Double) -> String {
  if let whole = Int64(exactly: number), abs(number) < 1e15 { return String(whole) }
  return "\(number)"
}

/// `prefix` followed by a decimal number, as one string; what derived event ids are made of.
@inline(__always)
func numbered(_ prefix: [UInt8], _ number: Int64) -> String {
  String(unsafeUninitializedCapacity: prefix.count + 20) { buffer in
    var at = prefix.count
    prefix.withUnsafeBufferPointer { _ = buffer.initialize(from: $0) }
    var rest = number.magnitude
    var digits = 1
    var power: UInt64 = 10
    while digits < 20, rest >= power {
      digits += 1
      let (next, overflow) = power.multipliedReportingOverflow(by: 10)
      if overflow { break }
      power = next
    }
    if number < 0 {
      buffer[at] = UInt8(ascii: "-")
      at += 1
      digits = min(digits, 19)
    }
    var place = at + digits - 1
    while place >= at {
      buffer[place] = 48 + UInt8(rest % 10)
      rest /= 10
      place -= 1
    }
    return at + digits
  }
}
