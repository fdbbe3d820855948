import Core

/// The keys and times of a spine for one entity: what the history is matched against.
///
/// A *place* is one distinct (key, time); places are numbered by key, then by time. Rows that share
/// both share a place.
struct SpineIndex: Sendable {
  var keys: SpineKeys
  /// Where the places of each key begin, and one more for the end.
  private(set) var starts: [Int32]
  /// By place, microseconds.
  private(set) var times: [Int64]
  /// By row; -1 where the key or the time is null.
  private(set) var places: [Int32]
  /// Over all places; nil where there are none.
  private(set) var range: ClosedRange<Int64>?

  /// - Parameter keyColumns: of the types of the entity's key, as the source declares them.
  init(keyColumns: [Column], types: [ColumnType], time: Column, count: Int) {
    keys = SpineKeys(types: types)
    guard case .timestamp(let all) = time.values else {
      (starts, times, places) = ([0], [], [Int32](repeating: -1, count: count))
      return
    }
    let numbers = keys.add(keyColumns, count: count) { !time.isPresent($0) }
    (starts, times, places) = SpineIndex.placed(numbers, keys: keys.count, times: all)
    if let first = times.min(), let last = times.max() { range = first...last }
  }

  private static func placed(
    _ numbers: [Int32], keys: Int, times: [Int64]
  ) -> (starts: [Int32], times: [Int64], places: [Int32]) {
    var next = [Int](repeating: 0, count: keys + 1)
    for number in numbers where number >= 0 { next[Int(number) + 1] += 1 }
    for key in 0..<keys { next[key + 1] += next[key] }
    let ends = Array(next.dropFirst())
    var rows = [Int](repeating: 0, count: next[keys])
    for (row, number) in numbers.enumerated() where number >= 0 {
      rows[next[Int(number)]] = row
      next[Int(number)] += 1
    }
    var starts = [Int32](reserving: keys + 1)
    var distinct = [Int64](reserving: rows.count)
    var places = [Int32](repeating: -1, count: numbers.count)
    var begin = 0
    for end in ends {
      starts.append(Int32(distinct.count))
      let first = distinct.count
      for row in rows[begin..<end].sorted(by: { times[$0] < times[$1] }) {
        if distinct.count == first || distinct[distinct.count - 1] != times[row] {
          distinct.append(times[row])
        }
        places[row] = Int32(distinct.count - 1)
      }
      begin = end
    }
    starts.append(Int32(distinct.count))
    return (starts, distinct, places)
  }
}

/// The first position in `low..<high` whose value is not below `value`; `high` where there is none.
@inline(__always)
func lowerBound(
  _ values: UnsafeBufferPointer<Int64>, _ low: Int, _ high: Int, _ value: Int64
) -> Int {
  var low = low
  var length = high - low
  while length > 0 {
    let half = length >> 1
    let isBelow = values[low + half] < value
    low = isBelow ? low + half + 1 : low
    length = isBelow ? length - half - 1 : half
  }
  return low
}
