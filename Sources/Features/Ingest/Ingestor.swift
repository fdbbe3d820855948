import Core
import Logging
import Metrics
import Synchronization

/// What became of a push.
package struct IngestReceipt: Sendable, Equatable {
  package var accepted: Int
  /// Events whose id was stored before; they count as delivered.
  package var duplicates: Int
  package var quarantined: Int
  /// Members of records that are no columns of the source.
  package var unknownFields: Int
  /// What checks with `on_fail: warn` found in stored events, with how often.
  package var warnings: [String: Int]
  /// Reasons of the first quarantined records that only storing could find.
  package var refusals: [String]
  /// Records of an entity key that was erased after they happened; nothing of them is kept.
  package var erased: Int
  /// Events that are older than their source keeps them; nothing of them is kept.
  package var expired: Int

  package init(
    accepted: Int = 0, duplicates: Int = 0, quarantined: Int = 0, unknownFields: Int = 0,
    warnings: [String: Int] = [:], refusals: [String] = [], erased: Int = 0, expired: Int = 0
  ) {
    self.erased = erased
    self.expired = expired
    self.accepted = accepted
    self.duplicates = duplicates
    self.quarantined = quarantined
    self.unknownFields = unknownFields
    self.warnings = warnings
    self.refusals = refusals
  }
}

/// What a producer wants when the queue is full.
package enum Overload: Sendable {
  /// To be suspended until there is room (streams).
  case wait
  /// To be told, where more than a commit or two is before it (requests).
  case refuse
}

/// A push on its way: `receipt()` returns once its events are stored and can be read online.
package struct IngestTicket: Sendable {
  fileprivate let push: PendingPush

  package func receipt() async throws -> IngestReceipt { try await push.receipt.value() }
}

final class PendingPush: Sendable {
  let rows: ValidatedRows
  /// How far the rows take the streams that they came from.
  let advances: [StreamAdvance]
  /// Given when a parked push enters the queue.
  let entry = Promise<Void>()
  let receipt = Promise<IngestReceipt>()

  init(_ rows: ValidatedRows, _ advances: [StreamAdvance]) {
    self.rows = rows
    self.advances = advances
  }
}

/// Work that runs while no commit is in flight.
struct ExclusiveWork: Sendable {
  var run: @Sendable () async -> Void
  var refuse: @Sendable (any Error) -> Void
}

