import Core

/// What the ledger remembers of rows that are about to be stored, to be forgotten where they are not.
struct AdmissionMarks: Sendable {
  struct Unique: Sendable {
    var memory: String
    var value: EventIDHash
    var time: Int64
  }

  var ids: [EventIDHash] = []
  var unique: [Unique] = []

  var isEmpty: Bool { ids.isEmpty && unique.isEmpty }
}

/// What becomes of validated rows, given what is stored already.
struct Admission: Sendable {
  /// The rows that are stored now; nil where none is.
  var rows: ValidatedRows?
  var duplicates = 0
  /// Records that do not get in: those of the rows, and rows that a `unique` check keeps out.
  var quarantined: [QuarantinedRecord] = []
  /// The quarantined records whose events are stored with this, or were before.
  var replayed: [Int64] = []
  var faults: [String: Int] = [:]
  var warnings: [String: Int] = [:]
  var details = IngestDetails()
  var marks = AdmissionMarks()

  init(_ rows: ValidatedRows) {
    quarantined = rows.quarantined
    faults = rows.faults
    warnings = rows.warnings
    details.checkFailures = rows.checkFailures
    duplicates = rows.knownElsewhere
  }
}

extension Admission {
  /// The reasons that the producer does not know from validating.
  var refusals: [String] {
    quarantined.filter { $0.kind == .unique || $0.kind == .transform }.prefix(100).map(\.reason)
  }
}

/// What is counted of a source beside its receipts.
package struct IngestDetails: Sendable, Equatable {
  package var kinds: [QuarantineKind: Int] = [:]
  /// By `column.rule`.
  package var checkFailures: [String: Int] = [:]
  /// Values that a `unique` check could not judge, by `column.unique`.
  package var unchecked: [String: Int] = [:]
  package var replayed = 0
  /// Records of erased keys that came again.
  package var erased = 0
  /// Events that are older than their source keeps them.
  package var expired = 0

  package init() {}

  mutating func add(_ more: IngestDetails) {
    kinds.merge(more.kinds, uniquingKeysWith: +)
    checkFailures.merge(more.checkFailures, uniquingKeysWith: +)
    unchecked.merge(more.unchecked, uniquingKeysWith: +)
    replayed += more.replayed
    erased += more.erased
    expired += more.expired
  }
}

extension CommitLedger {
  /// Leaves out the rows of erased keys, those that are older than the source keeps events at `now`, those whose id is known, here or earlier in
  /// the same rows, and those that a `unique` check does not let in, and remembers the others.
  ///
  /// Throws where such a check has `on_fail: stop`; nothing is remembered then.
  ///
  /// - Parameter stops: false where such a check only keeps its row out.
  mutating func admit(
    _ rows: ValidatedRows, at now: Timestamp, stops: Bool = true
  ) throws(PlatformError) -> Admission {
    var erased = 0
    let unerased = withoutErased(rows, &erased)
    let rows = unerased.kept(at: now)
    var admission = Admission(rows)
    admission.details.erased = erased
    admission.details.expired = unerased.count - rows.count
    let left = try leftOut(rows, &admission, stops: stops)
    if left.isEmpty {
      admission.rows = rows.count == 0 ? nil : rows
    } else if left.count < rows.count {
      var next = left[...]
      admission.rows = rows.keeping(
        (0..<rows.count).filter { row in
          guard next.first == row else { return true }
          next.removeFirst()
          return false
        })
    }
    let failed = Set(admission.quarantined.compactMap(\.replayOf))
    admission.replayed = rows.replays.filter { !failed.contains($0) }
    admission.details.replayed = admission.replayed.count
    for record in admission.quarantined where record.replayOf == nil {
      admission.details.kinds[record.kind, default: 0] += 1
    }
    return admission
  }

  private func withoutErased(_ rows: ValidatedRows, _ count: inout Int) -> ValidatedRows {
    guard let tombstones else { return rows }
    var kept = rows
    let refused = Set(tombstones.refused(rows))
    if !refused.isEmpty { kept = rows.keeping((0..<rows.count).filter { !refused.contains($0) }) }
    kept.quarantined.removeAll {
      $0.replayOf == nil && tombstones.refuses($0, of: rows.source)
    }
    count = rows.count - kept.count + rows.quarantined.count - kept.quarantined.count
    return kept
  }

