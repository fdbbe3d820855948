import Foundation

/// Five cron fields (minute, hour, day of month, month, day of week), read in a time zone.
///
/// Lists, ranges, steps and the English three-letter names are known; Sunday is 0 or 7. Where both days are restricted a day
/// that matches either one counts, as in Vixie cron. A local time that a change of clocks leaves out is skipped; one that
/// it repeats fires once, the first time.
package struct CronSchedule: Sendable, Equatable {
  private var minutes: Set<Int>
  private var hours: Set<Int>
  private var days: Set<Int>
  private var months: Set<Int>
  private var weekdays: Set<Int>
  private var dayIsAny: Bool
  private var weekdayIsAny: Bool

  private static let monthNames = [
    "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec",
  ]
  private static let weekdayNames = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"]

  package init(_ text: String) throws(PlatformError) {
    let fields = text.split(whereSeparator: \.isWhitespace).map(String.init)
    guard fields.count == 5 else {
      throw PlatformError(
        .invalidArgument,
        "the schedule '\(text)' has \(fields.count) fields instead of 5: minute hour day month weekday, as in \"0 2 * * SUN\""
      )
    }
    minutes = try Self.field(fields[0], "minute", 0...59)
    hours = try Self.field(fields[1], "hour", 0...23)
    days = try Self.field(fields[2], "day", 1...31)
    months = try Self.field(fields[3], "month", 1...12, names: Self.monthNames, firstName: 1)
    let raw = try Self.field(fields[4], "weekday", 0...7, names: Self.weekdayNames, firstName: 0)
    weekdays = Set(raw.map { $0 % 7 })
    dayIsAny = fields[2].hasPrefix("*")
    weekdayIsAny = fields[4].hasPrefix("*")
    if next(after: Timestamp(microseconds: 0), in: .gmt) == nil {
      throw PlatformError(
        .invalidArgument,
        "the schedule '\(text)' never comes: none of its months has day \(fields[2])")
    }
  }

  private static func field(
    _ text: String, _ name: String, _ range: ClosedRange<Int>, names: [String] = [],
    firstName: Int = 0
  ) throws(PlatformError) -> Set<Int> {
    func refuse(_ part: String) -> PlatformError {
      PlatformError(
        .invalidArgument,
        "'\(part)' is not a \(name) of a schedule; write \(range.lowerBound)–\(range.upperBound), a list (1,15), a range (1-5), a step (*/10) or *"
      )
    }
    func number(_ part: Substring) -> Int? {
      if let index = names.firstIndex(of: part.lowercased()) { return index + firstName }
      return Int(part).flatMap { range.contains($0) ? $0 : nil }
    }
    var found: Set<Int> = []
    for part in text.split(separator: ",", omittingEmptySubsequences: false) {
      let pieces = part.split(separator: "/", omittingEmptySubsequences: false)
      guard let body = pieces.first, pieces.count <= 2 else { throw refuse(String(part)) }
      var step = 1
      if pieces.count == 2 {
        guard let value = Int(pieces[1]), value > 0 else { throw refuse(String(part)) }
        step = value
      }
      let bounds = body.split(separator: "-", omittingEmptySubsequences: false)
      if body == "*" {
        found.formUnion(stride(from: range.lowerBound, through: range.upperBound, by: step))
      } else if bounds.count == 2, let low = number(bounds[0]), let high = number(bounds[1]),
        low <= high
      {
        found.formUnion(stride(from: low, through: high, by: step))
      } else if bounds.count == 1, let value = number(bounds[0]) {
        let last = pieces.count == 2 ? range.upperBound : value
        found.formUnion(stride(from: value, through: last, by: step))
      } else {
        throw refuse(String(part))
      }
    }
    return found
  }

  /// The first time after `time` that the schedule names, nil where a change of clocks leaves out all of eight years.
  package func next(after time: Timestamp, in zone: TimeZone) -> Timestamp? {
    let offset = Int64(
      zone.secondsFromGMT(for: Date(timeIntervalSince1970: Double(time.microseconds) / 1e6)))
    var day = Timestamp(microseconds: time.microseconds + offset * 1_000_000).splitDays.days
    for _ in 0...(8 * 366) {
      if matches(day: day) {
        for hour in hours.sorted() {
          for minute in minutes.sorted() {
            let local = day * 86_400 + Int64(hour * 3_600 + minute * 60)
            guard let instant = Self.instant(ofLocal: local, in: zone), instant > time else {
              continue
            }
            return instant
          }
        }
      }
      day += 1
    }
    return nil
  }

  private func matches(day: Int64) -> Bool {
    let date = Timestamp.civil(fromDays: day)
    guard months.contains(Int(date.month)) else { return false }
    // 1970-01-01 was a Thursday.
    let weekday = Int((day % 7 + 11) % 7)
    let dayMatches = days.contains(Int(date.day))
    let weekdayMatches = weekdays.contains(weekday)
    if dayIsAny { return weekdayMatches }
    if weekdayIsAny { return dayMatches }
    return dayMatches || weekdayMatches
  }

  /// The first instant whose local time is `local` (seconds since the epoch on the zone's wall); nil in a gap.
  private static func instant(ofLocal local: Int64, in zone: TimeZone) -> Timestamp? {
    let early = Date(timeIntervalSince1970: Double(local - 86_400))
    let late = Date(timeIntervalSince1970: Double(local + 86_400))
    let offsets = [zone.secondsFromGMT(for: early), zone.secondsFromGMT(for: late)]
    let candidates = offsets.map { local - Int64($0) }.filter { candidate in
      candidate + Int64(zone.secondsFromGMT(for: Date(timeIntervalSince1970: Double(candidate))))
        == local
    }
    return candidates.min().map { Timestamp(microseconds: $0 * 1_000_000) }
  }
}