/// The one way into the platform's state: validated rows in, stored and online events out,
/// receipts back.
///
/// Guarantees:
/// - A receipt means committed: the events are durable in the warehouse and visible to online
/// reads.
/// - An event id that may repeat is stored once, however many producers send it at the same time.
/// - When a commit fails, nothing of it is stored or applied, every push in it gets the error, and
/// its ids may be sent again.
/// - Rows of one source are numbered in the order in which they were stored; `created_at` never
/// goes back.
/// - While the online store is away, stored events wait for it, however long. Pushes are answered `unavailable`: those whose
/// events are stored already, those that wait, and new ones; streams are not read on.
/// - Producers are slowed by a full queue, never dropped. A lone push commits at once; pushes that
///   arrive during a commit share the next one. Cancelling a producer does not take its rows back.
package final class Ingestor: Sendable {
  typealias Queue = CommitQueue<PendingPush, ExclusiveWork>

  private struct Shared: Sendable {
    var queue: Queue
    var sleeper: CheckedContinuation<Void, Never>?
    /// Why the committer must not go on after the work at hand.
    var failure: (any Error)?
    /// What producers are told while the online store is away.
    var behind: PlatformError?
  }

  let warehouse: any Warehouse
  let applier: any OnlineApplier
  let definitions: Published<Snapshot>
  let clock: any WallClock
  let log: Logger
  let ledger: Mutex<CommitLedger>
  private let transform: (any BatchTransform)?
  private let shared: Mutex<Shared>
  private let totals = Mutex<[String: IngestReceipt]>([:])
  private let pushTime = Ingestor.commitTimer("push")
  private let fileTime = Ingestor.commitTimer("file")
  private let detailTotals = Mutex<[String: IngestDetails]>([:])

  package init(
    warehouse: any Warehouse, applier: any OnlineApplier, definitions: Published<Snapshot>,
    clock: any WallClock = SystemClock(), transform: (any BatchTransform)? = nil,
    queueRows: Int = Limits.commitQueueRows, log: Logger = Logger(label: "martlet.ingest")
  ) {
    self.warehouse = warehouse
    self.applier = applier
    self.definitions = definitions
    self.clock = clock
    self.transform = transform
    self.log = log
    ledger = Mutex(CommitLedger(seed: .random()))
    shared = Mutex(Shared(queue: Queue(capacity: queueRows, overload: queueRows * 2)))
  }

  // MARK: Producers

  /// Stores rows and applies them online; returns when both have happened.
  package func ingest(
    _ rows: ValidatedRows, overload: Overload = .wait
  ) async throws -> IngestReceipt {
    try await submit(rows, overload: overload).receipt()
  }

  /// Hands rows over; returns once they are in the queue, which a full queue delays.
  ///
  /// - Parameter advances: steps of the streams that the rows came from, stored in the same transaction. The
  /// push is refused with `.conflict`, and nothing of it stored, where a partition is somewhere else by then.
  package func submit(
    _ rows: ValidatedRows, overload: Overload = .wait, advances: [StreamAdvance] = []
  ) async throws -> IngestTicket {
    // Of a stream the record alone goes to quarantine: refusing it would hold the stream for ever.
    if advances.isEmpty { try refuseStopped(rows) }
    if advances.isEmpty, let behind = shared.withLock({ $0.behind }) { throw behind }
    let push = PendingPush(try await transformed(rows), advances)
    let size = max(1, rows.count + rows.quarantined.count)
    let (offer, sleeper) = shared.withLock { shared in
      let offer = shared.queue.offer(push, rows: size, refusable: overload == .refuse)
      return (offer, offer == .queued(wakes: true) ? shared.sleeper.take() : nil)
    }
    sleeper?.resume()
    switch offer {
    case .queued: break
    case .parked: try await push.entry.value()
    case .refused:
      throw PlatformError(
        .overloaded, "More events wait to be stored than the queue holds; send again in a second.",
        retryAfter: .seconds(1))
    case .closed: throw Ingestor.stopping
    }
    return IngestTicket(push: push)
  }

  /// The rows with what their source's transform makes of them.
  func transformed(_ rows: ValidatedRows) async throws -> ValidatedRows {
    guard let function = rows.source.transform, rows.count > 0 else { return rows }
    try checkTransform(of: rows.source)
    guard let transform else { return rows }
    let batch = ColumnBatch(columns: rows.columns, count: rows.count)
    let made = try await transform.transform(batch, of: rows.source, with: function)
    return try rows.transformed(made, by: function)
  }

  /// Batches that may usefully be transformed at the same time.
  var transformWidth: Int { transform?.width ?? 1 }

  /// Throws where a source needs a transform and none can be run.
  func checkTransform(of source: SourceDefinition) throws(PlatformError) {
    guard let function = source.transform, transform == nil else { return }
    throw PlatformError(
      .failedPrecondition,
      "source '\(source.name)' has the transform \(function), but this platform runs no transforms "
        + "at ingest; remove `transform` from the source")
  }

  // MARK: Being alone

  /// Runs `body` while no commit is in flight and none begins: for snapshots of the online state
  /// and changes of definitions.
  ///
  /// `body` must not ingest: that would wait for itself.
  package func pause<Result: Sendable>(
    _ body: @escaping @Sendable () async throws -> Result
  ) async throws -> Result {
    if let behind = shared.withLock({ $0.behind }) { throw behind }
    let outcome = Promise<Result>()
    let work = ExclusiveWork(
      run: {
        do { outcome.give(.success(try await body())) } catch { outcome.give(.failure(error)) }
      }, refuse: { outcome.give(.failure($0)) })
    let (wakes, sleeper) = shared.withLock { shared in
      let wakes = shared.queue.offer(exclusive: work)
      return (wakes, wakes == true ? shared.sleeper.take() : nil)
    }
    sleeper?.resume()
    guard wakes != nil else { throw Ingestor.stopping }
    return try await outcome.value()
  }

  /// Per source the last sequence that the online state contains; exact inside `pause`.
  package var positions: [String: Int64] { ledger.withLock { $0.positions } }

  /// Per source what has been ingested since the start.
  package var counters: [String: IngestReceipt] { totals.withLock { $0 } }

  /// Per source what else has been counted since the start.
  package var details: [String: IngestDetails] { detailTotals.withLock { $0 } }

  func count(_ source: String, _ details: IngestDetails) {
    detailTotals.withLock { $0[source, default: IngestDetails()].add(details) }
  }

  /// Rows that wait for a commit or for room in the queue.
  package var queuedRows: Int {
    shared.withLock { $0.queue.waitingRows + $0.queue.parkedRows }
  }

  // MARK: The committer

  /// Commits until `stop` is called or the task is cancelled, and everything that waits then;
  /// throws only where the online state could not follow the warehouse, which a restart repairs.
  package func run() async throws {
    try await withTaskCancellationHandler {
      do {
        while let next = await next() {
          switch next {
          case .commit(let pushes, let entered):
            for push in entered { push.entry.give(.success(())) }
            try await commit(pushes)
          case .exclusive(let work):
            await work.run()
            if let failure = shared.withLock({ $0.failure }) { throw failure }
          case .sleep, .end: break
          }
        }
      } catch {
        abandon(error)
        throw error
      }
    } onCancel: {
      stop()
    }
  }

  /// Refuses new pushes; `run` ends when those that wait are stored.
  package func stop() {
    let sleeper = shared.withLock { shared in
      _ = shared.queue.close()
      return shared.sleeper.take()
    }
    sleeper?.resume()
  }

  /// What to do next, nil at the end.
  private func next() async -> Queue.Next? {
    while true {
      let next = shared.withLock { $0.queue.take() }
      switch next {
      case .commit, .exclusive: return next
      case .end: return nil
      case .sleep:
        await withCheckedContinuation { continuation in
          let isAwake = shared.withLock { shared in
            // A push may have come between the look and the sleep.
            guard shared.queue.isAsleep else { return true }
            shared.sleeper = continuation
            return false
          }
          if isAwake { continuation.resume() }
        }
      }
    }
  }

  /// Ends the committer after exclusive work that left the online state behind.
  func failed(_ error: any Error) { shared.withLock { $0.failure = error } }

  private func abandon(_ error: any Error) {
    let left = shared.withLock { $0.queue.abandon() }
    for push in left.pushes {
      push.entry.give(.failure(error))
      push.receipt.give(.failure(error))
    }
    for work in left.exclusives { work.refuse(error) }
  }

  /// One group: every push that waited, one transaction, then the online state, then the receipts.
  private func commit(_ pushes: [PendingPush]) async throws {
    let start = ContinuousClock.now
    let group: CommitGroup
    do {
      for push in pushes { try await adopt(push.rows.source.name) }
      let project = definitions.current.project
      let now = clock.now
      group = ledger.withLock { CommitGroup(pushes, project, &$0, now: now) }
    } catch {
      for push in pushes { push.receipt.give(.failure(error)) }
      return
    }
    do {
      if let commit = group.commit { try await warehouse.commit(commit) }
    } catch let error as PlatformError
      where error.code == .conflict && pushes.contains(where: { !$0.advances.isEmpty })
    {
      // Another process has stored those streams; the other pushes have nothing to do with it.
      ledger.withLock { group.release(&$0) }
      for push in pushes where !push.advances.isEmpty { push.receipt.give(.failure(error)) }
      let others = pushes.filter { $0.advances.isEmpty }
      if !others.isEmpty { try await self.commit(others) }
      return
    } catch {
      log.error("a commit failed; nothing of it is stored", metadata: ["error": "\(error)"])
      ledger.withLock { group.release(&$0) }
      for push in pushes { push.receipt.give(.failure(error)) }
      return
    }
    try await apply(group.batches, failing: pushes)
    pushTime.record(duration: ContinuousClock.now - start)
    for (push, outcome) in zip(pushes, group.outcomes) {
      if case .success(let receipt) = outcome { count(push.rows.source.name, receipt) }
      push.receipt.give(outcome)
    }
    for (source, details) in group.details { count(source, details) }
  }

  private func apply(_ batches: [EventBatch], failing pushes: [PendingPush]) async throws {
    do {
      try await applyOnline(batches, for: pushes)
    } catch {
      for push in pushes { push.receipt.give(.failure(error)) }
      throw error
    }
  }
}

