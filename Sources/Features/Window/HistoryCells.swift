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
  /// Positions among the values of an event that `take` gets.
  let slots: [Int]
  /// Where the bounds of each key begin, and one more for the end. A key has one cell fewer than
  /// bounds.
  private let begins: [Int32]
  private let bounds: [Int64]
  /// By key, see `cell`.
  private var nextBounds: [Int32]
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
    nextBounds = Array(begins.dropLast())
    let cells = bounds.count - (begins.count - 1)
    partials = [Partial](repeating: Partial(), count: max(0, cells) * slots.count)
  }

  /// What it takes in memory.
  var bytes: Int {
    bounds.count * MemoryLayout<Int64>.stride + partials.count * MemoryLayout<Partial>.stride
  }

  /// Adds a block's events to their cells; an event has `width` values.
  mutating func take(_ block: HistoryBlock, width: Int) {
    var late: [(event: Int, cell: Int)] = []
    let (slots, begins, bounds) = (slots, begins, bounds)
    bounds.withUnsafeBufferPointer { bounds in
      begins.withUnsafeBufferPointer { begins in
        nextBounds.withUnsafeMutableBufferPointer { nextBounds in
          partials.withUnsafeMutableBufferPointer { partials in
            for event in block.keys.indices {
              let key = Int(block.keys[event])
              let cell = HistoryCells.cell(
                of: block.times[event], Int(begins[key]), Int(begins[key + 1]), bounds,
                &nextBounds[key])
              guard let cell else { continue }
              guard block.places[event] == HistoryBlock.onTime else {
                if block.places[event] >= 0 { late.append((event, cell - key)) }
                continue
              }
              var partial = (cell - key) * slots.count
              for slot in slots {
                let value = block.values[event * width + slot]
                if !value.isNaN { partials[partial].add(value) }
                partial += 1
              }
            }
          }
        }
      }
    }
    for (event, cell) in late { addLate(block, event, cell: Int32(cell), width: width) }
  }

  /// The bound that begins the event's cell, nil where the event is in no window.
  ///
  /// - Parameter next: the bound that ended the cell of the key's last event. Events of a key come
  ///   in about the order of time, so it mostly is the right one again, or the one after it is.
  @inline(__always)
  private static func cell(
    of time: Int64, _ begin: Int, _ end: Int, _ bounds: UnsafeBufferPointer<Int64>,
    _ next: inout Int32
  ) -> Int? {
    var bound = Int(next)
    // The first bound after the event ends its cell.
    if bound > begin, bounds[bound - 1] > time {
      bound = lowerBound(bounds, begin, bound, time &+ 1)
    } else if bound < end, bounds[bound] <= time {
      bound += 1
      if bound < end, bounds[bound] <= time {
        bound = lowerBound(bounds, bound, end, time &+ 1)
      }
    }
    next = Int32(truncatingIfNeeded: bound)
    return bound == begin || bound == end ? nil : bound - 1
  }

  private mutating func addLate(_ block: HistoryBlock, _ event: Int, cell: Int32, width: Int) {
    let place = block.places[event]
    let entry = Int(late.number(of: Int64(place) << 32 | Int64(cell)))
    if entry == latePlaces.count {
      latePlaces.append((place, cell))
      latePartials.append(contentsOf: repeatElement(Partial(), count: slots.count))
    }
    for (offset, slot) in slots.enumerated() {
      let value = block.values[event * width + slot]
      if !value.isNaN { latePartials[entry * slots.count + offset].add(value) }
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
