import Core
import Foundation

/// Turns JSON records of one source into validated columns, straight from their bytes.
///
/// A record is a JSON object whose members are named like the source's columns. An absent member
/// is no observation, `null` an observed null. Members that are no columns are counted and
/// otherwise ignored, so that a producer may send more than is used. A repeated member counts with
/// its last value. A double may be the string "NaN", "Infinity" or "-Infinity". An array is a JSON
/// array of such values, none of them null. A time is ISO 8601
/// text with a zone, or local time where the source has a zone
/// (`ZoneOffsets.Reader.instant(ofLocal:)` states what happens at clock changes). A record that
/// breaks a rule goes to quarantine, the others go on.
///
/// Not for several threads at once. Target: 300,000 simple records a second and core.
package struct RecordParser {
  private struct Field {
    var name: [UInt8]
    /// Index of the source's column, nil for one that only tells the time or the id.
    var column: Int?
    var isEventTime: Bool
    var isEventID: Bool
  }

  private let source: SourceDefinition
  private(set) var origin: RecordOrigin
  private var idPrefix: [UInt8]
  let maximumRows: Int
  private let fields: [Field]
  private let checks: [RowCheck]
  /// Whether a record that gives no id can never be recognised, though its source says how.
  private let requiresID: Bool
  private var zone: ZoneOffsets.Reader?
  private var builders: [ColumnBuilder]
  private var eventTimestamps: [Int64] = []
  private var eventIDs: [String] = []
  /// Of the rows; kept only where something that comes later may refuse them.
  private var numbers: [Int64] = []
  private var quarantined: [QuarantinedRecord] = []
  private var faults: [String: Int] = [:]
  private var unknownFields = 0
  private var hasGivenIDs = false
  private var tally = CheckTally()
  /// The quarantined records that are read again, one a row.
  private var replays: [Int64] = []
  /// The id of the next record that gives none itself.
  private var knownID: String?

  // Of the record at hand.
  private var eventTime: Int64?
  private var eventID: String?
  private var fault: RowFault?
  /// An id that came beside the record, which wins over one inside.
  private var givenID: String?

  package init(
    source: SourceDefinition, origin: RecordOrigin, expecting rows: Int = 0,
    maximumRows: Int = Limits.pushRows
  ) {
    self.source = source
    self.origin = origin
    self.maximumRows = maximumRows
    idPrefix = Array(origin.idPrefix.utf8)
    var fields = source.columns.enumerated().map { index, column in
      Field(
        name: Array(column.name.utf8), column: index, isEventTime: column.name == source.eventTime,
        isEventID: column.name == source.eventID)
    }
    for name in [source.eventTime, source.eventID] {
      guard let name, !fields.contains(where: { $0.name.elementsEqual(name.utf8) }) else {
        continue
      }
      fields.append(
        Field(
          name: Array(name.utf8), column: nil, isEventTime: name == source.eventTime,
          isEventID: name == source.eventID))
    }
    self.fields = fields
    checks = RowCheck.of(source)
    requiresID =
      source.eventID != nil && (origin.isOnce || origin == .quarantine)
      && source.kafka?.push != .produce
    zone = source.zone.flatMap { ZoneOffsets.of($0)?.reader() }
    builders = source.columns.map { ColumnBuilder($0, reserving: rows) }
    eventTimestamps.reserveCapacity(rows)
    eventIDs.reserveCapacity(rows)
  }

  /// How many records have been read, good and bad.
  package var count: Int { eventTimestamps.count + quarantined.count }

  /// How many of them were bad.
  var refusedCount: Int { quarantined.count }

  // MARK: Input

  /// Reads a body: one object, an array of objects, or objects one after another (JSON lines).
  ///
  /// Records are numbered from `first`. An element of an array that is no object goes to quarantine
  /// and stops none of the others; a body that is not JSON is refused as a whole, and nothing of it
  /// counts.
  package mutating func append(
    body bytes: UnsafeBufferPointer<UInt8>, first: Int64 = 0
  ) throws(PlatformError) {
    var scanner = JSONScanner(bytes)
    var number = first
    do throws(JSONFault) {
      scanner.skipBlanks()
      let isArray = scanner.take(UInt8(ascii: "["))
      scanner.skipBlanks()
      if isArray, scanner.take(UInt8(ascii: "]")) { return try finish(&scanner) }
      while true {
        guard count < maximumRows else {
          throw JSONFault(
            "more than \(maximumRows) records in one request; send fewer at a time",
            at: scanner.position)
        }
        if isArray, scanner.current != UInt8(ascii: "{") {
          try stray(&scanner, number)
        } else {
          try record(&scanner, number)
        }
        number += 1
        scanner.skipBlanks()
        if isArray {
          if scanner.take(UInt8(ascii: ",")) {
            scanner.skipBlanks()
            continue
          }
          try scanner.expect(UInt8(ascii: "]"))
          return try finish(&scanner)
        }
        if scanner.isAtEnd { return }
      }
    } catch {
      throw PlatformError(
        .invalidArgument,
        "the body is not JSON records: \(error.message), at byte \(error.offset); send an "
          + "object, an array of objects, or one object a line"
      )
    }
  }

  /// The records that follow come from somewhere else.
  package mutating func read(from origin: RecordOrigin) {
    self.origin = origin
    idPrefix = Array(origin.idPrefix.utf8)
  }

  /// Reads one record; one that is not a JSON object goes to quarantine.
  ///
  /// - Parameter id: the event's id where it came beside the record.
  package mutating func append(
    record bytes: UnsafeBufferPointer<UInt8>, number: Int64, id: String? = nil
  ) {
    givenID = id
    defer { givenID = nil }
    var scanner = JSONScanner(bytes)
    let rows = eventTimestamps.count
    let bad = quarantined.count
    eventID = nil
    do throws(JSONFault) {
      scanner.skipBlanks()
      try record(&scanner, number)
      try finish(&scanner)
    } catch {
      // What follows a whole record on its line spoils the record.
      if eventTimestamps.count > rows {
        for builder in builders { builder.drop() }
        eventTimestamps.removeLast()
        eventIDs.removeLast()
        if source.needsPlaces { numbers.removeLast() }
        if origin == .quarantine { replays.removeLast() }
      }
      if quarantined.count == bad {
        quarantine(.malformed("\(error.message) (byte \(error.offset))"), bytes, number)
      }
    }
  }

  /// Everything that was read, and an empty parser.
  package mutating func finishRows() -> ValidatedRows {
    var rows = ValidatedRows(
      source: source, columns: builders.map { $0.finish() }, eventTimestamps: eventTimestamps,
      eventIDs: eventIDs,
      places: source.needsPlaces ? RowPlaces(origin: origin, numbers: numbers) : nil,
      idsCanRepeat: hasGivenIDs || origin.idsCanRepeat,
      quarantined: quarantined,
      faults: faults, unknownFields: unknownFields)
    rows.replays = replays
    tally.give(to: &rows)
    tally = CheckTally()
    replays = []
    builders = source.columns.map { ColumnBuilder($0, reserving: eventTimestamps.count) }
    eventTimestamps = []
    eventIDs = []
    numbers = []
    quarantined = []
    faults = [:]
    unknownFields = 0
    hasGivenIDs = false
    return rows
  }

  private func finish(_ scanner: inout JSONScanner) throws(JSONFault) {
    scanner.skipBlanks()
    guard scanner.isAtEnd else {
      throw JSONFault("unexpected text after the end", at: scanner.position)
    }
  }

  // MARK: One record

  private static let notAnObject = "a record is a JSON object"

  /// An element of an array that is JSON, but no record.
  private mutating func stray(_ scanner: inout JSONScanner, _ number: Int64) throws(JSONFault) {
    let start = scanner.position
    eventID = nil
    try scanner.skipValue(depth: 1)
    quarantine(
      .malformed(Self.notAnObject), scanner.slice(start..<scanner.position), number)
  }

  private mutating func record(_ scanner: inout JSONScanner, _ number: Int64) throws(JSONFault) {
    let start = scanner.position
    guard scanner.current == UInt8(ascii: "{") else {
      throw JSONFault(Self.notAnObject, at: start)
    }
    eventTime = nil
    eventID = nil
    fault = nil
    for builder in builders { builder.begin() }
    do throws(JSONFault) {
      try members(&scanner)
    } catch {
      for builder in builders { builder.drop() }
      throw error
    }
    if let givenID {
      eventID = givenID
      if fault == nil, let why = headerFault(givenID) { fault = .eventIDHeader(why) }
    }
    if fault == nil { fault = firstViolation(number) }
    if fault == nil, requiresID, eventID == nil { fault = missingID() }
    if let fault {
      for builder in builders { builder.drop() }
      quarantine(fault, scanner.slice(start..<scanner.position), number)
      return
    }
    if let eventID {
      hasGivenIDs = true
      eventIDs.append(eventID)
    } else {
      eventIDs.append(knownID ?? numbered(idPrefix, number))
    }
    eventTimestamps.append(eventTime ?? 0)
    if source.needsPlaces { numbers.append(number) }
    if origin == .quarantine { replays.append(number) }
  }

  /// Reads a record of the quarantine again.
  ///
  /// - Parameters:
  ///   - id: its number there.
  ///   - eventID: the id that its event has, unless the record gives one; empty where none was kept.
  mutating func append(replay bytes: [UInt8], id: Int64, eventID: String) {
    knownID = eventID.isEmpty ? nil : eventID
    defer { knownID = nil }
    bytes.withUnsafeBufferPointer { append(record: $0, number: id) }
  }

  private mutating func members(_ scanner: inout JSONScanner) throws(JSONFault) {
    try scanner.expect(UInt8(ascii: "{"))
    scanner.skipBlanks()
    if scanner.take(UInt8(ascii: "}")) { return }
    var expected = 0
    repeat {
      scanner.skipBlanks()
      let name = try scanner.string()
      scanner.skipBlanks()
      try scanner.expect(UInt8(ascii: ":"))
      scanner.skipBlanks()
      if let index = try field(name, scanner, expected) {
        expected = index + 1
        try value(&scanner, fields[index])
      } else {
        unknownFields += 1
        try scanner.skipValue(depth: 1)
      }
      scanner.skipBlanks()
    } while scanner.take(UInt8(ascii: ","))
    try scanner.expect(UInt8(ascii: "}"))
  }

  /// The field of that name; records of one producer have their members in one order, so
  /// `expected` is looked at first.
  @inline(__always)
  private func field(
    _ name: (range: Range<Int>, isPlain: Bool), _ scanner: JSONScanner, _ expected: Int
  ) throws(JSONFault) -> Int? {
    if name.isPlain {
      let bytes = scanner.slice(name.range)
      if expected < fields.count, isEqual(fields[expected].name, bytes) { return expected }
      return fields.firstIndex { isEqual($0.name, bytes) }
    }
    let text = try scanner.text(name)
    return fields.firstIndex { $0.name.elementsEqual(text.utf8) }
  }

  @inline(__always)
  private func isEqual(_ name: [UInt8], _ bytes: UnsafeBufferPointer<UInt8>) -> Bool {
    guard name.count == bytes.count, let base = bytes.baseAddress else {
      return name.isEmpty && bytes.isEmpty
    }
    return name.withUnsafeBytes { name in
      name.baseAddress.map { memcmp($0, base, bytes.count) == 0 } ?? true
    }
  }

  private mutating func value(_ scanner: inout JSONScanner, _ field: Field) throws(JSONFault) {
    if field.isEventTime || field.isEventID { return try markedValue(&scanner, field) }
    guard let column = field.column else { return }
    try cell(&scanner, builders[column])
  }

  /// A value that tells the event's time or id, and may be a column besides.
  private mutating func markedValue(_ scanner: inout JSONScanner, _ field: Field) throws(JSONFault)
  {
    let start = scanner
    if field.isEventTime {
      eventTime = try timestamp(&scanner, source.eventTime)
      if let column = field.column {
        scanner = start
        try cell(&scanner, builders[column])
      }
    }
    if field.isEventID {
      scanner = start
      eventID = try identifier(&scanner)
      if let column = field.column, !field.isEventTime {
        scanner = start
        try cell(&scanner, builders[column])
      }
    }
  }

  private mutating func cell(
    _ scanner: inout JSONScanner, _ builder: ColumnBuilder
  ) throws(JSONFault) {
    let kind = try scanner.kind()
    switch (builder.definition.type, kind) {
    case (_, .null):
      try scanner.null()
      builder.setNull()
    case (.string, .string): builder.set(try scanner.text(try scanner.string()))
    case (.double, .number):
      let start = scanner.position
      let number = try scanner.number().double
      // A numeral beyond every double; infinity itself is written as a text.
      if number.isFinite { builder.set(number) } else { note(scanner, start, builder.definition) }
    case (.int64, .number):
      let start = scanner.position
      let number = try scanner.number()
      if let whole = number.integral {
        builder.set(whole)
      } else {
        note(scanner, start, builder.definition)
      }
    case (.bool, .bool): builder.set(try scanner.bool())
    case (.timestamp, _):
      if let time = try timestamp(&scanner, builder.definition.name) { builder.set(time) }
    case (.array, .array):
      if let fault = try ArrayReader(builder.definition).read(&scanner, into: builder, zone: &zone)
      {
        note(fault)
      }
    case (.double, .string):
      let start = scanner.position
      let text = try scanner.text(try scanner.string())
      switch text {
      case "NaN": builder.set(Double.nan)
      case "Infinity": builder.set(Double.infinity)
      case "-Infinity": builder.set(-Double.infinity)
      default: note(scanner, start, builder.definition)
      }
    default:
      let start = scanner.position
      try scanner.skipValue(depth: 1)
      note(scanner, start, builder.definition)
    }
  }

  /// Remembers that the value since `start` is not of the column's type.
  private mutating func note(_ scanner: JSONScanner, _ start: Int, _ column: ColumnDefinition) {
    note(
      .wrongType(
        column: column.name, value: shown(scanner, start), expected: column.type.expectation))
  }

  private mutating func note(_ newFault: RowFault) {
    if fault == nil { fault = newFault }
  }

  private func shown(_ scanner: JSONScanner, _ start: Int) -> String {
    String(decoding: scanner.slice(start..<min(scanner.position, start + 400)), as: UTF8.self)
  }

  /// Nil for a null and after a fault.
  private mutating func timestamp(
    _ scanner: inout JSONScanner, _ column: String
  ) throws(JSONFault) -> Int64? {
    let kind = try scanner.kind()
    if kind == .null {
      try scanner.null()
      return nil
    }
    let start = scanner.position
    guard kind == .string else {
      try scanner.skipValue(depth: 1)
      note(
        .wrongType(
          column: column, value: shown(scanner, start), expected: ColumnType.timestamp.expectation))
      return nil
    }
    let string = try scanner.string()
    switch instant(scanner.slice(string.range), zone: &zone) {
    case .success(let time): return time
    case .failure(.withoutZone): note(.withoutZone(column: column, value: shown(scanner, start)))
    case .failure(.malformed):
      if !string.isPlain { _ = try scanner.text(string) }
      note(
        .wrongType(
          column: column, value: shown(scanner, start), expected: ColumnType.timestamp.expectation))
    }
    return nil
  }

  /// A string as it is, a whole number as its digits; nil for null.
  private mutating func identifier(_ scanner: inout JSONScanner) throws(JSONFault) -> String? {
    let column = source.eventID ?? ""
    let text: String
    switch try scanner.kind() {
    case .null:
      try scanner.null()
      return nil
    case .string: text = try scanner.text(try scanner.string())
    case .number:
      guard let whole = try scanner.number().integral else {
        note(.eventID(column: column, why: "is not a string or a whole number"))
        return nil
      }
      text = String(whole)
    default:
      try scanner.skipValue(depth: 1)
      note(.eventID(column: column, why: "is not a string or a whole number"))
      return nil
    }
    if let why = eventIDFault(text) {
      note(.eventID(column: column, why: why))
      return nil
    }
    return text
  }

  /// What is wrong with an id beside the record: a produced push has the id that it would have had without Kafka.
  private func headerFault(_ text: String) -> String? {
    guard case .kafka = origin, text.utf8.starts(with: "push:".utf8) else {
      return eventIDFault(text)
    }
    return text.utf8.count > Limits.eventIDCharacters ? eventIDFault(text) : nil
  }

  // MARK: Rules

  private mutating func firstViolation(_ number: Int64) -> RowFault? {
    if eventTime == nil { return .noEventTime(column: source.eventTime) }
    var verdict: CheckVerdict?
    for check in checks {
      guard let fault = builders[check.index].fault(check) else { continue }
      if verdict == nil { verdict = CheckVerdict() }
      verdict?.note(fault, check.check.onFail)
    }
    guard let verdict else { return nil }
    tally.add(verdict, position: origin.position(of: number), isKept: verdict.fault == nil)
    return verdict.fault
  }

  /// Of a record that names no id; nil where the one that it has for that is the same whenever it comes again.
  private func missingID() -> RowFault? {
    if origin == .quarantine, knownID?.utf8.starts(with: "once:".utf8) != true { return nil }
    return .eventID(
      column: source.eventID ?? "",
      why:
        "is absent or null, so that the event would count again when it is sent again; give an id, or push with "
        + "client and sequence")
  }

  /// Puts a record aside that was not even read.
  mutating func refuse(_ bytes: UnsafeBufferPointer<UInt8>, number: Int64, because why: String) {
    eventID = nil
    quarantine(.malformed(why), bytes, number)
  }

  /// The record that was put aside last came like this.
  mutating func restoreLastRefused(_ bytes: UnsafeBufferPointer<UInt8>) {
    guard !quarantined.isEmpty else { return }
    let text = String(validating: bytes, as: UTF8.self)
    quarantined[quarantined.count - 1].record = text ?? String(decoding: bytes, as: UTF8.self)
    quarantined[quarantined.count - 1].raw = text == nil ? Array(bytes) : nil
  }

  private mutating func quarantine(
    _ fault: RowFault, _ bytes: UnsafeBufferPointer<UInt8>, _ number: Int64
  ) {
    faults[fault.kind, default: 0] += 1
    let text = String(validating: bytes, as: UTF8.self)
    let isReplay = origin == .quarantine
    let givenID =
      givenID.flatMap { headerFault($0) == nil ? $0 : nil }
      ?? eventID.flatMap { eventIDFault($0) == nil ? $0 : nil }
    quarantined.append(
      QuarantinedRecord(
        source: source.name, record: text ?? String(decoding: bytes, as: UTF8.self),
        raw: text == nil ? Array(bytes) : nil, reason: fault.reason, kind: fault.quarantineKind,
        position: origin.position(of: number),
        eventID: givenID ?? knownID ?? numbered(idPrefix, number),
        replayOf: isReplay ? number : nil))
  }
}

/// What is wrong with a given event id, nil where nothing is.
func eventIDFault(_ text: String) -> String? {
  if text.isEmpty { return "is empty" }
  if text.utf8.count > Limits.eventIDCharacters {
    return "is longer than \(Limits.eventIDCharacters) characters"
  }
  if let prefix = RecordOrigin.reservedPrefixes.first(where: { text.utf8.starts(with: $0.utf8) }) {
    return "begins with '\(prefix)', which only the platform's own ids do"
  }
  return nil
}

/// The instant of a time's text, local times by the zone where there is one.
func instant(
  _ bytes: UnsafeBufferPointer<UInt8>, zone: inout ZoneOffsets.Reader?
) -> Result<Int64, Timestamp.TextFault> {
  switch Timestamp.parse(utf8: bytes) {
  case .success(let time): return .success(time.microseconds)
  case .failure(.withoutZone):
    guard zone != nil, case .success(let local) = Timestamp.parse(utf8: bytes, allowLocal: true),
      let time = zone?.instant(ofLocal: local.microseconds)
    else { return .failure(.withoutZone) }
    return .success(time)
  case .failure(let fault): return .failure(fault)
  }
}
