import Core
import Foundation

// The distributions of simulated customers.
extension SeededGenerator {
  /// Poisson by Knuth's product, good for the small means used here.
  mutating func poisson(_ mean: Double) -> Int {
    guard mean > 0 else { return 0 }
    let limit = exp(-min(mean, 60))
    var product = unit()
    var count = 0
    while product > limit {
      product *= unit()
      count += 1
    }
    return count
  }

  mutating func exponential(mean: Double) -> Double { -mean * log(1 - unit()) }

  /// Log-normal around `median`.
  mutating func logNormal(median: Double, spread: Double) -> Double {
    let radius = (-2 * log(1 - unit())).squareRoot()
    return median * exp(spread * radius * cos(2 * .pi * unit()))
  }
}
