import Core
import Synchronization

/// A file on its way through the committer.
struct FileCommit: Sendable {
  var source: SourceDefinition
  var digest: String
  var name: String
  var channel: RowChannel
  /// Nothing is stored where one record is bad.
  var strict = false
}

/// What the committer did with a file.
struct FileOutcome: Sendable {
  var accepted = 0
  var duplicates = 0
  var quarantined = 0
  var faults: [String: Int] = [:]
  var warnings: [String: Int] = [:]
  var details = IngestDetails()
  /// Of the newest rows.
  var transformDigest: String?
  /// The file had been ingested before; nothing was done.
  var earlier: IngestedFile?
}

extension Ingestor {
  /// Rows that one call of the applier gets.
  static let applyRows = 50_000

  /// Stores a whole file as one transaction and applies it online, while no other commit is in
  /// flight.
  func commit(_ file: FileCommit) async throws -> FileOutcome {
    let history = IngestHistory(warehouse)
    return try await pause { [self] in
      if let earlier = try await history.file(digest: file.digest, source: file.source.name) {
        return FileOutcome(earlier: earlier)
      }
      try await adopt(file.source.name)
      try checkUnchanged(file)
      let start = ContinuousClock.now
      let transfer = FileTransfer(self, file)
      do {
        try await warehouse.transaction { try transfer.store(on: $0) }
      } catch {
        transfer.release()
        throw error
      }
      try await applyOnlineOrStop(transfer)
      committedFile(since: start)
      let outcome = transfer.outcome
      count(
        file.source.name,
        IngestReceipt(
          accepted: outcome.accepted, duplicates: outcome.duplicates,
          quarantined: outcome.quarantined))
      count(file.source.name, outcome.details)
      return outcome
    }
  }

  private func checkUnchanged(_ file: FileCommit) throws(PlatformError) {
    let project = definitions.current.project
    guard let definition = project.source(file.source.name) else {
      throw PlatformError.unknownSource(file.source.name, in: project)
    }
    guard definition == file.source else {
      throw PlatformError(
        .conflict,
        "source '\(file.source.name)' was changed while '\(file.name)' was read; "
          + "ingest the file again", retryable: true)
    }
  }

  /// Events that are stored and cannot be applied leave the online state behind: nothing more is
  /// taken then.
  private func applyOnlineOrStop(_ transfer: FileTransfer) async throws {
    do {
      try await transfer.apply()
    } catch {
      failed(error)
      throw error
    }
  }
}

/// The state of a file's commit, used by one thread after the other.
private final class FileTransfer: Sendable {
  private struct State {
    var outcome = FileOutcome()
    var marks: [AdmissionMarks] = []
    var kept: [EventBatch] = []
    var keptRows = 0
    var sequences: ClosedRange<Int64>?
    /// What the transform was before the file, where the file changed it.
    var earlierTransform: TransformVersion??
  }

  private let ingestor: Ingestor
  private let file: FileCommit
  private let state = Mutex(State())
  /// Where a large file's events come from after the transaction; nil keeps them all in memory.
  private let stored: (any StoredEventApplier)?

  init(_ ingestor: Ingestor, _ file: FileCommit) {
    self.ingestor = ingestor
    self.file = file
    stored = ingestor.applier as? any StoredEventApplier
  }

  var outcome: FileOutcome { state.withLock { $0.outcome } }

