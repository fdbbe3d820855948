import Core
import Logging
import Metrics
import Synchronization

/// What one membership claims of partitions for its warehouse, and what it knows of the claims of others.
///
/// The claim comes before the warehouse's transaction: whoever dies between the two has the records to store when it is back, and nobody
/// else ever stores them. A process that was thought dead is refused from the moment on at which another takes its partitions.
final class StreamClaims: Sendable {
  private struct State {
    /// The ends of what was claimed and of what is stored in this membership.
    var claimed: [StreamPartition: Int64] = [:]
    var stored: [StreamPartition: Int64] = [:]
    /// Partitions of which others have claimed records that they have not stored.
    var owed: Set<StreamPartition> = []
  }

  private static let firstPause = Duration.milliseconds(50)
  private static let longestPause = Duration.seconds(1)

  let ledger: any StreamLedger
  let reader: StreamReader
  private let log: Logger
  private let state = Mutex(State())

  init(_ ledger: any StreamLedger, warehouse: String, log: Logger) {
    self.ledger = ledger
    self.log = log
    reader = StreamReader(
      warehouse: warehouse, member: String(UInt64.random(in: .min ... .max), radix: 36))
  }

  /// Takes partitions; returns the offsets that nobody has claimed yet.
  func take(_ stored: [StreamPartition: Int64?]) async throws -> [StreamPartition: Int64] {
    let found = try await lasting { try await self.ledger.take(stored, as: self.reader) }
    state.withLock { state in
      for partition in stored.keys { state.claimed[partition] = nil }
    }
    for (partition, shares) in found.sorted(by: { $0.key < $1.key }) {
      note(partition, owed: shares.owed(toOthersThan: reader.warehouse))
      for share in shares.owed(toOthersThan: reader.warehouse) {
        log.warning(
          "another process has claimed records and not stored them yet; they count when it is back",
          metadata: [
            "partition": "\(partition)", "offsets": "\(share.start)..<\(share.end)",
            "warehouse": "\(share.warehouse)",
          ])
      }
    }
    return found.compactMapValues(\.end)
  }

  /// Makes records ours before they are stored, however long the ledger is away; returns them without those whose events other records
  /// have brought.
  ///
  /// Throws `.conflict` where another process reads a partition by now.
  func claim(_ pushes: [StreamPush]) async throws -> [StreamPush] {
    // Ids belong to records, whoever stores them: it does not matter what is claimed first.
    async let kept = withoutKnown(pushes)
    try await claim(pushes.flatMap(\.claims))
    return try await kept
  }

  private func claim(_ claims: [StreamClaim]) async throws {
    let refused = try await lasting { try await self.ledger.claim(claims, as: self.reader) }
    state.withLock { state in
      for claim in claims where !refused.contains(claim.partition) {
        state.claimed[claim.partition] = claim.next
      }
    }
    guard refused.isEmpty else { throw PlatformError.takenStream(refused) }
  }

  /// Repeats a call until the ledger is there or the task is cancelled: without it nothing can be stored online either.
  func lasting<Result: Sendable>(
    _ call: @Sendable () async throws -> Result
  ) async throws -> Result {
    var pause = Self.firstPause
    while true {
      do {
        return try await call()
      } catch let error as PlatformError where error.retryable {
        if pause == Self.firstPause {
          log.warning("reading from Kafka waits for the ledger of claims: \(error.message)")
        }
        try await Task.sleep(for: pause)
        pause = min(pause * 2, Self.longestPause)
      }
    }
  }

  /// Both stores have everything before these offsets.
  func stored(_ offsets: [StreamOffset]) async throws {
    state.withLock { state in
      for offset in offsets {
        state.stored[offset.partition] = max(
          offset.next, state.stored[offset.partition] ?? offset.next)
      }
    }
    try await note(offsets)
  }

  func note(_ offsets: [StreamOffset]) async throws {
    if offsets.isEmpty { return }
    try await lasting { try await self.ledger.note(offsets, in: self.reader.warehouse) }
  }

  /// Partitions of which something was claimed that is not known to be stored.
  var unsettled: [StreamPartition] {
    state.withLock { state in
      state.claimed.compactMap { partition, end in
        (state.stored[partition] ?? .min) < end ? partition : nil
      }
    }
  }

  /// Gives back what will not be stored by this membership; nothing of it is on its way any more.
  func giveBack(_ stored: [StreamPartition: Int64?]) async throws {
    let ends = stored.map { StreamOffset(partition: $0.key, next: $0.value ?? 0) }
    try await ledger.giveBack(ends, as: reader)
  }

  // MARK: Others

  /// Whether all records before the offsets that are read here are stored by somebody.
  func isOwed(_ partition: StreamPartition) -> Bool {
    state.withLock { $0.owed.contains(partition) }
  }

  /// Looks whether others have stored by now what they had claimed.
  func refresh() async throws {
    let owed = state.withLock { $0.owed }
    guard !owed.isEmpty else { return }
    for (partition, shares) in try await ledger.look(at: owed.sorted()) {
      note(partition, owed: shares.owed(toOthersThan: reader.warehouse))
    }
  }

  /// Others have these partitions now, and watch them.
  func forget(_ partitions: [StreamPartition]) {
    for partition in partitions { note(partition, owed: []) }
  }

  func forgetAll() { forget(Array(state.withLock { $0.owed })) }

  private func note(_ partition: StreamPartition, owed: [StreamShare]) {
    let wasOwed = state.withLock { state in
      owed.isEmpty ? state.owed.remove(partition) != nil : !state.owed.insert(partition).inserted
    }
    guard wasOwed || !owed.isEmpty else { return }
    Gauge(
      label: "martlet_kafka_unstored_records",
      dimensions: [("topic", partition.topic), ("partition", "\(partition.partition)")]
    ).record(owed.reduce(0) { $0 + ($1.end - $1.start) })
  }
}

extension PlatformError {
  static func takenStream(_ partitions: [StreamPartition]) -> PlatformError {
    PlatformError(
      .conflict,
      "another process of the group reads \(partitions.sorted().map(\.description).joined(separator: ", ")) by now, since this one was not heard "
        + "of for longer than its session lasts; nothing of the batch is stored, and reading begins anew",
      retryable: true)
  }
}
