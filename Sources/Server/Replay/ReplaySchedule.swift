import Core

/// What is done to a data set on its way: a pure value; the same seed gives the same stream.
package struct ReplayDisturbance: Sendable, Equatable {
  /// The share of records that come late, and by how much of event time at most.
  package var late: (share: Double, by: Span) = (0, .seconds(0))
  /// The share of records that change places, and over how many records at most.
  package var disorder: (share: Double, records: Int) = (0, 0)
  /// The share of records that are sent a second time.
  package var duplicates = 0.0
  package var seed: UInt64 = 1

  package init() {}

  package static func == (one: Self, other: Self) -> Bool {
    one.late == other.late && one.disorder == other.disorder
      && one.duplicates == other.duplicates && one.seed == other.seed
  }
}

/// One sending of a record.
package struct ReplayStep: Sendable, Equatable {
  /// Index of the record.
  package var record: Int
  /// When it is sent in the stream's own time, microseconds from its first record.
  package var arrival: Int64
  package var isLate = false
  package var isDuplicate = false

  package init(record: Int, arrival: Int64, isLate: Bool = false, isDuplicate: Bool = false) {
    self.record = record
    self.arrival = arrival
    self.isLate = isLate
    self.isDuplicate = isDuplicate
  }
}

/// The order in which records are sent.
///
/// Every record is sent once, those that were chosen for it once more. Without disturbance the order is that of the
/// event times, equal ones in the order of the file.
package struct ReplaySchedule: Sendable {
  package let steps: [ReplayStep]

  /// - Parameter times: the event time of each record, microseconds.
  package init(times: [Int64], _ disturbance: ReplayDisturbance) {
    var random = SeededGenerator(seed: disturbance.seed)
    let first = times.min() ?? 0
    var steps: [ReplayStep] = []
    steps.reserveCapacity(times.count)
    for (record, time) in times.enumerated() {
      var step = ReplayStep(record: record, arrival: time - first)
      if random.chance(disturbance.late.share) {
        step.isLate = true
        step.arrival += 1 + Int64(random.below(Int(max(1, disturbance.late.by.microseconds))))
      }
      steps.append(step)
    }
    steps.sort { ($0.arrival, $0.record) < ($1.arrival, $1.record) }
    Self.disorder(&steps, disturbance, &random)
    self.steps = Self.duplicated(steps, disturbance, &random)
  }

  /// Records change places; the times at which something is sent stay.
  private static func disorder(
    _ steps: inout [ReplayStep], _ disturbance: ReplayDisturbance, _ random: inout SeededGenerator
  ) {
    let reach = disturbance.disorder.records
    guard reach > 0, disturbance.disorder.share > 0 else { return }
    for place in steps.indices where random.chance(disturbance.disorder.share) {
      let other = min(steps.count - 1, place + 1 + random.below(reach))
      let arrivals = (steps[place].arrival, steps[other].arrival)
      steps.swapAt(place, other)
      (steps[place].arrival, steps[other].arrival) = arrivals
    }
  }

  /// How many records later a duplicate comes at most.
  private static let duplicateReach = 1_000

  private static func duplicated(
    _ steps: [ReplayStep], _ disturbance: ReplayDisturbance, _ random: inout SeededGenerator
  ) -> [ReplayStep] {
    guard disturbance.duplicates > 0 else { return steps }
    var again: [Int: [ReplayStep]] = [:]
    for (place, step) in steps.enumerated() where random.chance(disturbance.duplicates) {
      let later = min(steps.count - 1, place + random.below(duplicateReach))
      var copy = step
      copy.isDuplicate = true
      copy.arrival = steps[later].arrival
      again[later, default: []].append(copy)
    }
    var all: [ReplayStep] = []
    all.reserveCapacity(steps.count + again.count)
    for (place, step) in steps.enumerated() {
      all.append(step)
      all += again[place] ?? []
    }
    return all
  }
}

/// A column that behaves differently from a point on: `amount*1.5@50%`, `amount+10@2026-01-31T00:00:00Z`.
package struct ReplayDrift: Sendable, Equatable {
  package enum Change: Sendable, Equatable {
    case scale(Double)
    case shift(Double)
  }

  package enum Start: Sendable, Equatable {
    /// A share of the records, in the order of their event times.
    case share(Double)
    case time(Timestamp)
  }

  package var column: String
  package var change: Change
  package var start: Start

  /// Throws `.invalidArgument` for a text of another form.
  package init(_ text: String) throws(PlatformError) {
    let wrong = PlatformError(
      .invalidArgument,
      "'\(text)' is no drift; write COLUMN*FACTOR@START or COLUMN+AMOUNT@START, where START is a share as in 50% or a "
        + "time as in 2026-01-31T00:00:00Z: amount*1.5@50%, amount-10@2026-01-31T00:00:00Z")
    guard let at = text.firstIndex(of: "@"), text.index(after: at) < text.endIndex else {
      throw wrong
    }
    let change = text[..<at]
    let start = String(text[text.index(after: at)...])
    guard let sign = change.firstIndex(where: { "*+-".contains($0) }), sign > change.startIndex,
      let number = Double(change[change.index(after: sign)...]), number.isFinite
    else { throw wrong }
    column = String(change[..<sign])
    self.change =
      switch change[sign] {
      case "*": .scale(number)
      case "-": .shift(-number)
      default: .shift(number)
      }
    if start.hasSuffix("%"), let share = Double(start.dropLast()), (0...100).contains(share) {
      self.start = .share(share / 100)
    } else if let time = try? Timestamp(iso8601: start) {
      self.start = .time(time)
    } else {
      throw wrong
    }
  }

  package func changed(_ value: Double) -> Double {
    switch change {
    case .scale(let factor): value * factor
    case .shift(let amount): value + amount
    }
  }
}
