import Core
import Synchronization

/// A clock that stands until it is moved, for demonstrations and backtests; it never goes back.
package final class SimulatedClock: WallClock {
  private let time: Atomic<Int64>

  package init(start: Timestamp) { time = Atomic(start.microseconds) }

  package var now: Timestamp { Timestamp(microseconds: time.load(ordering: .relaxed)) }

  /// The clock's time afterwards: `to`, or what it was where that is later.
  package func advance(to target: Timestamp) -> Timestamp {
    let (_, newValue) = time.max(target.microseconds, ordering: .relaxed)
    return Timestamp(microseconds: newValue)
  }
}
