import Core

/// How long Redis keeps the entity keys of a view.
///
/// A key is kept while any answer needs it: every latest value that has no ttl needs it for ever, one with a ttl, or a window,
/// until its last event is out of reach.
package struct KeyExpiry: Sendable, Equatable {
  /// From the newest event to the last instant at which it matters; nil is for ever.
  package let reach: Span?
  private let grace: Span

  package init(_ layout: ViewLayout, isOn: Bool, grace: Span) {
    self.grace = grace
    reach = isOn ? KeyExpiry.reach(of: layout) : nil
  }

  private static func reach(of layout: ViewLayout) -> Span? {
    var longest = Span(microseconds: 0)
    for (_, _, reader) in layout.readers {
      switch reader {
      case .latest(_, nil): return nil
      case .latest(_, let ttl?): longest = max(longest, ttl)
      case .window(_, _, let window):
        // The tail moves in steps of the resolution, so a window is up to one longer.
        let length = window.length.microseconds + window.resolution.microseconds
        longest = max(longest, Span(microseconds: length))
      case .derived: break
      }
    }
    // Rings and columns that no feature reads just now: their ring's horizon is part of the layout.
    for ring in layout.rings {
      let length = ring.horizon.microseconds + ring.resolution.microseconds
      longest = max(longest, Span(microseconds: length))
    }
    return longest.microseconds == 0 ? nil : longest
  }

  /// Milliseconds from `now` until the key may go; −1 is never.
  package func milliseconds(for state: EntityState, now: Timestamp) -> Int64 {
    guard let reach else { return -1 }
    var newest = state.newestEvent
    for event in state.pending { newest = max(newest, event.eventTimestamp) }
    guard newest != .min else { return grace.microseconds / 1_000 + 1 }
    let (end, overflow) = newest.addingReportingOverflow(reach.microseconds)
    if overflow { return -1 }
    let (rest, isFar) = end.subtractingReportingOverflow(now.microseconds)
    if isFar { return end < 0 ? grace.microseconds / 1_000 + 1 : -1 }
    let kept = max(0, rest) / 1_000 + 1 + grace.microseconds / 1_000
    // Redis refuses what does not fit beside its own clock.
    return kept > KeyExpiry.longest ? -1 : kept
  }

  /// A thousand years, in milliseconds.
  private static let longest: Int64 = 31_557_600_000_000
}
