import Core
import Foundation

/// Turns raw rows of a file into validated columns: columns in, columns out, a row's work only
/// where there is something to do.
///
/// CSV text becomes typed values (an empty field is null); typed Parquet columns pass as they are.
/// Whole doubles may stand in an int64 column and whole numbers in a double column; nothing else
/// is converted. The text of an array is a JSON array. Local times are converted by the source's zone. NaN is a double like any other,
/// but fails a `min` or `max` check. Rows that break a rule go to quarantine, first fault first.
///
/// Not for several threads at once. Guarantees: a row's outcome depends on the row alone.
package struct Validator {
  private let source: SourceDefinition
  private let origin: RecordOrigin
  private let idPrefix: [UInt8]
  private let checks: [RowCheck]
  private var zone: ZoneOffsets.Reader?
  /// The first fault of each bad row of the batch at hand.
  private var faults: [Int: RowFault] = [:]
  /// What checks found, by row.
  private var verdicts: [Int: CheckVerdict] = [:]

  package init(source: SourceDefinition, origin: RecordOrigin) {
    self.source = source
    self.origin = origin
    idPrefix = Array(origin.idPrefix.utf8)
    checks = RowCheck.of(source)
    zone = source.zone.flatMap { ZoneOffsets.of($0)?.reader() }
  }

  /// The columns that a file is asked for.
  package static func wantedColumns(of source: SourceDefinition) -> [String] {
    var names = source.columns.map(\.name)
    for name in [source.eventTime, source.eventID] {
      if let name, !names.contains(name) { names.append(name) }
    }
    return names
  }

  /// Validates one batch; throws `.invalidRecord` where a whole column is of a type that cannot be
  /// converted.
  package mutating func validate(_ raw: RawRows) throws(PlatformError) -> ValidatedRows {
    faults.removeAll(keepingCapacity: true)
    verdicts.removeAll(keepingCapacity: true)
    let time = try column(ColumnDefinition(name: source.eventTime, type: .timestamp), raw)
    let times = eventTimes(time)
    var columns: [Column] = []
    columns.reserveCapacity(source.columns.count)
    for definition in source.columns {
      let isTime = definition.name == source.eventTime && definition.type == .timestamp
      columns.append(isTime ? time : try column(definition, raw))
    }
    for check in checks { apply(check, columns[check.index], raw) }
    let ids = try eventIDs(raw)
    var rows = ValidatedRows(
      source: source, columns: columns, eventTimestamps: times, eventIDs: ids.texts,
      places: source.needsPlaces ? RowPlaces(origin: origin, numbers: raw.rowNumbers) : nil,
      idsCanRepeat: ids.areGiven || origin.idsCanRepeat)
    judge(raw, &rows)
    if !faults.isEmpty {
      let bad = faults
      rows = rows.keeping((0..<raw.count).filter { bad[$0] == nil })
      for (row, fault) in bad.sorted(by: { $0.key < $1.key }) {
        rows.faults[fault.kind, default: 0] += 1
        rows.quarantined.append(
          QuarantinedRecord(
            source: source.name, record: RecordText(source, raw, row).text, reason: fault.reason,
            kind: fault.quarantineKind, position: origin.position(of: raw.rowNumbers[row]),
            eventID: ids.texts[row]))
      }
    }
    for reject in raw.rejects { rows.reject(reject, origin: origin) }
    return rows
  }

  private mutating func note(_ row: Int, _ fault: RowFault) {
    if faults[row] == nil { faults[row] = fault }
  }

  // MARK: Event time and id

  private mutating func eventTimes(_ column: Column) -> [Int64] {
    guard case .timestamp(let times) = column.values else { return [] }
    if let presence = column.presence {
      for row in 0..<presence.count where presence[row] != 0 {
        note(row, .noEventTime(column: source.eventTime))
      }
    }
    return times
  }

  private mutating func eventIDs(
    _ raw: RawRows
  ) throws(PlatformError) -> (texts: [String], areGiven: Bool) {
    guard let name = source.eventID, let given = raw[name] else {
      return (raw.rowNumbers.map { numbered(idPrefix, $0) }, false)
    }
    var texts: [String]
    switch given.values {
    case .string(let all): texts = all
    case .int64(let all): texts = all.map { String($0) }
    default:
      throw PlatformError(
        .invalidRecord,
        "the event id column '\(name)' of the file is \(given.type.rawValue); it must hold text "
          + "or whole numbers"
      )
    }
    let isText = given.type == .string
    for row in texts.indices {
      if !given.isPresent(row) {
        texts[row] = numbered(idPrefix, raw.rowNumbers[row])
      } else if isText, let why = eventIDFault(texts[row]) {
        note(row, .eventID(column: name, why: why))
      }
    }
    return (texts, true)
  }

  // MARK: Columns

  private mutating func column(
    _ definition: ColumnDefinition, _ raw: RawRows
  ) throws(PlatformError) -> Column {
    guard let found = raw[definition.name] else { return Column(absent: raw.count, definition) }
    let column = try converted(found, to: definition, raw)
    for row in column.rowsOutsideCalendar {
      note(
        row,
        .wrongType(
          column: definition.name, value: "a time", expected: Timestamp.boundsText))
    }
    return column
  }

  private mutating func converted(
    _ found: Column, to definition: ColumnDefinition, _ raw: RawRows
  ) throws(PlatformError) -> Column {
    switch (found.values, definition.type) {
    case (.timestamp(let local), .timestamp) where raw.localTimes.contains(definition.name):
      return try converted(local, found)
    case (.bool, .bool), (.int64, .int64), (.double, .double), (.string, .string),
      (.timestamp, .timestamp):
      return found
    case (.int64(let all), .double):
      return Column(
        name: found.name, values: .double(all.map { Double($0) }), presence: found.presence)
    case (.double(let all), .int64): return whole(all, found)
    case (.string(let all), _): return parsed(all, found, as: definition)
    case (.list(let lists), .array):
      if let column = try arrays(lists, found, as: definition, raw) { return column }
      fallthrough
    default:
      throw PlatformError(
        .invalidRecord,
        "column '\(definition.name)' of the file is \(found.type.rawValue), but source "
          + "'\(source.name)' declares \(definition.type.rawValue); change the file or the "
          + "definition"
      )
    }
  }

  private mutating func arrays(
    _ lists: ListValues, _ found: Column, as definition: ColumnDefinition, _ raw: RawRows
  ) throws(PlatformError) -> Column? {
    var lists = lists
    if case .timestamp(let local) = lists.elements, raw.localTimes.contains(found.name) {
      let elements = try converted(local, Column(name: found.name, values: lists.elements))
      lists = ListValues(elements: elements.values, offsets: lists.offsets)
    }
    var faults: [(Int, RowFault)] = []
    let column = Validator.arrays(
      lists, found, as: definition, broken: raw.brokenLists[found.name] ?? [:]
    ) { faults.append(($0, $1)) }
    for (row, fault) in faults { note(row, fault) }
    return column
  }

  private mutating func converted(_ local: [Int64], _ found: Column) throws(PlatformError) -> Column
  {
    guard var reader = zone else {
      throw PlatformError(
        .invalidRecord,
        "column '\(found.name)' of the file has local times; declare `zone` for source "
          + "'\(source.name)', or write times with a zone"
      )
    }
    var instants = local
    for row in instants.indices where found.isPresent(row) && Timestamp.bounds.contains(local[row])
    {
      instants[row] = reader.instant(ofLocal: local[row])
    }
    zone = reader
    return Column(name: found.name, values: .timestamp(instants), presence: found.presence)
  }

  private mutating func whole(_ doubles: [Double], _ found: Column) -> Column {
    var values = [Int64](repeating: 0, count: doubles.count)
    for row in values.indices where found.isPresent(row) {
      if let value = Int64(exactly: doubles[row]) {
        values[row] = value
      } else {
        note(
          row,
          .wrongType(
            column: found.name, value: "\(doubles[row])", expected: ColumnType.int64.expectation))
      }
    }
    return Column(name: found.name, values: .int64(values), presence: found.presence)
  }

  /// Text of any file as values of the column's type; what is not one is noted and left zero.
  private mutating func parsed(
    _ texts: [String], _ found: Column, as definition: ColumnDefinition
  ) -> Column {
    let values: ColumnValues
    switch definition.type {
    case .string: return found
    case .double:
      values = .double(
        cells(texts, found, definition, zero: 0) { text in
          // Infinity is a double where it is meant, not where a number is too large for one.
          DecimalNumber(text: text).flatMap { number in
            number.double.isInfinite && text.contains { $0 &- 48 < 10 } ? nil : number.double
          }
        })
    case .int64:
      values = .int64(
        cells(texts, found, definition, zero: 0) { DecimalNumber(text: $0)?.integral })
    case .bool: values = .bool(cells(texts, found, definition, zero: false, bool(of:)))
    case .timestamp: return times(texts, found, definition)
    case .array: return arrays(texts, found, definition)
    }
    return Column(name: found.name, values: values, presence: found.presence)
  }

  @inline(__always)
  private mutating func cells<Cell>(
    _ texts: [String], _ found: Column, _ definition: ColumnDefinition, zero: Cell,
    _ read: (UnsafeBufferPointer<UInt8>) -> Cell?
  ) -> [Cell] {
    var cells = [Cell](repeating: zero, count: texts.count)
    for row in texts.indices where found.isPresent(row) {
      var text = texts[row]
      if let cell = text.withUTF8({ read($0) }) {
        cells[row] = cell
      } else {
        note(
          row,
          .wrongType(
            column: definition.name, value: "'\(text)'", expected: definition.type.expectation))
      }
    }
    return cells
  }

  private mutating func arrays(
    _ texts: [String], _ found: Column, _ definition: ColumnDefinition
  ) -> Column {
    let builder = ColumnBuilder(definition, reserving: texts.count)
    let reader = ArrayReader(definition)
    for row in texts.indices {
      builder.begin()
      builder.setNull()
      guard found.isPresent(row) else { continue }
      var text = texts[row]
      var zone = zone
      let fault = text.withUTF8 { bytes -> RowFault? in
        var scanner = JSONScanner(bytes)
        do throws(JSONFault) {
          scanner.skipBlanks()
          let fault = try reader.read(&scanner, into: builder, zone: &zone)
          scanner.skipBlanks()
          if scanner.isAtEnd { return fault }
        } catch {}
        return .wrongType(
          column: definition.name, value: "'\(String(decoding: bytes.prefix(400), as: UTF8.self))'",
          expected: "\(definition.type.expectation), as JSON")
      }
      if let fault {
        builder.setNull()
        note(row, fault)
      }
    }
    return builder.finish()
  }

  private mutating func times(
    _ texts: [String], _ found: Column, _ definition: ColumnDefinition
  ) -> Column {
    var reader = zone
    var times = [Int64](repeating: 0, count: texts.count)
    for row in texts.indices where found.isPresent(row) {
      var text = texts[row]
      switch text.withUTF8({ instant($0, zone: &reader) }) {
      case .success(let time): times[row] = time
      case .failure(.withoutZone):
        note(row, .withoutZone(column: definition.name, value: "'\(text)'"))
      case .failure(.malformed):
        note(
          row,
          .wrongType(
            column: definition.name, value: "'\(text)'", expected: definition.type.expectation))
      }
    }
    zone = reader
    return Column(name: found.name, values: .timestamp(times), presence: found.presence)
  }

  // MARK: Checks

  private mutating func apply(_ check: RowCheck, _ column: Column, _ raw: RawRows) {
    if check.check.required, let presence = column.presence {
      for row in presence.indices where presence[row] != 0 {
        found(row, .missing(column: check.check.column), check)
      }
    }
    guard check.looksAtValues else { return }
    switch column.values {
    case .double(let all): look(at: all, of: column, check) { check.fault($0) }
    case .int64(let all): look(at: all, of: column, check) { check.fault($0) }
    case .string(let all): look(at: all, of: column, check) { check.fault($0) }
    case .bool, .timestamp, .list: break
    }
  }

  @inline(__always)
  private mutating func look<Cell>(
    at cells: [Cell], of column: Column, _ check: RowCheck, _ fault: (Cell) -> RowFault?
  ) {
    for row in cells.indices {
      if let fault = fault(cells[row]), column.isPresent(row) { found(row, fault, check) }
    }
  }

  /// Checks judge only rows that could be read.
  private mutating func found(_ row: Int, _ fault: RowFault, _ check: RowCheck) {
    guard faults[row] == nil else { return }
    verdicts[row, default: CheckVerdict()].note(fault, check.check.onFail)
  }

  /// Counts what the checks found, and keeps out the rows that failed one.
  private mutating func judge(_ raw: RawRows, _ rows: inout ValidatedRows) {
    var tally = CheckTally()
    for (row, verdict) in verdicts.sorted(by: { $0.key < $1.key }) {
      if let fault = verdict.fault { note(row, fault) }
      tally.add(
        verdict, position: origin.position(of: raw.rowNumbers[row]), isKept: faults[row] == nil)
    }
    tally.give(to: &rows)
  }
}

/// The spellings of a bool in CSV files.
func bool(of bytes: UnsafeBufferPointer<UInt8>) -> Bool? {
  guard bytes.count <= 5 else { return nil }
  return switch String(decoding: bytes, as: UTF8.self).lowercased() {
  case "true", "t", "1", "yes", "y": true
  case "false", "f", "0", "no", "n": false
  default: nil
  }
}