  /// Appends every chunk and the file's own row; runs on the writer's thread.
  func store(on appender: any WarehouseAppender) throws {
    let now = ingestor.clock.now
    let stamp = ingestor.ledger.withLock { $0.stamp(now) }
    var refused: [QuarantinedRecord] = []
    while let chunk = try file.channel.take() {
      let name = file.source.name
      typealias Admitted = (Admission, EventBatch?, earlier: TransformVersion??)
      let (admission, batch, earlier) = try ingestor.ledger.withLock {
        (ledger: inout CommitLedger) throws -> Admitted in
        let admission = try ledger.admit(chunk, at: now)
        var batch = admission.rows.map { EventBatch(unstamped: $0) }
        batch?.stamp(stamp, &ledger)
        let earlier: TransformVersion? = ledger.entries[name]?.transform
        guard batch.map({ $0.count > 0 }) ?? false,
          ledger.changesTransform(of: name, to: chunk.transformVersion)
        else { return (admission, batch, nil) }
        return (admission, batch, .some(earlier))
      }
      if let version = chunk.transformVersion {
        state.withLock { $0.outcome.transformDigest = version.digest }
      }
      if let earlier, let first = batch?.sequences.first {
        state.withLock { $0.earlierTransform = $0.earlierTransform ?? earlier }
        try appender.append(
          TransformVersion.batch([(name, chunk.transformVersion, first)], at: stamp),
          to: TransformVersion.table)
      }
      let records = note(admission, batch)
      if file.strict { refused += records.prefix(FileIngest.strictReasons - refused.count) }
      if let batch { try appender.append(batch) }
      if !records.isEmpty { try appender.append(records, at: now) }
    }
    // The reader refuses what it sees itself, before the channel ends: what is left here are repeated values.
    if !refused.isEmpty { throw FileIngest.refusal(of: file.name, refused) }
    let outcome = self.outcome
    let row = IngestedFile(
      rows: outcome.accepted, quarantined: outcome.quarantined, duplicates: outcome.duplicates)
    try appender.append(
      row.batch(
        digest: file.digest, source: file.source.name, name: file.name, createdAt: stamp),
      to: "ingested_files")
  }

  /// Counts a chunk, keeps its events for the online state, and returns the bad records whose text
  /// is stored.
  private func note(
    _ admission: Admission, _ batch: EventBatch?
  ) -> [QuarantinedRecord] {
    state.withLock { state in
      if !admission.marks.isEmpty { state.marks.append(admission.marks) }
      let room = max(0, Limits.quarantinePerFile - state.outcome.quarantined)
      state.outcome.accepted += batch?.count ?? 0
      state.outcome.duplicates += admission.duplicates
      state.outcome.quarantined += admission.quarantined.count
      state.outcome.faults.merge(admission.faults, uniquingKeysWith: +)
      state.outcome.warnings.merge(admission.warnings, uniquingKeysWith: +)
      state.outcome.details.add(admission.details)
      if var batch, let first = batch.sequences.first, let last = batch.sequences.last {
        state.sequences = (state.sequences?.lowerBound ?? first)...last
        if stored == nil || state.keptRows < Limits.fileBufferRows {
          // The online state does not need the ids, which are half of a small event's memory.
          batch.eventIDs = []
          state.kept.append(batch)
          state.keptRows += batch.count
        }
      }
      return Array(admission.quarantined.prefix(room))
    }
  }

  func release() {
    let (all, earlier) = state.withLock { ($0.marks, $0.earlierTransform) }
    ingestor.ledger.withLock { ledger in
      if let earlier { ledger.adopt(transform: earlier, of: file.source.name) }
      for marks in all { ledger.release(marks, of: file.source.name) }
    }
  }

  /// Applies what was kept, a piece at a time, and the rest from the warehouse.
  func apply() async throws {
    let (kept, sequences) = state.withLock { state in
      defer { state.kept = [] }
      return (state.kept, state.sequences)
    }
    guard let sequences else { return }
    var piece: [EventBatch] = []
    var rows = 0
    var last = sequences.lowerBound - 1
    for batch in kept {
      piece.append(batch)
      rows += batch.count
      last = batch.sequences.last ?? last
      if rows >= Ingestor.applyRows {
        try await ingestor.applyOnline(piece)
        piece = []
        rows = 0
      }
    }
    try await ingestor.applyOnline(piece)
    if let stored, last < sequences.upperBound {
      let rest = (last + 1)...sequences.upperBound
      try await ingestor.bringOnline {
        try await stored.applyStored(source: file.source.name, sequences: rest)
      }
      ingestor.ledger.withLock { $0.applied(file.source.name, through: sequences.upperBound) }
    }
  }
}
