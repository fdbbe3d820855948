import Synchronization

/// Work that many may ask for at once and that is done once for all of them.
final class SharedAttempt<Result: Sendable>: Sendable {
  private typealias Waiter = CheckedContinuation<Result, any Error>

  /// Nil while nobody is at it.
  private let waiters = Mutex<[Waiter]?>(nil)

  /// Does the work, or waits for the one who does it already.
  func run(_ work: () async throws -> Result) async throws -> Result {
    let isFirst = waiters.withLock { waiters in
      if waiters != nil { return false }
      waiters = []
      return true
    }
    if !isFirst {
      return try await withCheckedThrowingContinuation { (waiter: Waiter) in
        let isLate = waiters.withLock { waiters in
          waiters?.append(waiter)
          return waiters == nil
        }
        // It was done between the two looks; the caller asks again.
        if isLate { waiter.resume(throwing: SharedAttemptMissed()) }
      }
    }
    let result: Swift.Result<Result, any Error>
    do { result = .success(try await work()) } catch { result = .failure(error) }
    let waiting = waiters.withLock { waiters in
      defer { waiters = nil }
      return waiters ?? []
    }
    for waiter in waiting { waiter.resume(with: result) }
    return try result.get()
  }
}

/// The attempt that was to be shared had just ended.
struct SharedAttemptMissed: Error {}
