import Core

/// The pushes of one commit, put together: one batch per source, and what each producer will be
/// told.
struct CommitGroup: Sendable {
  private(set) var batches: [EventBatch] = []
  private(set) var quarantined: [QuarantinedRecord] = []
  /// In the order of the pushes.
  private(set) var outcomes: [Result<IngestReceipt, any Error>] = []
  private var places: [String: Int] = [:]
  private var advances: [StreamAdvance] = []
  /// Quarantined records whose events are stored now or were before.
  private(set) var replayed: [Int64] = []
  private(set) var details: [String: IngestDetails] = [:]
  private var marks: [(source: String, marks: AdmissionMarks)] = []
  /// Rows of batches from which on another transform made them, and what was before.
  private var switches: [Switch] = []
  private let now: Timestamp

  init(
    _ pushes: [PendingPush], _ project: ProjectDefinition, _ ledger: inout CommitLedger,
    now: Timestamp
  ) {
    self.now = now
    outcomes.reserveCapacity(pushes.count)
    for push in pushes {
      do throws(PlatformError) {
        outcomes.append(.success(try add(push, project, &ledger)))
      } catch {
        outcomes.append(.failure(error))
      }
    }
    let stamp = ledger.stamp(now)
    for index in batches.indices { batches[index].stamp(stamp, &ledger) }
    if !switches.isEmpty {
      versions = TransformVersion.batch(
        switches.map { ($0.source, $0.version, batches[$0.place].sequences[$0.row]) }, at: stamp)
    }
  }

  private struct Switch {
    var source: String
    var place: Int
    var row: Int
    var version: TransformVersion?
    var earlier: TransformVersion?
  }

  private var versions: ColumnBatch?

  /// What the warehouse is to store, nil where there is nothing.
  var commit: WarehouseCommit? {
    guard !batches.isEmpty || !quarantined.isEmpty || !replayed.isEmpty || !advances.isEmpty else {
      return nil
    }
    return WarehouseCommit(
      events: batches, quarantined: quarantined, replayed: replayed, at: now,
      rows: versions.map { [(TransformVersion.table, $0)] } ?? [], advances: merged)
  }

  /// The steps, those of one partition as one.
  private var merged: [StreamAdvance] {
    var merged: [StreamAdvance] = []
    var places: [StreamPartition: Int] = [:]
    for advance in advances {
      if let place = places[advance.partition] {
        merged[place].next = advance.next
      } else {
        places[advance.partition] = merged.count
        merged.append(advance)
      }
    }
    return merged
  }

  /// Undoes what the ledger remembers of the group.
  func release(_ ledger: inout CommitLedger) {
    for (source, marks) in marks { ledger.release(marks, of: source) }
    for one in switches.reversed() { ledger.adopt(transform: one.earlier, of: one.source) }
    ledger.release(advances)
  }

  private mutating func add(
    _ push: PendingPush, _ project: ProjectDefinition, _ ledger: inout CommitLedger
  ) throws(PlatformError) -> IngestReceipt {
    var rows = push.rows
    let name = rows.source.name
    guard let definition = project.source(name) else {
      throw PlatformError.unknownSource(name, in: project)
    }
    rows = try rows.conformed(to: definition)
    guard ledger.take(push.advances) else { throw PlatformError.movedStream(push.advances) }
    advances += push.advances
    // Nobody can correct a stream and send it again, so a check stops nothing of it and this does not throw.
    let admission = try ledger.admit(rows, at: now, stops: push.advances.isEmpty)
    if !admission.marks.isEmpty { marks.append((name, admission.marks)) }
    if let kept = admission.rows {
      let earlier = ledger.entries[name]?.transform
      if kept.count > 0, ledger.changesTransform(of: name, to: kept.transformVersion) {
        let place = places[name] ?? batches.count
        let row = places[name].map { batches[$0].count } ?? 0
        switches.append(
          Switch(
            source: name, place: place, row: row, version: kept.transformVersion, earlier: earlier))
      }
      if let place = places[name] {
        batches[place].append(kept)
      } else {
        places[name] = batches.count
        batches.append(EventBatch(unstamped: kept))
      }
    }
    quarantined += admission.quarantined
    replayed += admission.replayed
    details[name, default: IngestDetails()].add(admission.details)
    return IngestReceipt(
      accepted: admission.rows?.count ?? 0, duplicates: admission.duplicates,
      quarantined: admission.quarantined.count, unknownFields: rows.unknownFields,
      warnings: admission.warnings, refusals: admission.refusals,
      erased: admission.details.erased, expired: admission.details.expired)
  }
}

extension PlatformError {
  static func movedStream(_ advances: [StreamAdvance]) -> PlatformError {
    PlatformError(
      .conflict,
      "\(advances.map { "\($0.partition)" }.joined(separator: ", ")) was stored to another place meanwhile; "
        + "it is read again from there", retryable: true)
  }

  static func unknownSource(_ name: String, in project: ProjectDefinition) -> PlatformError {
    PlatformError(
      .notFound,
      "source '\(name)' is not defined\(suggestion(for: name, among: project.sources.map(\.name)))")
  }
}

extension EventBatch {
  /// Validated rows without sequence and stamp yet.
  init(unstamped rows: ValidatedRows) {
    self.init(
      source: rows.source.name, columns: rows.columns, eventTimestamps: rows.eventTimestamps,
      createdAt: [], sequences: [], eventIDs: rows.eventIDs)
  }

  fileprivate mutating func append(_ rows: ValidatedRows) {
    for index in columns.indices { columns[index].append(contentsOf: rows.columns[index]) }
    eventTimestamps += rows.eventTimestamps
    eventIDs += rows.eventIDs
    count = eventTimestamps.count
  }

  /// Numbers the rows and dates them.
  mutating func stamp(_ stamp: Int64, _ ledger: inout CommitLedger) {
    createdAt = [Int64](repeating: stamp, count: count)
    sequences = count == 0 ? [] : Array(ledger.take(count, of: source))
  }
}
