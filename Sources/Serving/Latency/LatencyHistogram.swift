/// How often which latency was seen, with a relative error of at most 1/128, in a bounded room.
///
/// After Gil Tene's HdrHistogram (hdrhistogram.org): the values below 256 have a bucket each; above, every power of two is
/// split into 128 equal buckets, so that what is long is counted as finely as what is short.
package struct LatencyHistogram: Sendable, Equatable {
  private static let exactBits = 8
  private static let half = 1 << (exactBits - 1)
  /// 19 hours in microseconds; what is longer counts as that.
  package static let longest = (1 << 36) - 1

  /// As long as the greatest value seen needs.
  private var counts: [UInt32] = []
  package private(set) var count = 0
  package private(set) var maximum = 0

  package init() {}

  package mutating func record(_ microseconds: Int) {
    let value = min(max(0, microseconds), Self.longest)
    let index = Self.index(of: value)
    if index >= counts.count {
      counts.append(contentsOf: repeatElement(0, count: index + 1 - counts.count))
    }
    counts[index] &+= 1
    count += 1
    maximum = max(maximum, value)
  }

  package mutating func add(_ other: LatencyHistogram) {
    if other.counts.count > counts.count {
      counts.append(contentsOf: repeatElement(0, count: other.counts.count - counts.count))
    }
    for (index, count) in other.counts.enumerated() { counts[index] &+= count }
    count += other.count
    maximum = max(maximum, other.maximum)
  }

  /// Keeps the room for the next values.
  package mutating func clear() {
    for index in counts.indices { counts[index] = 0 }
    count = 0
    maximum = 0
  }

  /// The smallest value that the given share of values does not exceed, in microseconds; nil where nothing was recorded.
  package func quantile(_ share: Double) -> Int? {
    guard count > 0 else { return nil }
    let rank = max(1, Int((share * Double(count)).rounded(.up)))
    var seen = 0
    for (index, count) in counts.enumerated() {
      seen += Int(count)
      if seen >= rank { return min(Self.greatest(in: index), maximum) }
    }
    return maximum
  }

  static func index(of value: Int) -> Int {
    let bits = Int.bitWidth - value.leadingZeroBitCount
    let shift = max(0, bits - exactBits)
    return shift * half + (value >> shift)
  }

  /// The greatest value that a bucket counts.
  static func greatest(in index: Int) -> Int {
    if index < 2 * half { return index }
    let shift = index / half - 1
    let part = index - shift * half
    return ((part + 1) << shift) - 1
  }
}

/// Latencies of the last minute, five minutes and hour.
///
/// Each window is a ring of slices and covers between its length less one slice and its length: it moves in steps of 5 s, 30 s
/// and 5 min.
package struct LatencyWindows: Sendable {
  package enum Window: String, Sendable, CaseIterable {
    case minute = "1m"
    case fiveMinutes = "5m"
    case hour = "1h"

    fileprivate var ring: Ring {
      switch self {
      case .minute: Ring(slice: 5_000_000, count: 12)
      case .fiveMinutes: Ring(slice: 30_000_000, count: 10)
      case .hour: Ring(slice: 300_000_000, count: 12)
      }
    }
  }

  fileprivate struct Ring: Sendable {
    /// Its length in microseconds.
    let slice: Int64
    let count: Int64
    var slices: [(number: Int64, values: LatencyHistogram)] = []

    init(slice: Int64, count: Int64) {
      self.slice = slice
      self.count = count
    }

    mutating func record(_ microseconds: Int, at time: Int64) {
      let number = time / slice
      let place = Int(number % count)
      while slices.count <= place { slices.append((number: -1, values: LatencyHistogram())) }
      if slices[place].number != number {
        slices[place].values.clear()
        slices[place].number = number
      }
      slices[place].values.record(microseconds)
    }

    func values(at time: Int64) -> LatencyHistogram {
      let last = time / slice
      return slices.reduce(into: LatencyHistogram()) { sum, slice in
        if slice.number > last - count, slice.number <= last { sum.add(slice.values) }
      }
    }
  }

  private var rings = Window.allCases.map(\.ring)

  package init() {}

  /// - Parameter time: of a clock that does not go back.
  package mutating func record(_ microseconds: Int, at time: Int64) {
    for ring in rings.indices { rings[ring].record(microseconds, at: time) }
  }

  package func values(_ window: Window, at time: Int64) -> LatencyHistogram {
    guard let index = Window.allCases.firstIndex(of: window) else { return LatencyHistogram() }
    return rings[index].values(at: time)
  }
}
