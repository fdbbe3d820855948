import Core
import Synchronization

/// A clock that stands still until a test moves it.
package final class TestClock: WallClock {
  private let time: Mutex<Timestamp>

  package init(_ time: Timestamp = Timestamp(microseconds: 1_700_000_000_000_000)) {
    self.time = Mutex(time)
  }

  package var now: Timestamp { time.withLock { $0 } }

  package func set(_ time: Timestamp) { self.time.withLock { $0 = time } }

  package func advance(by span: Span) { time.withLock { $0 = $0 + span } }
}