extension Ingestor {
  private static func commitTimer(_ kind: String) -> Metrics.Timer {
    Metrics.Timer(label: "martlet_ingest_commit_seconds", dimensions: [("kind", kind)])
  }

  /// Notes that a file's transaction and its way online have ended.
  func committedFile(since start: ContinuousClock.Instant) {
    fileTime.record(duration: ContinuousClock.now - start)
  }

  static let stopping = PlatformError(
    .unavailable, "The platform is stopping and takes no more events; send again when it is back.",
    retryAfter: .seconds(2))

  static func behind(_ error: any Error) -> PlatformError {
    PlatformError(
      .unavailable,
      "Events are stored, but the online state could not take them; a restart rebuilds it from "
        + "the warehouse.",
      cause: error)
  }

  func count(_ source: String, _ receipt: IngestReceipt) {
    totals.withLock { totals in
      let sum = totals[source] ?? IngestReceipt()
      totals[source] = IngestReceipt(
        accepted: sum.accepted + receipt.accepted, duplicates: sum.duplicates + receipt.duplicates,
        quarantined: sum.quarantined + receipt.quarantined,
        unknownFields: sum.unknownFields + receipt.unknownFields)
    }
  }

  // MARK: Being behind

  var behindFault: PlatformError? { shared.withLock { $0.behind } }
  var isClosed: Bool { shared.withLock { $0.queue.isClosed } }

