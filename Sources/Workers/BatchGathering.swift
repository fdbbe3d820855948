import Core

/// Decides whether calls that wait are sent now or wait a little for others of their kind.
///
/// A free worker takes what waits at once, unless the model's definition allows it to wait. Then it waits, at most so long, until as
/// many calls are there as lately were there at the same time: their callers come back as soon as they have their answers, and a
/// caller who is alone waits for nobody.
package struct BatchGathering: Sendable, Equatable {
  /// So long a caller is remembered, in waits.
  private static let memory: Int64 = 10
  private static let shortestMemory = Span.milliseconds(100)

  private var began = Span(microseconds: 0)
  /// The most calls at once, in this stretch of time and in the one before.
  private var peak = 0
  private var peakBefore = 0

  package init() {}

  /// Notes how many calls are there now, waiting or with a worker.
  package mutating func note(outstanding: Int, wait: Span, now: Span) {
    let stretch = max(Self.shortestMemory.microseconds, wait.microseconds * Self.memory)
    let passed = now.microseconds - began.microseconds
    if passed >= stretch {
      peakBefore = passed < 2 * stretch ? peak : 0
      peak = 0
      began = now
    }
    peak = max(peak, outstanding)
  }

  /// Whether what waits is sent now.
  ///
  /// - Parameters:
  ///   - rows: that wait.
  ///   - oldest: when the call came that waits longest.
  package func isDue(
    outstanding: Int, rows: Int, oldest: Span, _ batch: ServingDefinition.Batch, now: Span
  ) -> Bool {
    rows >= batch.rows || outstanding >= max(peak, peakBefore)
      || now.microseconds - oldest.microseconds >= batch.wait.microseconds
  }
}

/// How fast calls of a model are answered, measured, so that callers who are refused know when to come again.
package struct DrainRate: Sendable, Equatable {
  /// The past counts less and less: a third after this time.
  private static let memory = 5.0
  private static let unknown = Span.seconds(1)
  private static let shortest = Span.milliseconds(10)
  private static let longest = Span.seconds(60)

  private var answered = 0.0
  private var seconds = 0.0
  private var last: Span?

  package init() {}

  package mutating func note(answered count: Int, now: Span) {
    let passed = max(0, Double(now.microseconds - (last ?? now).microseconds) / 1e6)
    let weight = Self.weight(passed)
    answered = answered * weight + Double(count)
    seconds = seconds * weight + passed
    last = now
  }

  /// How long it takes until so many calls are answered.
  package func time(toAnswer count: Int, now: Span) -> Span {
    guard let last, answered > 0 else { return Self.unknown }
    let since = max(0, Double(now.microseconds - last.microseconds) / 1e6)
    let elapsed = seconds + since
    guard elapsed > 0 else { return Self.unknown }
    let time = Double(count) * elapsed / answered
    let bounded = min(
      max(time * 1e6, Double(Self.shortest.microseconds)), Double(Self.longest.microseconds))
    // Whole milliseconds, as callers are told them.
    return .milliseconds(Int64((bounded / 1_000).rounded(.up)))
  }

  private static func weight(_ passed: Double) -> Double { max(0, 1 - passed / (passed + memory)) }
}