  /// The rows that are not stored, in order.
  private mutating func leftOut(
    _ rows: ValidatedRows, _ admission: inout Admission, stops: Bool
  ) throws(PlatformError) -> [Int] {
    let judge = UniqueJudge(rows, seed: seed)
    guard rows.idsCanRepeat || judge != nil else { return [] }
    let seed = self.seed
    var left: [Int] = []
    let stop: CheckStop? = withEntry(rows.source.name) { entry in
      for row in 0..<rows.count {
        let id = rows.idsCanRepeat ? EventIDHash(rows.eventIDs[row], seed: seed) : nil
        // Without a judge the id is remembered at once: the common way looks only once.
        if let id, judge == nil ? !entry.ids.insert(id) : entry.ids.contains(id) {
          admission.duplicates += 1
          left.append(row)
          continue
        }
        if let judge {
          let verdict = judge.look(at: row, entry, &admission.details)
          for name in verdict.failed { admission.details.checkFailures[name, default: 0] += 1 }
          if stops, let fault = verdict.stop { return judge.stop(row, fault) }
          if let fault = verdict.fault {
            admission.faults[fault.kind, default: 0] += 1
            admission.quarantined.append(judge.record(row, fault))
            left.append(row)
            continue
          }
          for warning in verdict.warnings { admission.warnings[warning.kind, default: 0] += 1 }
          judge.remember(row, &entry, &admission.marks)
          if let id { _ = entry.ids.insert(id) }
        }
        if let id { admission.marks.ids.append(id) }
      }
      return nil
    }
    if let stop {
      release(admission.marks, of: rows.source.name)
      throw stop.error
    }
    return left
  }
}

extension ValidatedRows {
  /// Those that retention does not drop. One that it does would count online, and in no history.
  fileprivate func kept(at now: Timestamp) -> ValidatedRows {
    guard let first = source.keptSince(now)?.microseconds,
      eventTimestamps.contains(where: { $0 < first })
    else { return self }
    return keeping(eventTimestamps.indices.filter { eventTimestamps[$0] >= first })
  }
}

/// The `unique` checks of some rows.
private struct UniqueJudge {
  private let rows: ValidatedRows
  private let checks: [(check: UniqueCheck, column: Column)]
  private let seed: EventIDSeed

  /// Nil where the source has none.
  init?(_ rows: ValidatedRows, seed: EventIDSeed) {
    let checks = UniqueCheck.of(rows.source)
    guard !checks.isEmpty else { return nil }
    self.rows = rows
    self.seed = seed
    self.checks = checks.compactMap { check in
      rows.columns.first { $0.name == check.column }.map { (check, $0) }
    }
  }

  func look(
    at row: Int, _ entry: CommitLedger.Entry, _ details: inout IngestDetails
  ) -> CheckVerdict {
    var verdict = CheckVerdict()
    for (check, column) in checks {
      let value = column[row]
      guard let hash = check.hash(value, seed: seed), let index = entry.unique[check.memory] else {
        continue
      }
      let fault = RowFault.notUnique(
        column: check.column, value: JSON(value).text, within: check.within)
      switch index.look(for: hash, at: rows.eventTimestamps[row]) {
      case .unique: break
      case .unknown: details.unchecked[fault.checkName ?? "", default: 0] += 1
      case .repeated: verdict.note(fault, check.onFail)
      }
    }
    return verdict
  }

  func remember(_ row: Int, _ entry: inout CommitLedger.Entry, _ marks: inout AdmissionMarks) {
    var done: [String] = []
    for (check, column) in checks where !done.contains(check.memory) {
      guard let hash = check.hash(column[row], seed: seed) else { continue }
      let time = rows.eventTimestamps[row]
      entry.unique[check.memory]?.insert(hash, at: time)
      marks.unique.append(.init(memory: check.memory, value: hash, time: time))
      done.append(check.memory)
    }
  }

  func stop(_ row: Int, _ fault: RowFault) -> CheckStop {
    CheckStop(
      check: fault.checkName ?? "", position: "event \(rows.eventIDs[row])", reason: fault.reason)
  }

  func record(_ row: Int, _ fault: RowFault) -> QuarantinedRecord {
    QuarantinedRecord(
      source: rows.source.name, record: RecordText(rows, row).text, reason: fault.reason,
      kind: .unique,
      position: rows.places == nil ? "event \(rows.eventIDs[row])" : rows.position(of: row),
      eventID: rows.eventIDs[row],
      replayOf: rows.replays.isEmpty ? nil : rows.replays[row])
  }
}
