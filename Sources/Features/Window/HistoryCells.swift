import Core

/// A window's length and resolution, without what it aggregates.
struct WindowShape: Hashable, Sendable {
  private let window: WindowDefinition

  init(_ window: WindowDefinition) {
    self.window = WindowDefinition(
      function: .count, column: nil, length: window.length, resolution: window.resolution)
  }

  func start(at time: Int64) -> Int64 {
    window.start(at: Timestamp(microseconds: time)).microseconds
  }
}

/// For each key of a spine, the stretch of time that its windows reach over: most events are in
/// none, and are passed by at once.
struct HistoryReach: Sendable {
  /// By key, first and last microsecond.
  private let stretches: [(first: Int64, last: Int64)]

  init(shapes: Set<WindowShape>, index: borrowing SpineIndex) {
    var stretches: [(first: Int64, last: Int64)] = []
    stretches.reserveCapacity(index.starts.count)
    for key in index.starts.indices.dropLast() {
      let first = index.times[Int(index.starts[key])]
      let last = index.times[Int(index.starts[key + 1]) - 1]
      stretches.append((shapes.map { $0.start(at: first) }.min() ?? first, last))
    }
    self.stretches = stretches
  }

  /// The rows that some window may hold; `keys` is by row, -1 for keys outside the spine.
  func rows(of times: [Int64], keys: [Int32]) -> [Int32] {
    [Int32](unsafeUninitializedCapacity: keys.count) { rows, count in
      stretches.withUnsafeBufferPointer { stretches in
        for row in keys.indices where keys[row] >= 0 {
          let stretch = stretches[Int(keys[row])]
          rows[count] = Int32(row)
          count += stretch.first <= times[row] && times[row] <= stretch.last ? 1 : 0
        }
      }
    }
  }
}

/// The partial aggregates of some slots over the stretches of time that a spine can tell apart.
///
/// For each key, the ends (time &+ 1 µs) and the starts of all its windows cut the axis of event
/// time into cells, closed on the
/// left. Every window is a run of whole cells, so an event is added to one cell and windows are
/// merges of cells, never
/// differences. How many cells there are depends on the spine alone.
struct HistoryCells: Sendable {
  /// Positions in the slot values that `take` gets.
  let slots: [Int]
  /// Where the bounds of each key begin, and one more for the end. A key has one cell fewer than
  /// bounds.
  private let begins: [Int32]
  private let bounds: [Int64]
  /// Cell by cell, slot by slot; the first cell of key k is `begins[k] - k`.
  private var partials: [Partial]
  /// Events that became known after a spine row that would have held them: numbered by (first place
  /// that knows, cell).
  private var late = Int64Numbering()
  private var latePlaces: [(place: Int32, cell: Int32)] = []
  private var latePartials: [Partial] = []

  init(shapes: Set<WindowShape>, slots: [Int], index: borrowing SpineIndex) {
    self.slots = slots
    var begins = [Int32](reserving: index.starts.count)
    var bounds: [Int64] = []
    var scratch: [Int64] = []
    begins.append(0)
    for key in index.starts.indices.dropLast() {
      scratch.removeAll(keepingCapacity: true)
      for place in Int(index.starts[key])..<Int(index.starts[key + 1]) {
        let time = index.times[place]
        scratch.append(time &+ 1)
        for shape in shapes { scratch.append(shape.start(at: time)) }
      }
      scratch.sort()
      for (position, bound) in scratch.enumerated()
      where position == 0 || bound != scratch[position - 1] {
        bounds.append(bound)
      }
      begins.append(Int32(bounds.count))
    }
    self.begins = begins
    self.bounds = bounds
    let cells = bounds.count - (begins.count - 1)
    partials = [Partial](repeating: Partial(), count: max(0, cells) * slots.count)
  }

  /// Adds events to their cells; `values` is by slot, NaN for what is not aggregated.
  ///
  /// - Parameters:
  ///   - rows: the rows that some window may hold, see `HistoryReach`.
  ///   - keys: by row of the batch.
  ///   - places: by row of the batch, the first place that may see the event; nil when every event
  ///     is seen from its own time on.
  mutating func take(
    _ events: borrowing HistoryEvents, rows: [Int32], keys: [Int32], places: [Int32]?,
    values: [[Double]], index: borrowing SpineIndex
  ) {
    let cells = cells(of: events.eventTimestamps, rows, keys)
    let isLate = places.map { lateness(events, rows, keys, places: $0, index) }
    let width = slots.count
    for (position, slot) in slots.enumerated() {
      let values = values[slot]
      partials.withUnsafeMutableBufferPointer { partials in
        for (entry, row) in rows.enumerated() where cells[entry] >= 0 {
          if let isLate, isLate[entry] { continue }
          let value = values[Int(row)]
          if !value.isNaN { partials[Int(cells[entry]) * width + position].add(value) }
        }
      }
    }
    guard let isLate, let places else { return }
    for (entry, row) in rows.enumerated() where cells[entry] >= 0 && isLate[entry] {
      let place = places[Int(row)]
      if place >= 0 { addLate(place: place, cell: cells[entry], row: Int(row), values) }
    }
  }

