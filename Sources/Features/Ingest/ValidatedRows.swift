import Core

/// Records of one source that passed validation, in columns, with those that did not; not yet
/// stamped, numbered or stored.
package struct ValidatedRows: Sendable {
  /// The definition they were validated by.
  package var source: SourceDefinition
  /// Every column of the source, in its order.
  package var columns: [Column]
  package var eventTimestamps: [Int64]
  package var eventIDs: [String]
  /// Where the rows come from; nil where nobody asks, as in a source without a transform.
  package var places: RowPlaces?
  /// Whether an id may come a second time; ids made of a file's digest and row need no look-up.
  package var idsCanRepeat: Bool
  package var quarantined: [QuarantinedRecord]
  /// How often each kind of fault occurred.
  package var faults: [String: Int]
  /// How often each check failed, by `column.rule`, whatever became of the record.
  package var checkFailures: [String: Int] = [:]
  /// What checks with `on_fail: warn` found in rows that are kept, with how often.
  package var warnings: [String: Int] = [:]
  /// The first record that a check with `on_fail: stop` failed: nothing of these rows is to be stored.
  package var stop: CheckStop?
  /// The quarantined record that each row was, where it is a replay; else empty.
  package var replays: [Int64] = []
  /// What made the columns that are a transform's; nil where there was none.
  var transformVersion: TransformVersion?
  /// Members of records that are no columns of the source.
  package var unknownFields: Int

  package var count: Int { eventTimestamps.count }

  package init(
    source: SourceDefinition, columns: [Column], eventTimestamps: [Int64], eventIDs: [String],
    places: RowPlaces? = nil, idsCanRepeat: Bool = true, quarantined: [QuarantinedRecord] = [],
    faults: [String: Int] = [:],
    unknownFields: Int = 0
  ) {
    self.source = source
    self.columns = columns
    self.eventTimestamps = eventTimestamps
    self.eventIDs = eventIDs
    self.places = places
    self.idsCanRepeat = idsCanRepeat
    self.quarantined = quarantined
    self.faults = faults
    self.unknownFields = unknownFields
  }

  /// Where a row came from, for whoever looks for it.
  func position(of row: Int) -> String {
    places.map { $0.origin.position(of: $0.numbers[row]) } ?? eventIDs[row]
  }

  /// Adds a line that could not even be read.
  mutating func reject(_ line: RejectedLine, origin: RecordOrigin) {
    let fault = RowFault.malformed(line.reason)
    faults[fault.kind, default: 0] += 1
    quarantined.append(
      QuarantinedRecord(
        source: source.name, record: line.text, raw: line.raw, reason: fault.reason,
        kind: fault.quarantineKind, position: origin.position(of: line.rowNumber),
        eventID: numbered(Array(origin.idPrefix.utf8), line.rowNumber)))
  }

  /// The rows of `rows` only, everything else as it is.
  func keeping(_ rows: [Int]) -> ValidatedRows {
    var kept = self
    kept.columns = columns.map { $0.gather(rows) }
    kept.eventTimestamps = rows.map { eventTimestamps[$0] }
    kept.eventIDs = rows.map { eventIDs[$0] }
    if let places { kept.places?.numbers = rows.map { places.numbers[$0] } }
    if !replays.isEmpty { kept.replays = rows.map { replays[$0] } }
    return kept
  }

  /// The rows by a newer definition of their source: columns it dropped are left out, new ones are
  /// absent.
  func conformed(to definition: SourceDefinition) throws(PlatformError) -> ValidatedRows {
    if source.columns == definition.columns { return self }
    var conformed = self
    conformed.source = definition
    conformed.columns = []
    for wanted in definition.columns {
      let found = columns.first { $0.name == wanted.name }
      if let found, found.type != wanted.type {
        throw PlatformError(
          .conflict,
          "column '\(wanted.name)' of source '\(definition.name)' became "
            + "\(wanted.type.rawValue) while the records were on their way; send them again",
          retryable: true)
      }
      conformed.columns.append(found ?? Column(absent: count, wanted))
    }
    return conformed
  }
}

extension Column {
  /// A column of which no record had anything.
  init(absent count: Int, _ definition: ColumnDefinition) {
    self.init(name: definition.name, nulls: count, of: definition.type)
    presence = [UInt8](repeating: Presence.absent.rawValue, count: count)
  }
}

/// Where each of some rows stood in what was sent: a file's row, a producer's sequence.
package struct RowPlaces: Sendable, Equatable {
  var origin: RecordOrigin
  /// By row.
  var numbers: [Int64]
}

/// Where records come from: what their derived ids and their positions in quarantine are made of.
package enum RecordOrigin: Sendable, Equatable {
  /// A producer that numbers its records and may send them again.
  case push(client: String)
  /// A producer that does not: `token` is unique to the request, and its records are never
  /// recognised again.
  case once(token: String)
  case file(name: String, digest: String)
  /// A partition of a topic, whose records are numbered by their offsets. What was stored of it is known by
  /// the position that is stored with it, so that its derived ids need no look-up.
  case kafka(StreamPartition)
  /// A record of the quarantine that is tried again; it brings its id with it.
  case quarantine

  /// Beginnings of the ids that the platform derives; a given id must not begin so.
  static let reservedPrefixes = ["push:", "once:", "file:", "kafka:", "quarantine:"]

  /// What a derived id begins with; the record's number follows.
  var idPrefix: String {
    switch self {
    case .push(let client): "push:\(client):"
    case .once(let token): "once:\(token):"
    case .file(_, let digest): "file:\(digest.prefix(16)):"
    case .kafka(let partition): "kafka:\(partition)/"
    case .quarantine: "quarantine:"
    }
  }

  var idsCanRepeat: Bool {
    switch self {
    case .push, .quarantine: true
    case .once, .file, .kafka: false
    }
  }

  var isOnce: Bool { if case .once = self { true } else { false } }

  func position(of number: Int64) -> String {
    switch self {
    case .push(let client): "push \(client) sequence \(number)"
    case .once: "push record \(number)"
    case .file(let name, _): "file \(name) row \(number)"
    case .kafka(let partition): "kafka \(partition)/\(number)"
    case .quarantine: "quarantine record \(number)"
    }
  }
}

extension SourceDefinition {
  /// Whether rows may be refused after they were read: by the transform, or by a check that looks at other events.
  var needsPlaces: Bool { transform != nil || checks.contains { $0.unique != nil } }
}
