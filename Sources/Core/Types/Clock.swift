import Foundation

/// Where "now" comes from; injected so that tests decide what time it is.
package protocol WallClock: Sendable {
  var now: Timestamp { get }
}

/// The machine's clock, UTC, to the microsecond.
package struct SystemClock: WallClock {
  package init() {}

  package var now: Timestamp {
    var time = timespec()
    clock_gettime(CLOCK_REALTIME, &time)
    return Timestamp(
      microseconds: Int64(time.tv_sec) * 1_000_000 + Int64(time.tv_nsec) / 1_000)
  }
}
