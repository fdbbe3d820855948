import Foundation

/// A DDSketch (Masson, Rim and Lee 2019, "DDSketch: a fast and fully-mergeable quantile sketch with relative-error guarantees").
///
/// Guarantees: a quantile q over n values is within 1 % of the value of rank ⌊q · (n − 1)⌋; the answer depends on the values alone, not
/// on their order or on how they were spread over tiles, since no bins are ever joined. A bin takes 12 bytes; values that span a
/// factor of a million take at most 700 of them.
package struct QuantileSketch: Sendable, Equatable {
  package static let relativeError = 0.01
  private static let logGamma = log((1 + relativeError) / (1 - relativeError))
  private static let gamma = (1 + relativeError) / (1 - relativeError)

  /// Bins in the order of the values they hold: see `bin(of:)`.
  package private(set) var bins: [Int32] = []
  package private(set) var counts: [Int64] = []
  package private(set) var count: Int64 = 0

  package init() {}

  /// Nil where the parts are not what another instance had.
  package init?(bins: [Int32], counts: [Int64]) {
    let isSorted = zip(bins, bins.dropFirst()).allSatisfy { $0 < $1 }
    guard isSorted, bins.count == counts.count, counts.allSatisfy({ $0 > 0 }) else { return nil }
    self.bins = bins
    self.counts = counts
    for one in counts {
      let (sum, overflow) = count.addingReportingOverflow(one)
      guard !overflow else { return nil }
      count = sum
    }
  }

  /// Positive values have the bin 2²⁰ + ⌈log_γ x⌉, zero has 0, and −x has minus the bin of x.
  private static let offset = 1 << 20
  private static let infinite = Int32.max

  private static func bin(of value: Double) -> Int32 {
    if value == 0 { return 0 }
    let size = abs(value)
    let bin = size.isInfinite ? infinite : Int32(offset + Int((log(size) / logGamma).rounded(.up)))
    return value < 0 ? -bin : bin
  }

  /// The middle of a bin, within the relative error of everything in it.
  private static func value(of bin: Int32) -> Double {
    if bin == 0 { return 0 }
    if abs(bin) == infinite { return bin < 0 ? -.infinity : .infinity }
    let size = 2 * exp(Double(Int(abs(bin)) - offset) * logGamma) / (gamma + 1)
    // The last bin's middle may be above every double.
    let finite = min(size, .greatestFiniteMagnitude)
    return bin < 0 ? -finite : finite
  }

  /// `value` must not be NaN.
  package mutating func add(_ value: Double) {
    let bin = Self.bin(of: value)
    var low = 0
    var high = bins.count
    while low < high {
      let middle = (low + high) / 2
      if bins[middle] < bin { low = middle + 1 } else { high = middle }
    }
    count += 1
    if low < bins.count, bins[low] == bin {
      counts[low] += 1
    } else {
      bins.insert(bin, at: low)
      counts.insert(1, at: low)
    }
  }

  package mutating func merge(_ other: QuantileSketch) {
    guard other.count > 0 else { return }
    guard count > 0 else {
      self = other
      return
    }
    var merged = QuantileSketch()
    merged.bins.reserveCapacity(bins.count + other.bins.count)
    merged.counts.reserveCapacity(bins.count + other.bins.count)
    var (mine, theirs) = (0, 0)
    while mine < bins.count || theirs < other.bins.count {
      let left = mine < bins.count ? Int64(bins[mine]) : .max
      let right = theirs < other.bins.count ? Int64(other.bins[theirs]) : .max
      merged.bins.append(Int32(truncatingIfNeeded: min(left, right)))
      merged.counts.append(
        (left <= right ? counts[mine] : 0) + (right <= left ? other.counts[theirs] : 0))
      if left <= right { mine += 1 }
      if right <= left { theirs += 1 }
    }
    merged.count = count + other.count
    self = merged
  }

  /// Nil over no values. `q` is from 0 through 1.
  package func quantile(_ q: Double) -> Double? {
    guard count > 0 else { return nil }
    let rank = Int64((q * Double(count - 1)).rounded(.down))
    var seen: Int64 = 0
    for (place, one) in counts.enumerated() {
      seen += one
      if seen > rank { return Self.value(of: bins[place]) }
    }
    return bins.last.map(Self.value(of:))
  }
}
