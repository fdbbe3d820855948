import Synchronization

/// A value that is replaced as a whole: readers take the current one without waiting, watchers get every change.
///
/// Guarantees: `current` never blocks for longer than a pointer copy; a watcher sees the value at the time of its call
/// and then at least the latest of every series of changes (values in between may be skipped).
package final class Published<State: Sendable>: Sendable {
  private struct Inner {
    var value: State
    var watchers: [UInt64: AsyncStream<State>.Continuation] = [:]
    var nextWatcher: UInt64 = 0
  }

  private let inner: Mutex<Inner>

  package init(_ value: State) { inner = Mutex(Inner(value: value)) }

  package var current: State { inner.withLock { $0.value } }

  package func publish(_ value: State) {
    let watchers = inner.withLock { inner in
      inner.value = value
      return Array(inner.watchers.values)
    }
    for watcher in watchers { watcher.yield(value) }
  }

  /// The current value and then every newer one; ends when the consumer stops.
  package func changes() -> AsyncStream<State> {
    AsyncStream(bufferingPolicy: .bufferingNewest(1)) { continuation in
      let (id, value) = inner.withLock { inner in
        inner.nextWatcher += 1
        inner.watchers[inner.nextWatcher] = continuation
        return (inner.nextWatcher, inner.value)
      }
      continuation.yield(value)
      continuation.onTermination = { [weak self] _ in
        self?.inner.withLock { inner in
          // The last reference may go here: release it outside the lock.
          inner.watchers.removeValue(forKey: id)
        }.map { _ in () }
      }
    }
  }
}
