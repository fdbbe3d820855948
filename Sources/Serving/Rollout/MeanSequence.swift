import Foundation

/// What is known of the mean of values in [0, 1] that come one after another: bounds that hold at every moment at once.
///
/// However often one looks, and whenever one stops, the true mean was ever outside with a probability of at most alpha. So a
/// test may be stopped as soon as it is decided, and a small sample decides nothing. The bounds are those of the mixture
/// martingale of Robbins (Statistical methods related to the law of the iterated logarithm, 1970) with a Beta(½, ½) mixture,
/// the mixture sequential probability ratio test of Johari, Koomen, Pekelis and Walsh (Always valid inference, Operations
/// Research 70(3), 2022); for values between 0 and 1 that are neither it is a supermartingale by the sub-Bernoulli bound of
/// Howard, Ramdas, McAuliffe and Sekhon (Annals of Statistics 49(2), 2021). Values must be independent of each other.
package struct MeanSequence: Sendable, Equatable {
  package var count: Double
  package var sum: Double

  package init(count: Double, sum: Double) {
    self.count = count
    self.sum = sum
  }

  package var mean: Double? { count > 0 ? sum / count : nil }

  /// The logarithm of the evidence against a mean: 1 / alpha is reached with a probability of at most alpha where it is the
  /// true one.
  package func logEvidence(against mean: Double) -> Double {
    let mixture = Self.logBeta(0.5 + sum, 0.5 + count - sum) - Self.logBeta(0.5, 0.5)
    let hits = sum == 0 ? 0 : sum * log(mean)
    let misses = count == sum ? 0 : (count - sum) * log1p(-mean)
    return mixture - hits - misses
  }

  /// Where the mean lies.
  package func bounds(alpha: Double) -> ClosedRange<Double> {
    guard let mean else { return 0...1 }
    let limit = -log(alpha)
    let low = sum == 0 ? 0 : Self.edge(from: mean, to: 0) { logEvidence(against: $0) < limit }
    let high = count == sum ? 1 : Self.edge(from: mean, to: 1) { logEvidence(against: $0) < limit }
    return low...max(low, high)
  }

  /// How many of `count` values may lie below a quantile: what bounds the quantile itself (Howard and Ramdas, Sequential
  /// estimation of quantiles, Bernoulli 28(3), 2022).
  package static func ranks(
    of quantile: Double, count: Double, alpha: Double
  ) -> (low: Double, high: Double) {
    let limit = -log(alpha)
    func isPossible(_ below: Double) -> Bool {
      MeanSequence(count: count, sum: below).logEvidence(against: quantile) < limit
    }
    let middle = count * quantile
    let low = isPossible(0) ? 0 : edge(from: middle, to: 0, isPossible)
    let high = isPossible(count) ? count : edge(from: middle, to: count, isPossible)
    return (low.rounded(.up), high.rounded(.down))
  }

  /// The last place that is possible on the way from one that is to one that is not.
  private static func edge(
    from inside: Double, to outside: Double, _ isPossible: (Double) -> Bool
  ) -> Double {
    var inside = inside
    var outside = outside
    for _ in 0..<60 {
      let middle = (inside + outside) / 2
      if isPossible(middle) { inside = middle } else { outside = middle }
    }
    return outside
  }

  private static func logBeta(_ a: Double, _ b: Double) -> Double {
    logGamma(a) + logGamma(b) - logGamma(a + b)
  }

  /// Stirling's series from 10 on, by the recurrence below it: the C library's lgamma writes a global variable.
  private static func logGamma(_ value: Double) -> Double {
    var x = value
    var shift = 0.0
    while x < 10 {
      shift -= log(x)
      x += 1
    }
    let square = 1 / (x * x)
    let series = (1.0 / 12 - square * (1.0 / 360 - square * (1.0 / 1_260 - square / 1_680))) / x
    return shift + (x - 0.5) * log(x) - x + 0.5 * log(2 * Double.pi) + series
  }
}
