/// What a tile knows of one aggregated column: enough for count, sum, mean, min and max, mergeable in any order.
///
/// The sum is compensated (Neumaier 1974), so that it does not depend on the order of arrival beyond 1e-9 relative.
/// Nothing is ever subtracted from a partial. It is public because only what is public is inlined into other modules.
public struct Partial: Sendable, Hashable, BitwiseCopyable {
  public var count: Int64
  public var sum: Double
  public var compensation: Double
  public var min: Double
  public var max: Double

  @inlinable public init() {
    count = 0
    sum = 0
    compensation = 0
    min = .infinity
    max = -.infinity
  }

  /// Takes one observation in; `value` must not be NaN (nulls and NaN are skipped by the caller).
  @inlinable public mutating func add(_ value: Double) {
    count += 1
    addToSum(value)
    if value < min { min = value }
    if value > max { max = value }
  }

  @inlinable public mutating func merge(_ other: Partial) {
    guard other.count != 0 else { return }
    count += other.count
    addToSum(other.sum)
    compensation += other.compensation
    if other.min < min { min = other.min }
    if other.max > max { max = other.max }
  }

  @inlinable mutating func addToSum(_ value: Double) {
    let total = sum + value
    compensation += abs(sum) >= abs(value) ? (sum - total) + value : (value - total) + sum
    sum = total
  }

  /// The compensated sum; the plain one where infinities make the compensation meaningless.
  @inlinable public var total: Double {
    let corrected = sum + compensation
    return corrected.isNaN ? sum : corrected
  }

  /// The aggregate over everything merged so far; nil is null (no events: count and sum are 0), also of functions that are read from
  /// a sketch.
  package func value(of function: AggregateFunction) -> Double? {
    switch function {
    case .count: return Double(count)
    case .sum: return total
    case .mean: return count == 0 ? nil : total / Double(count)
    case .min: return count == 0 ? nil : min
    case .max: return count == 0 ? nil : max
    case .countDistinct, .stddev, .variance, .first, .last, .lastK, .quantile: return nil
    }
  }
}
