import Core

/// How new some events are at any instant from now on: the newest that has come by then, and those that are dated later.
///
/// Of events that are dated ahead the first of each minute is kept, of at most `Limits.futureMinutes` minutes, the nearest
/// ones; so an age is right to the minute once their time has come. All times are in microseconds.
package struct EventTimes: Sendable, Equatable {
  private static let minute: Int64 = 60_000_000

  /// The newest that was not dated ahead when it was noted.
  private var past: Int64?
  /// Dated ahead when they were noted, ascending, no two of one minute.
  private var ahead: [Int64] = []
  /// The greatest of all.
  package private(set) var last: Int64?

  package init() {}

  package init(_ times: some Sequence<Int64>, now: Int64) {
    for time in times { note(time, now: now) }
  }

  package mutating func note(_ time: Int64, now: Int64) {
    last = max(last ?? time, time)
    if time <= now { past = max(past ?? time, time) } else { keep(time) }
  }

  package mutating func merge(_ other: EventTimes) {
    if let time = other.past { past = max(past ?? time, time) }
    if let time = other.last { last = max(last ?? time, time) }
    for time in other.ahead { keep(time) }
  }

  /// The newest that has come by `now`; nil where none has.
  package func newest(at now: Int64) -> Int64? {
    let come = ahead[..<firstAhead { $0 > now }].last
    return [past, come].compactMap { $0 }.max()
  }

  private mutating func keep(_ time: Int64) {
    let minute = Self.minute(of: time)
    let place = firstAhead { Self.minute(of: $0) >= minute }
    if place < ahead.count, Self.minute(of: ahead[place]) == minute {
      ahead[place] = min(ahead[place], time)
    } else if ahead.count < Limits.futureMinutes {
      ahead.insert(time, at: place)
    } else if place < ahead.count {
      ahead.removeLast()
      ahead.insert(time, at: place)
    }
  }

  private static func minute(of time: Int64) -> Int64 {
    let (quotient, remainder) = time.quotientAndRemainder(dividingBy: minute)
    return remainder < 0 ? quotient - 1 : quotient
  }

  /// The first place whose time meets a condition that all later ones meet too.
  private func firstAhead(_ condition: (Int64) -> Bool) -> Int {
    var (low, high) = (0, ahead.count)
    while low < high {
      let middle = (low + high) / 2
      if condition(ahead[middle]) { high = middle } else { low = middle + 1 }
    }
    return low
  }
}

/// How new the events of a source or a view are at one instant.
package struct Freshness: Sendable, Equatable {
  /// The newest event whose time has come; nil where there is none.
  package var newest: Timestamp?
  /// The one that is dated furthest ahead; nil where none is.
  package var furthestAhead: Timestamp?

  init(_ times: EventTimes, at now: Timestamp) {
    newest = times.newest(at: now.microseconds).map(Timestamp.init(microseconds:))
    furthestAhead =
      times.last.flatMap { $0 > now.microseconds ? $0 : nil }.map(Timestamp.init(microseconds:))
  }
}