  /// Refuses producers from now on, save streams, and gives back those that wait; whether they were not refused before.
  func holdBack(
    _ refusal: PlatformError
  ) -> (isFirst: Bool, left: (pushes: [PendingPush], exclusives: [ExclusiveWork])) {
    shared.withLock { shared in
      let isFirst = shared.behind == nil
      shared.behind = refusal
      return (isFirst, shared.queue.withdraw { $0.advances.isEmpty })
    }
  }

  /// Takes events again; whether it did not.
  func release() -> Bool {
    shared.withLock { shared in
      defer { shared.behind = nil }
      return shared.behind != nil
    }
  }

  // MARK: What the warehouse has already

  /// Where the stored events of partitions end, nil where nothing is stored; their next push must
  /// begin there.
  func adoptStreams(_ partitions: [StreamPartition]) async throws -> [StreamPartition: Int64?] {
    let stored = try await IngestHistory(warehouse).positions()
    let positions = Dictionary(uniqueKeysWithValues: partitions.map { ($0, stored[$0]) })
    ledger.withLock { $0.adopt(streams: positions) }
    return positions
  }

  /// Learns the ids, sequences and stamps of every source; call before `run`.
  package func restore() async throws {
    for source in definitions.current.project.sources { try await adopt(source.name) }
  }

  /// Throws where a check with `on_fail: stop` failed, and counts it.
  package func refuseStopped(_ rows: ValidatedRows) throws {
    guard let stop = rows.stop else { return }
    var details = IngestDetails()
    details.checkFailures = rows.checkFailures
    count(rows.source.name, details)
    throw stop.error
  }

  /// Learns which keys were erased.
  func readTombstones() async throws {
    let tombstones = try await Tombstones.read(warehouse)
    ledger.withLock { $0.erased(tombstones) }
  }

  /// Learns what the warehouse has of a source, once, and of each `unique` check that the source got since.
  func adopt(_ source: String) async throws {
    guard let definition = definitions.current.project.source(source) else { return }
    if !ledger.withLock({ $0.knowsTombstones }) { try await readTombstones() }
    if !ledger.withLock({ $0.knows(source) }) { try await learn(source) }
    let checks = UniqueCheck.of(definition)
    for check in ledger.withLock({ $0.unread(checks, of: source) }) {
      let index = try await IngestHistory(warehouse).values(
        of: check, in: source, seed: ledger.withLock { $0.seed })
      ledger.withLock { $0.remember(index, of: check, in: source) }
    }
  }

  private func learn(_ source: String) async throws {
    let history = try await IngestHistory(warehouse).read(source, seed: ledger.withLock { $0.seed })
    ledger.withLock {
      $0.adopt(
        source, lastSequence: history.lastSequence, lastStamp: history.lastStamp, ids: history.ids)
      $0.adopt(transform: history.transform, of: source)
    }
  }
}
