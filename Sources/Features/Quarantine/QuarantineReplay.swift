import Core

/// What to replay, and how records are corrected first.
package struct ReplayRequest: Sendable {
  package var filter: QuarantineFilter
  /// Whole records that take the place of the kept ones, by id.
  package var records: [Int64: [UInt8]]
  /// Fields that are set in every record.
  package var fields: [JSON.Member]

  package init(
    filter: QuarantineFilter, records: [Int64: [UInt8]] = [:], fields: [JSON.Member] = []
  ) {
    self.filter = filter
    self.records = records
    self.fields = fields
  }
}

/// What became of a replay.
package struct ReplayReport: Sendable, Equatable {
  package struct Failure: Sendable, Equatable {
    package var id: Int64
    package var reason: String
  }

  package var replayed = 0
  /// Of the replayed, those whose event was stored before.
  package var duplicates = 0
  package var failed = 0
  /// The first failures.
  package var failures: [Failure] = []

  package init() {}

  mutating func fail(_ id: Int64, _ reason: String) {
    failed += 1
    if failures.count < 1_000 { failures.append(Failure(id: id, reason: reason)) }
  }
}

/// Sends quarantined records through ingest again.
///
/// Guarantees: a record's event has the id that it would have had at first, so it is counted once however often it is
/// replayed or sent again; event and status change in one transaction. A record that fails again keeps its text and gets the new
/// reason. A few hundred records are one commit, whatever the number asked for.
package struct QuarantineReplay: Sendable {
  private let quarantine: Quarantine
  private let ingestor: Ingestor

  package init(quarantine: Quarantine, ingestor: Ingestor) {
    self.quarantine = quarantine
    self.ingestor = ingestor
  }

  package func run(_ request: ReplayRequest) async throws -> ReplayReport {
    var report = ReplayReport()
    var filter = request.filter
    if let ids = filter.ids {
      try await reportUnknown(ids, &report)
    } else {
      // What comes to quarantine meanwhile is not part of this replay.
      filter.before = min(filter.before ?? .max, try await quarantine.lastID() + 1)
    }
    filter.status = .waiting
    while true {
      let entries = try await quarantine.list(
        filter, limit: Limits.replayRecords, oldestFirst: true)
      guard let last = entries.last else { return report }
      filter.after = last.id
      let bySource = Dictionary(grouping: entries, by: \.source)
      for source in bySource.keys.sorted() {
        try await replay(bySource[source] ?? [], of: source, request, &report)
      }
    }
  }

  private func reportUnknown(_ ids: [Int64], _ report: inout ReplayReport) async throws {
    var statuses: [Int64: QuarantineEntry.Status] = [:]
    for start in stride(from: 0, to: ids.count, by: Limits.replayRecords) {
      let some = Array(ids[start..<min(start + Limits.replayRecords, ids.count)])
      for entry in try await quarantine.list(QuarantineFilter(ids: some), limit: some.count) {
        statuses[entry.id] = entry.status
      }
    }
    for id in ids {
      switch statuses[id] {
      case .waiting: break
      case nil: report.fail(id, Quarantine.unknown(id).message)
      case let status?: report.fail(id, "record \(id) is \(status.rawValue), not waiting")
      }
    }
  }

  private func replay(
    _ entries: [QuarantineEntry], of name: String, _ request: ReplayRequest,
    _ report: inout ReplayReport
  ) async throws {
    let project = ingestor.definitions.current.project
    guard let source = project.source(name) else {
      let why = PlatformError.unknownSource(name, in: project).message
      for entry in entries { report.fail(entry.id, why) }
      return
    }
    let correction = try Correction(request, source)
    do {
      var rows = Self.read(entries, source, correction, BareFeatureValues(source, project))
      // A record that would stop a push fails alone: what waits beside it is another sender's.
      rows.stop = nil
      let receipt = try await ingestor.ingest(rows)
      report.duplicates += receipt.duplicates
    } catch let error as PlatformError where error.code == .invalidRecord {
      if entries.count == 1 { return report.fail(entries[0].id, error.message) }
      for entry in entries { try await replay([entry], of: name, request, &report) }
      return
    }
    let ids = entries.map(\.id)
    for entry in try await quarantine.list(
      QuarantineFilter(ids: ids), limit: ids.count, oldestFirst: true)
    {
      if entry.status == .replayed {
        report.replayed += 1
      } else {
        report.fail(entry.id, entry.reason ?? "")
      }
    }
  }

  private static func read(
    _ entries: [QuarantineEntry], _ source: SourceDefinition, _ correction: Correction,
    _ bare: BareFeatureValues
  ) -> ValidatedRows {
    var parser = RecordParser(source: source, origin: .quarantine)
    for entry in entries {
      var bytes = correction.applied(to: entry)
      // Only streams bring bare feature values.
      if let position = entry.position, position.hasPrefix("kafka ") {
        switch bytes.withUnsafeBufferPointer({ bare.read($0) }) {
        case .other: break
        case .record(let written): bytes = written
        case .fault(let why):
          bytes.withUnsafeBufferPointer { parser.refuse($0, number: entry.id, because: why) }
          continue
        }
      }
      parser.append(replay: bytes, id: entry.id, eventID: entry.eventID ?? "")
    }
    return parser.finishRows()
  }
}

/// The changes that are made to records before they are read again.
private struct Correction {
  private let records: [Int64: [UInt8]]
  private let fields: [JSON.Member]

  init(_ request: ReplayRequest, _ source: SourceDefinition) throws(PlatformError) {
    records = request.records
    let known = Validator.wantedColumns(of: source)
    var fields: [JSON.Member] = []
    for field in request.fields {
      guard known.contains(field.key) else {
        throw PlatformError(
          .invalidArgument,
          "'\(field.key)' is no field of source '\(source.name)'"
            + suggestion(for: field.key, among: known))
      }
      let isText = source.column(field.key)?.type ?? .string == .string
      fields.append(.init(field.key, isText ? field.value : Self.typed(field.value)))
    }
    self.fields = fields
  }

  /// Text that is written for a number or a bool, as a command line has it.
  private static func typed(_ value: JSON) -> JSON {
    guard case .string(let text) = value, let read = try? JSON(parsing: Array(text.utf8)),
      read.scalar != nil
    else { return value }
    return read
  }

  func applied(to entry: QuarantineEntry) -> [UInt8] {
    let bytes = records[entry.id] ?? entry.bytes
    guard !fields.isEmpty, let record = try? JSON(parsing: bytes),
      case .object(var members) = record
    else { return bytes }
    for field in fields {
      members.removeAll { $0.key == field.key }
      members.append(field)
    }
    return JSON.object(members).utf8
  }
}
