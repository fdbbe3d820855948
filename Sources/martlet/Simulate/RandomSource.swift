import Foundation

/// A small deterministic generator (SplitMix64, Steele, Lea and Flood 2014): the same seed gives the same numbers on every machine.
struct RandomSource: RandomNumberGenerator {
  private var state: UInt64

  init(seed: UInt64) { state = seed }

  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var z = state
    z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
    return z ^ (z >> 31)
  }

  /// Uniform in [0, 1).
  mutating func unit() -> Double { Double(next() >> 11) * 0x1p-53 }

  mutating func chance(_ probability: Double) -> Bool { unit() < probability }

  mutating func below(_ bound: Int) -> Int { Int(next() % UInt64(bound)) }

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
