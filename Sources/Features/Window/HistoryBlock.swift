import Core

/// Some events that windows may hold, column by column; valid only while it is handed over.
struct HistoryBlock {
  /// What a place says of an event that is seen from its own time on.
  static let onTime: Int32 = -2

  var keys: UnsafeBufferPointer<Int32>
  var times: UnsafeBufferPointer<Int64>
  /// The first place that may see the event, -1 for none, `onTime` when every place from the
  /// event's own time on sees it.
  var places: UnsafeBufferPointer<Int32>
  /// Event by event, slot by slot; NaN for what is not aggregated.
  var values: UnsafeBufferPointer<Double>
}

/// Gathers events by ranges of keys, and hands them over range by range.
///
/// A spine's cells are far larger than a processor's cache, and events come in the order of time:
/// added as they come, nearly each one would wait for memory. The cells of one range of keys stay in
/// the cache while a block of that range is added.
struct HistoryPartitions: Sendable {
  /// Events of a range that are gathered before they are handed over.
  private static let capacity = 2048
  private static let mostRanges = 256
  /// How much of the cells a range may cover: a quarter of a usual second-level cache.
  private static let bytesOfRange = 1 << 18

  private let width: Int
  /// A key's range is its number without so many low bits.
  private let shift: Int32
  private var fill: [Int]
  private var keys: [Int32] = []
  private var times: [Int64] = []
  private var places: [Int32] = []
  private var values: [Double] = []

  /// - Parameters:
  ///   - keys: how many there are.
  ///   - bytes: what the cells of all keys take.
  ///   - width: how many slots an event has values for.
  init(keys: Int, bytes: Int, width: Int) {
    self.width = width
    let ranges = min(HistoryPartitions.mostRanges, max(1, bytes / HistoryPartitions.bytesOfRange))
    var shift: Int32 = 0
    while keys > ranges << shift { shift += 1 }
    self.shift = shift
    fill = [Int](repeating: 0, count: max(1, keys + (1 << shift) - 1) >> shift)
  }

  /// Takes rows of a batch in; `full` gets every block that is full.
  ///
  /// - Parameters:
  ///   - rows: which rows of the batch; `keys`, `times` and `values` (by slot) are by row of the
  ///     batch.
  ///   - places: by entry of `rows`; nil when all are on time.
  mutating func append(
    rows: [Int32], keys: [Int32], times: [Int64], places: [Int32]?, values: [[Double]],
    full: (HistoryBlock) -> Void
  ) {
    if self.keys.isEmpty { allocate() }
    var first = 0
    while first < rows.count {
      let end = min(first + HistoryPartitions.capacity, rows.count)
      let slice = rows[first..<end]
      makeRoom(for: slice, keys, full)
      let targets = place(slice, keys, times, places?[first..<end])
      for (slot, values) in values.enumerated() { scatter(values, slot: slot, slice, targets) }
      first = end
    }
  }

  /// Hands over what is left.
  mutating func drain(_ full: (HistoryBlock) -> Void) {
    for range in fill.indices where fill[range] > 0 { handOver(range, full) }
  }

  private mutating func allocate() {
    let room = fill.count * HistoryPartitions.capacity
    keys = [Int32](repeating: 0, count: room)
    times = [Int64](repeating: 0, count: room)
    places = [Int32](repeating: 0, count: room)
    values = [Double](repeating: 0, count: room * width)
  }

  /// Hands over every block that could not take its share of `rows`.
  private mutating func makeRoom(
    for rows: ArraySlice<Int32>, _ keys: [Int32], _ full: (HistoryBlock) -> Void
  ) {
    var share = [Int](repeating: 0, count: fill.count)
    for row in rows { share[Int(keys[Int(row)] >> shift)] += 1 }
    for range in fill.indices where fill[range] + share[range] > HistoryPartitions.capacity {
      handOver(range, full)
    }
  }

  /// Puts all but the values in place; by entry of `rows`, where the event went.
  private mutating func place(
    _ rows: ArraySlice<Int32>, _ keys: [Int32], _ times: [Int64], _ places: ArraySlice<Int32>?
  ) -> [Int32] {
    [Int32](unsafeUninitializedCapacity: rows.count) { targets, count in
      for row in rows {
        let row = Int(row)
        let range = Int(keys[row] >> shift)
        let target = range * HistoryPartitions.capacity + fill[range]
        fill[range] += 1
        self.keys[target] = keys[row]
        self.times[target] = times[row]
        self.places[target] =
          places.map { $0[$0.startIndex + count] } ?? HistoryBlock.onTime
        targets[count] = Int32(target)
        count += 1
      }
    }
  }

  private mutating func scatter(
    _ values: [Double], slot: Int, _ rows: ArraySlice<Int32>, _ targets: [Int32]
  ) {
    let width = width
    self.values.withUnsafeMutableBufferPointer { all in
      values.withUnsafeBufferPointer { values in
        targets.withUnsafeBufferPointer { targets in
          var entry = 0
          for row in rows {
            all[Int(targets[entry]) * width + slot] = values[Int(row)]
            entry += 1
          }
        }
      }
    }
  }

  private mutating func handOver(_ range: Int, _ full: (HistoryBlock) -> Void) {
    let first = range * HistoryPartitions.capacity
    let span = first..<first + fill[range]
    fill[range] = 0
    keys.withUnsafeBufferPointer { keys in
      times.withUnsafeBufferPointer { times in
        places.withUnsafeBufferPointer { places in
          values.withUnsafeBufferPointer { values in
            full(
              HistoryBlock(
                keys: UnsafeBufferPointer(rebasing: keys[span]),
                times: UnsafeBufferPointer(rebasing: times[span]),
                places: UnsafeBufferPointer(rebasing: places[span]),
                values: UnsafeBufferPointer(
                  rebasing: values[span.lowerBound * width..<span.upperBound * width])))
          }
        }
      }
    }
  }
}

extension SpineIndex {
  /// By entry of `rows`, the first place that may see the event: `HistoryBlock.onTime` where no
  /// place at or after its time is ignorant of it.
  func arrivals(
    _ events: borrowing HistoryEvents, rows: [Int32], keys: [Int32], firstPlaces: [Int32]
  ) -> [Int32] {
    let happened = events.eventTimestamps
    let created = events.createdAt
    return times.withUnsafeBufferPointer { times in
      rows.map { row in
        let row = Int(row)
        guard created[row] > happened[row] else { return HistoryBlock.onTime }
        let key = Int(keys[row])
        let end = Int(starts[key + 1])
        let first = lowerBound(times, Int(starts[key]), end, happened[row])
        let seen = firstPlaces[row] < 0 ? end : Int(firstPlaces[row])
        return first == seen ? HistoryBlock.onTime : firstPlaces[row]
      }
    }
  }
}
