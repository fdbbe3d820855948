import Core
import Logging
import Metrics
import Synchronization

/// Brings records of a stream in: group → batch → rows → one warehouse transaction with the offsets → online state →
/// the group's offsets.
///
/// Guarantees (semantics §11):
/// - A record is counted once in this warehouse and in the online store, whenever the process dies: the position is stored in the
///   transaction that stores the events, reading begins there, and of two readers of a partition one is refused.
/// - Of warehouses that share a group and a ledger one stores it: that which claimed it first (docs/internals/delivery.md).
/// - Offsets are committed to the group only after both stores have the events.
/// - A record that is no event goes to quarantine whole, as `kafka TOPIC/PARTITION/OFFSET`, and stops nothing.
/// - A full ingest queue holds the stream back, and a full stream its brokers.
/// - A store that fails ends the membership; after a pause, which doubles up to half a minute, reading begins anew.
package final class StreamIngest: Sendable {
  package typealias Open = @Sendable (_ topics: [String]) async throws -> any EventStream

  private static let longestPause = Duration.seconds(30)

  private let ingestor: Ingestor
  private let definitions: Published<Snapshot>
  private let open: Open
  private let group: (any GroupProgress)?
  let ledger: (any StreamLedger)?
  private let ranges: (any StreamRanges)?
  private let warehouse: String
  private let firstPause: Duration
  private let log: Logger
  private let session = Mutex<StreamSession?>(nil)
  private let failure = Mutex<String?>(nil)
  private let rebalances = (
    assigned: Counter(label: "martlet_kafka_rebalances_total", dimensions: [("kind", "assigned")]),
    revoked: Counter(label: "martlet_kafka_rebalances_total", dimensions: [("kind", "revoked")]),
    lost: Counter(label: "martlet_kafka_rebalances_total", dimensions: [("kind", "lost")])
  )

  /// How far this process has come.
  package let applied = AppliedOffsets()

  /// - Parameters:
  ///   - group: how far the group is, and which warehouses have the events; nil where this is the only one.
  ///   - ledger: which warehouse has which records; nil where no others share the group.
  ///   - ranges: reads again what was claimed before a death; needed with a ledger.
  ///   - warehouse: which one the ingestor stores into.
  ///   - open: joins the group for these topics; called again after a failure and when the definitions name other topics.
  package init(
    ingestor: Ingestor, definitions: Published<Snapshot>, group: (any GroupProgress)? = nil,
    ledger: (any StreamLedger)? = nil, ranges: (any StreamRanges)? = nil,
    warehouse: String = "", pause: Duration = .seconds(1),
    log: Logger = Logger(label: "martlet.kafka"), open: @escaping Open
  ) {
    self.ingestor = ingestor
    self.definitions = definitions
    self.open = open
    self.group = group
    self.ledger = ledger
    self.ranges = ranges
    self.warehouse = warehouse
    self.log = log
    firstPause = pause
  }

  /// Of the partitions that this process reads now.
  package var lag: [StreamLag] { session.withLock { $0 }?.stream.lag ?? [] }

  /// Where this process stands with its group.
  package enum Standing: Sendable, Equatable {
    /// No source names a topic.
    case idle
    /// Waiting for the group to give partitions.
    case joining
    case reading(partitions: Int)
    /// Reading failed and begins anew after a pause.
    case failing
  }

  package var standing: Standing {
    if let session = session.withLock({ $0 }) {
      let count = session.partitions
      return count == 0 ? .joining : .reading(partitions: count)
    }
    if topics.isEmpty { return .idle }
    return failure.withLock { $0 } == nil ? .joining : .failing
  }

  /// Those that sources name, in the order of their names.
  package var topics: [String] { StreamRecords(definitions.current).topics }

  /// The last one since something was stored.
  package var lastFailure: String? { failure.withLock { $0 } }

  /// Whether this process reads a partition now.
  package func reads(_ partition: StreamPartition) -> Bool {
    session.withLock { $0 }?.reads(partition) ?? false
  }

  /// Reads until the task is cancelled, then finishes what is on its way and leaves.
  ///
  /// The ingestor must run until this has returned.
  package func run() async {
    var pause = firstPause
    while !Task.isCancelled {
      let records = StreamRecords(definitions.current)
      guard !records.topics.isEmpty else {
        await otherTopics(than: records.topics)
        continue
      }
      var hasStored = false
      do {
        try await serve(records.topics, &hasStored)
      } catch {
        if Task.isCancelled { return }
        if hasStored { pause = firstPause }
        report(error, pause)
        try? await Task.sleep(for: pause)
        pause = min(pause * 2, Self.longestPause)
      }
    }
  }

  private func report(_ error: any Error, _ pause: Duration) {
    let code = (error as? PlatformError)?.code.rawValue ?? "internal"
    Counter(label: "martlet_kafka_failures_total", dimensions: [("code", code)]).increment()
    failure.withLock { $0 = "\(error)" }
    log.error(
      "reading from Kafka stopped and begins anew in \(pause)", metadata: ["error": "\(error)"])
  }

  /// One membership, until the topics change or the task is cancelled.
  private func serve(_ topics: [String], _ hasStored: inout Bool) async throws {
    let claims = ledger.map { StreamClaims($0, warehouse: warehouse, log: log) }
    if let claims, let ranges {
      let debts = StreamDebts(
        claims: claims, ranges: ranges, ingestor: ingestor, definitions: definitions, log: log)
      try await debts.pay(of: topics)
    }
    let stream = try await open(topics)
    let session = StreamSession(
      stream: stream, ingestor: ingestor, definitions: definitions, applied: applied,
      group: group, claims: claims, warehouse: warehouse, log: log)
    self.session.withLock { $0 = session }
    defer { self.session.withLock { $0 = nil } }
    defer { hasStored = session.hasStored }
    do {
      try await withThrowingTaskGroup(of: Void.self) { group in
        group.addTask { try await self.serve(session) }
        group.addTask { await self.otherTopics(than: topics) }
        if claims != nil { group.addTask { await session.watchOthers() } }
        try await group.next()
        group.cancelAll()
        try await group.waitForAll()
      }
    } catch {
      await session.giveBack()
      await stream.close()
      // Whoever was stopped while it waited for a store has nothing to say.
      if session.failure == nil, error is CancellationError { return }
      throw session.failure ?? error
    }
    await session.giveBack()
    await stream.close()
  }

  /// Returns when sources name other topics than these, or the task is cancelled.
  package func otherTopics(than topics: [String]) async {
    for await snapshot in definitions.changes() where StreamRecords(snapshot).topics != topics {
      return
    }
  }

  private func serve(_ session: StreamSession) async throws {
    try await withThrowingTaskGroup(of: Void.self) { underWay in
      var count = 0
      while let event = try await session.stream.next() {
        switch event {
        case .assigned(let partitions):
          rebalances.assigned.increment()
          try await session.begin(partitions)
        case .batch(let batch):
          guard let delivery = try await session.submit(batch) else { continue }
          if count == Limits.streamBatchesInFlight {
            try await underWay.next()
            count -= 1
          }
          underWay.addTask {
            try await session.settle(delivery)
            self.failure.withLock { $0 = nil }
          }
          count += 1
        case .revoked(let partitions, let isLost):
          (isLost ? rebalances.lost : rebalances.revoked).increment()
          while count > 0 {
            try await underWay.next()
            count -= 1
          }
          try await session.end(partitions, isLost: isLost)
        }
      }
      try await underWay.waitForAll()
    }
  }
}
