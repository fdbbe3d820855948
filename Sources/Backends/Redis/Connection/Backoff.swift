import Core

/// How long to wait before the next attempt: twice as long each time up to a bound, of which a random half is left out, so that
/// many clients do not come back at once.
package struct Backoff: Sendable, Equatable {
  package var shortest: Span
  package var longest: Span

  package init(shortest: Span, longest: Span) {
    self.shortest = shortest
    self.longest = longest
  }

  /// - Parameter attempt: 0 after the first failure.
  package func delay(
    after attempt: Int, using random: inout some RandomNumberGenerator
  ) -> Span {
    let doubled = shortest.microseconds.multipliedReportingOverflow(
      by: 1 << Int64(min(attempt, 40)))
    let bound =
      doubled.overflow
      ? longest.microseconds : min(longest.microseconds, doubled.partialValue)
    return Span(microseconds: Int64.random(in: (bound + 1) / 2...bound, using: &random))
  }
}
