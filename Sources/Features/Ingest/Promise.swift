import Synchronization

/// A result that is given once and awaited by one task.
final class Promise<Value: Sendable>: Sendable {
  private enum State {
    case open
    case awaited(CheckedContinuation<Value, any Error>)
    case given(Result<Value, any Error>)
  }

  private let state = Mutex(State.open)

  func give(_ result: Result<Value, any Error>) {
    let waiting: CheckedContinuation<Value, any Error>? = state.withLock { state in
      switch state {
      case .open:
        state = .given(result)
        return nil
      case .awaited(let continuation):
        state = .given(result)
        return continuation
      case .given: return nil
      }
    }
    waiting?.resume(with: result)
  }

  func value() async throws -> Value {
    try await withCheckedThrowingContinuation { continuation in
      let given: Result<Value, any Error>? = state.withLock { state in
        if case .given(let result) = state { return result }
        state = .awaited(continuation)
        return nil
      }
      if let given { continuation.resume(with: given) }
    }
  }
}