  /// By entry of `rows`, the event's cell among all keys' cells, -1 where it is in no window.
  private func cells(of times: [Int64], _ rows: [Int32], _ keys: [Int32]) -> [Int32] {
    [Int32](unsafeUninitializedCapacity: rows.count) { cells, count in
      bounds.withUnsafeBufferPointer { bounds in
        for (entry, row) in rows.enumerated() {
          let key = Int(keys[Int(row)])
          let begin = Int(begins[key])
          let end = Int(begins[key + 1])
          // The first bound after the event ends its cell.
          let bound = lowerBound(bounds, begin, end, times[Int(row)] &+ 1)
          cells[entry] = bound == begin || bound == end ? -1 : Int32(bound - 1 - key)
        }
      }
      count = rows.count
    }
  }

  /// By entry of `rows`, whether there is a place at or after the event's time that does not know
  /// it yet.
  private func lateness(
    _ events: borrowing HistoryEvents, _ rows: [Int32], _ keys: [Int32], places: [Int32],
    _ index: borrowing SpineIndex
  ) -> [Bool] {
    let happened = events.eventTimestamps
    let created = events.createdAt
    return index.times.withUnsafeBufferPointer { times in
      rows.map { row in
        let row = Int(row)
        guard created[row] > happened[row] else { return false }
        let key = Int(keys[row])
        let end = Int(index.starts[key + 1])
        let first = lowerBound(times, Int(index.starts[key]), end, happened[row])
        return first != (places[row] < 0 ? end : Int(places[row]))
      }
    }
  }

  private mutating func addLate(place: Int32, cell: Int32, row: Int, _ values: [[Double]]) {
    let entry = Int(late.number(of: Int64(place) << 32 | Int64(cell)))
    if entry == latePlaces.count {
      latePlaces.append((place, cell))
      latePartials.append(contentsOf: repeatElement(Partial(), count: slots.count))
    }
    for (position, slot) in slots.enumerated() where !values[slot][row].isNaN {
      latePartials[entry * slots.count + position].add(values[slot][row])
    }
  }

  /// Answers every question about the slots at every place; `answer` gets the question's number,
  /// the place and the aggregate.
  func read(
    _ questions: [(slot: Int, shape: WindowShape)], index: borrowing SpineIndex,
    answer: (Int, Int, Partial) -> Void
  ) {
    let lateOrder = latePlaces.indices.sorted { latePlaces[$0].place < latePlaces[$1].place }
    for (position, slot) in slots.enumerated() {
      let asked = questions.indices.filter { questions[$0].slot == slot }
      var tree = MergeTree()
      var nextLate = 0
      for key in index.starts.indices.dropLast() {
        let begin = Int(begins[key])
        let end = Int(begins[key + 1])
        let firstCell = begin - key
        tree.build(leaves: end - begin - 1) { partials[(firstCell + $0) * slots.count + position] }
        for place in Int(index.starts[key])..<Int(index.starts[key + 1]) {
          while nextLate < lateOrder.count, Int(latePlaces[lateOrder[nextLate]].place) <= place {
            let entry = lateOrder[nextLate]
            tree.add(
              latePartials[entry * slots.count + position],
              at: Int(latePlaces[entry].cell) - firstCell)
            nextLate += 1
          }
          let time = index.times[place]
          bounds.withUnsafeBufferPointer { bounds in
            let last = lowerBound(bounds, begin, end, time &+ 1) - begin
            for question in asked {
              let start = questions[question].shape.start(at: time)
              let first = lowerBound(bounds, begin, end, start) - begin
              answer(question, place, tree.merged(first, last))
            }
          }
        }
      }
    }
  }
}

/// Partials under a binary tree, so that any run of them is merged in logarithmic time, without
/// subtracting.
private struct MergeTree {
  private var nodes: [Partial] = []
  private var leaves = 0

  mutating func build(leaves: Int, _ leaf: (Int) -> Partial) {
    self.leaves = leaves
    nodes.removeAll(keepingCapacity: true)
    nodes.append(contentsOf: repeatElement(Partial(), count: leaves))
    for position in 0..<leaves { nodes.append(leaf(position)) }
    for node in stride(from: leaves - 1, to: 0, by: -1) {
      nodes[node] = nodes[2 * node]
      nodes[node].merge(nodes[2 * node + 1])
    }
  }

  mutating func add(_ partial: Partial, at leaf: Int) {
    var node = leaf + leaves
    while node > 0 {
      nodes[node].merge(partial)
      node >>= 1
    }
  }

  /// Everything in `first..<last`.
  func merged(_ first: Int, _ last: Int) -> Partial {
    var result = Partial()
    var low = first + leaves
    var high = last + leaves
    while low < high {
      if low & 1 == 1 {
        result.merge(nodes[low])
        low += 1
      }
      if high & 1 == 1 {
        high -= 1
        result.merge(nodes[high])
      }
      low >>= 1
      high >>= 1
    }
    return result
  }
}
