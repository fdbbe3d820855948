import DequeModule
import Synchronization

/// Lets one piece of asynchronous work in at a time, in the order of arrival.
///
/// Unlike an actor it stays closed while the work inside waits.
package final class SerialGate: Sendable {
  private struct State {
    var isHeld = false
    var waiting: Deque<CheckedContinuation<Void, Never>> = []
  }

  private let state = Mutex(State())

  package init() {}

  package func pass<Result>(
    isolation: isolated (any Actor)? = #isolation, _ work: () async throws -> Result
  ) async rethrows -> Result {
    await enter()
    defer { leave() }
    return try await work()
  }

  private func enter() async {
    let isFree = state.withLock { state in
      if state.isHeld { return false }
      state.isHeld = true
      return true
    }
    if isFree { return }
    await withCheckedContinuation { continuation in
      let isFree = state.withLock { state in
        if state.isHeld {
          state.waiting.append(continuation)
          return false
        }
        state.isHeld = true
        return true
      }
      if isFree { continuation.resume() }
    }
  }

  private func leave() {
    let next = state.withLock { state in
      let next = state.waiting.popFirst()
      state.isHeld = next != nil
      return next
    }
    next?.resume()
  }
}
