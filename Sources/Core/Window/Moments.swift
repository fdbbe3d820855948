/// What a tile knows for the variance of a column: the count, and the sums of values and of squares, each as an unevaluated pair of
/// doubles.
///
/// Guarantees: pairs carry about 106 bits (Dekker 1971; two-sum by Knuth), so that the variance does not depend on the order of
/// arrival beyond 1e-9 relative even where the mean is a million times the standard deviation.
package struct Moments: Sendable, Hashable, BitwiseCopyable {
  package var count: Int64 = 0
  package var sum = DoublePair()
  package var squares = DoublePair()

  package init() {}

  /// `value` must not be NaN.
  package mutating func add(_ value: Double) {
    count += 1
    sum.add(value)
    squares.add(DoublePair(square: value))
  }

  package mutating func merge(_ other: Moments) {
    count += other.count
    sum.add(other.sum)
    squares.add(other.squares)
  }

  /// The sample variance; nil for fewer than two values, and where infinities leave it undefined.
  package var variance: Double? {
    guard count > 1 else { return nil }
    let total = Double(count)
    // Σ(x − mean)² = Σx² − (Σx)² / n
    var deviation = squares
    deviation.add(sum.squared.divided(by: -total))
    let variance = deviation.value / (total - 1)
    return variance.isNaN ? nil : max(0, variance)
  }
}

/// A number as the sum of two doubles, the second at most half a unit in the last place of the first.
package struct DoublePair: Sendable, Hashable, BitwiseCopyable {
  package var high: Double = 0
  package var low: Double = 0

  package init() {}

  private init(_ high: Double, _ low: Double) {
    self.high = high
    self.low = low
  }

  /// The exact square of a double.
  init(square value: Double) {
    let product = value * value
    self.init(product, product.isFinite ? (-product).addingProduct(value, value) : 0)
  }

  /// Its best double; the high part alone once that is infinite.
  package var value: Double { high.isFinite ? high + low : high }

  mutating func add(_ value: Double) { add(DoublePair(value, 0)) }

  mutating func add(_ other: DoublePair) {
    let sum = high + other.high
    guard sum.isFinite else {
      self = DoublePair(sum, 0)
      return
    }
    let shift = sum - high
    let error = (high - (sum - shift)) + (other.high - shift) + (low + other.low)
    let total = sum + error
    self = DoublePair(total, error - (total - sum))
  }

  var squared: DoublePair {
    var square = DoublePair(square: high)
    if square.high.isFinite { square.add(2 * high * low) }
    return square
  }

  func divided(by divisor: Double) -> DoublePair {
    let quotient = high / divisor
    guard quotient.isFinite else { return DoublePair(quotient, 0) }
    let remainder = high.addingProduct(-quotient, divisor) + low
    return DoublePair(quotient, remainder / divisor)
  }
}
