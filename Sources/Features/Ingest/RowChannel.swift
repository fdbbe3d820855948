import Core
import Foundation
import Synchronization

/// Validated chunks of a file between the thread that reads and the thread that stores, bounded by
/// rows.
///
/// Both ends block; neither may be a cooperative thread. `ready` tells an asynchronous task when
/// there is reason to begin storing: `readyAt` rows wait or the reading has ended.
final class RowChannel: Sendable {
  fileprivate struct State {
    var chunks: [ValidatedRows] = []
    var next = 0
    var rows = 0
    var isFinished = false
    var failure: (any Error)?
  }

  private let condition = NSCondition()
  private let state = Mutex(State())
  private let capacity: Int
  private let readyAt: Int
  private let readiness = Promise<Void>()

  init(capacity: Int, readyAt: Int? = nil) {
    self.capacity = capacity
    self.readyAt = min(capacity, readyAt ?? capacity)
  }

  /// Returns once storing should begin; throws where reading failed before.
  func ready() async throws { try await readiness.value() }

  /// Waits for room; throws where the storing end has given up.
  func put(_ chunk: ValidatedRows) throws {
    condition.lock()
    defer { condition.unlock() }
    while true {
      let (failure, isFull) = state.withLock { ($0.failure, $0.rows >= capacity) }
      if let failure { throw failure }
      guard isFull else { break }
      condition.wait()
    }
    let isReady = state.withLock { state in
      state.chunks.append(chunk)
      state.rows += chunk.count + chunk.quarantined.count
      return state.rows >= readyAt
    }
    if isReady { readiness.give(.success(())) }
    condition.broadcast()
  }

  /// No more chunks come.
  func finish() {
    condition.lock()
    state.withLock { $0.isFinished = true }
    condition.broadcast()
    condition.unlock()
    readiness.give(.success(()))
  }

  /// Ends both sides with an error.
  func fail(_ error: any Error) {
    condition.lock()
    state.withLock { state in
      if state.failure == nil { state.failure = error }
      state.chunks = []
    }
    condition.broadcast()
    condition.unlock()
    readiness.give(.failure(error))
  }

  /// The next chunk, nil at the end; throws where reading failed.
  func take() throws -> ValidatedRows? {
    condition.lock()
    defer { condition.unlock() }
    while true {
      let (failure, chunk, isFinished) = state.withLock { state in
        (state.failure, state.takeNext(), state.isFinished)
      }
      if let failure { throw failure }
      if let chunk {
        condition.broadcast()
        return chunk
      }
      if isFinished { return nil }
      condition.wait()
    }
  }
}

extension RowChannel.State {
  fileprivate mutating func takeNext() -> ValidatedRows? {
    guard failure == nil, next < chunks.count else { return nil }
    let chunk = chunks[next]
    next += 1
    rows -= chunk.count + chunk.quarantined.count
    if next == chunks.count || next == 64 {
      chunks.removeFirst(next)
      next = 0
    }
    return chunk
  }
}
