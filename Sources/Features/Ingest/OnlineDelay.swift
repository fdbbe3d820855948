import Core
import Logging

// How the committer goes on where the online store is away.
extension Ingestor {
  private static let pauses = (first: Duration.milliseconds(100), longest: Duration.seconds(5))

  /// Whether stored events wait for the online store.
  package var isBehind: Bool { behindFault != nil }

  /// Brings stored events online.
  ///
  /// - Parameter pushes: who is told while it takes long.
  func applyOnline(_ batches: [EventBatch], for pushes: [PendingPush] = []) async throws {
    guard !batches.isEmpty else { return }
    try await bringOnline(for: pushes) { try await applier.apply(batches) }
    ledger.withLock { ledger in
      for batch in batches {
        if let last = batch.sequences.last { ledger.applied(batch.source, through: last) }
      }
    }
  }

  /// Repeats work on the online store until it succeeds. What fails for good is not to be survived, since the state lacks
  /// events until it is rebuilt.
  func bringOnline(
    for pushes: [PendingPush] = [], _ work: () async throws -> Void
  ) async throws {
    var pause = Ingestor.pauses.first
    while true {
      do {
        try await work()
        return catchUp()
      } catch let error as PlatformError where error.retryable && !isClosed {
        fallBehind(error, telling: pushes)
      } catch {
        throw Ingestor.behind(error)
      }
      try? await Task.sleep(for: pause)
      pause = min(pause * 2, Ingestor.pauses.longest)
    }
  }

  private func fallBehind(_ cause: PlatformError, telling pushes: [PendingPush]) {
    let refusal = PlatformError(
      .unavailable, "the online store is away, so that no events are taken; send them again later",
      cause: cause, retryAfter: .seconds(2))
    let (isFirst, left) = holdBack(refusal)
    for push in left.pushes {
      push.entry.give(.failure(refusal))
      push.receipt.give(.failure(refusal))
    }
    for work in left.exclusives { work.refuse(refusal) }
    guard isFirst else { return }
    log.error(
      "the online store cannot take events; they are stored, and wait for it",
      metadata: ["error": "\(cause)"])
    let stored = PlatformError(
      .unavailable,
      "the events are stored, but the online store is away: they can be read once it is back; "
        + "sent again with the same ids they count once",
      cause: cause, retryAfter: .seconds(2))
    // A stream waits for its stores; nobody else reads it meanwhile.
    for push in pushes where push.advances.isEmpty { push.receipt.give(.failure(stored)) }
  }

  private func catchUp() {
    if release() { log.notice("the online store has taken the events that waited for it") }
  }
}
