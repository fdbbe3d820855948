import Core
import Synchronization

/// How far the partitions that this process reads are in both stores, for those who wait for it.
package final class AppliedOffsets: Sendable {
  private struct Waiter {
    var left: [StreamPartition: Int64]
    var continuation: CheckedContinuation<Void, any Error>
  }

  private struct State {
    var next: [StreamPartition: Int64] = [:]
    var waiters: [UInt64: Waiter] = [:]
    var nextID: UInt64 = 0
  }

  private let state = Mutex(State())

  /// The offset after the last record of a partition that is stored and online.
  package func position(of partition: StreamPartition) -> Int64? {
    state.withLock { $0.next[partition] }
  }

  /// Returns when everything before these offsets is durable and can be read online.
  ///
  /// Only what this process reads is seen: bound the waiting, or ask for partitions that are read here.
  /// Throws `CancellationError` when the task is cancelled.
  package func wait(for offsets: [StreamOffset]) async throws {
    let id = state.withLock { state in
      state.nextID += 1
      return state.nextID
    }
    try await withTaskCancellationHandler {
      try await withCheckedThrowingContinuation { continuation in
        let result: Result<Void, any Error>? = state.withLock { state in
          if Task.isCancelled { return .failure(CancellationError()) }
          var left: [StreamPartition: Int64] = [:]
          for offset in offsets where (state.next[offset.partition] ?? 0) < offset.next {
            left[offset.partition] = max(left[offset.partition] ?? 0, offset.next)
          }
          if left.isEmpty { return .success(()) }
          state.waiters[id] = Waiter(left: left, continuation: continuation)
          return nil
        }
        if let result { continuation.resume(with: result) }
      }
    } onCancel: {
      state.withLock { $0.waiters.removeValue(forKey: id) }?.continuation.resume(
        throwing: CancellationError())
    }
  }

  func advance(_ offsets: [StreamOffset]) {
    let done = state.withLock { state in
      for offset in offsets {
        state.next[offset.partition] = max(state.next[offset.partition] ?? 0, offset.next)
      }
      var done: [CheckedContinuation<Void, any Error>] = []
      for (id, waiter) in state.waiters {
        let left = waiter.left.filter { (state.next[$0.key] ?? 0) < $0.value }
        if left.isEmpty {
          done.append(waiter.continuation)
          state.waiters[id] = nil
        } else {
          state.waiters[id]?.left = left
        }
      }
      return done
    }
    for continuation in done { continuation.resume() }
  }
}
