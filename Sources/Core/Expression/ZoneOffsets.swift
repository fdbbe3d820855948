import Foundation
import Synchronization

/// Offsets of one IANA zone from UTC, cached in stretches of time so that a lookup is a few
/// nanoseconds.
///
/// Guarantees: exact to the second for zones whose offset changes at most once in twelve days;
/// safe to share.
package final class ZoneOffsets: Sendable {
  /// Offsets around at most one change, in seconds.
  struct Stretch: Sendable {
    var start: Int64
    var change: Int64
    var before: Int64
    var after: Int64
  }

  private static let length: Int64 = 1 << 20
  private static let maximumStretches = 16_384
  private static let known = Mutex<[String: ZoneOffsets]>([:])

  private let zone: TimeZone
  private let stretches = Mutex<[Int64: Stretch]>([:])

  private init(_ zone: TimeZone) { self.zone = zone }

  /// The offsets of the zone of that IANA name; nil for an unknown name.
  package static func of(_ name: String) -> ZoneOffsets? {
    if let found = known.withLock({ $0[name] }) { return found }
    guard let zone = TimeZone(identifier: name) else { return nil }
    let made = ZoneOffsets(zone)
    return known.withLock { known in
      if let found = known[name] { return found }
      if known.count >= 1_024 { known.removeAll() }
      known[name] = made
      return made
    }
  }

  /// A reader for many lookups; it remembers the stretch it read last.
  package func reader() -> Reader { Reader(offsets: self) }

  fileprivate func stretch(at second: Int64) -> Stretch {
    let start = floorMultiple(second, ZoneOffsets.length)
    if let found = stretches.withLock({ $0[start] }) { return found }
    let end = start + ZoneOffsets.length
    let before = offset(start)
    let after = offset(end - 1)
    var change = end
    if before != after {
      var low = start
      change = end - 1
      // The first second with the later offset lies in (low, change].
      while change - low > 1 {
        let middle = low + (change - low) / 2
        if offset(middle) == before { low = middle } else { change = middle }
      }
    }
    let made = Stretch(start: start, change: change, before: before, after: after)
    stretches.withLock { stretches in
      if stretches.count >= ZoneOffsets.maximumStretches { stretches.removeAll() }
      stretches[start] = made
    }
    return made
  }

  private func offset(_ second: Int64) -> Int64 {
    Int64(zone.secondsFromGMT(for: Date(timeIntervalSince1970: Double(second))))
  }

  package struct Reader {
    private let offsets: ZoneOffsets
    private var stretch: Stretch

    fileprivate init(offsets: ZoneOffsets) {
      self.offsets = offsets
      stretch = offsets.stretch(at: 0)
    }

    /// Seconds east of Greenwich at a UTC second.
    package mutating func offset(at second: Int64) -> Int64 {
      if second < stretch.start || second >= stretch.start + ZoneOffsets.length {
        stretch = offsets.stretch(at: second)
      }
      return second < stretch.change ? stretch.before : stretch.after
    }

    /// The local reading of an instant, both in microseconds.
    package mutating func local(_ microseconds: Int64) -> Int64 {
      microseconds &+ offset(at: floorMultiple(microseconds, 1_000_000) / 1_000_000) &* 1_000_000
    }

    /// The instant of a local reading, both in microseconds.
    ///
    /// A reading that occurs twice (clocks set back) is the first one. One that never occurs
    /// (clocks set forward) is read with the offset before the change: 02:30 becomes the instant
    /// that clocks showed as 03:30.
    package mutating func instant(ofLocal microseconds: Int64) -> Int64 {
      let local = floorMultiple(microseconds, 1_000_000) / 1_000_000
      let guess = local - stretch.before
      if stretch.before == stretch.after, guess >= stretch.start + 86_400,
        guess < stretch.start + ZoneOffsets.length - 86_400
      {
        return microseconds &- stretch.before &* 1_000_000
      }
      let earlier = offset(at: local - 86_400)
      let later = offset(at: local + 86_400)
      if earlier != later, offset(at: local - earlier) != earlier,
        offset(at: local - later) == later
      {
        return microseconds &- later &* 1_000_000
      }
      return microseconds &- earlier &* 1_000_000
    }
  }
}
