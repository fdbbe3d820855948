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

/// The cells that the windows of a spine cut the axis of event time into.
///
/// For each key, the ends (time &+ 1 µs) and the starts of all its windows cut the axis of event
/// time into cells, closed on the left. Every window is a run of whole cells, so an event is added to
/// one cell and windows are merges of cells, never differences. How many cells there are depends on
/// the spine alone.
struct HistoryAxis: Sendable {
  let shapes: Set<WindowShape>
  /// Where the bounds of each key begin, and one more for the end. A key has one cell fewer than
  /// bounds; its first cell is `begins[key] - key`.
  let begins: [Int32]
  let bounds: [Int64]

  init(shapes: Set<WindowShape>, index: borrowing SpineIndex) {
    self.shapes = shapes
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
  }

  var count: Int { max(0, bounds.count - (begins.count - 1)) }
  var bytes: Int { bounds.count * MemoryLayout<Int64>.stride }

  /// The event's cell among all keys' cells, nil where it is in no window.
  ///
  /// - Parameter next: the bound that ended the cell of the key's last event. Events of a key come
  ///   in about the order of time, so it mostly is the right one again, or the one after it is.
  @inline(__always)
  static func cell(
    of time: Int64, key: Int, _ begins: UnsafeBufferPointer<Int32>,
    _ bounds: UnsafeBufferPointer<Int64>, _ next: inout Int32
  ) -> Int? {
    let begin = Int(begins[key])
    let end = Int(begins[key + 1])
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
    return bound == begin || bound == end ? nil : bound - 1 - key
  }

  /// The same by a search.
  func cell(of time: Int64, key: Int) -> Int? {
    var next = begins[key]
    return begins.withUnsafeBufferPointer { begins in
      bounds.withUnsafeBufferPointer { bounds in
        HistoryAxis.cell(of: time, key: key, begins, bounds, &next)
      }
    }
  }

  /// Answers questions about one kind of aggregate at every place; `answer` gets the question's
  /// number, the place and the aggregate.
  ///
  /// - Parameters:
  ///   - cell: what a cell holds.
  ///   - late: what became known after a spine row that would have held it, by (first place that
  ///     knows, cell); sorted by place.
  func read<Content: Mergeable>(
    _ questions: [(number: Int, shape: WindowShape)], index: borrowing SpineIndex, empty: Content,
    late: [(place: Int, cell: Int, content: Content)], cell: (Int) -> Content,
    answer: (Int, Int, Content) -> Void
  ) {
    var tree = MergeTree(empty: empty)
    var nextLate = 0
    for key in index.starts.indices.dropLast() {
      let begin = Int(begins[key])
      let end = Int(begins[key + 1])
      let firstCell = begin - key
      tree.build(leaves: end - begin - 1) { cell(firstCell + $0) }
      for place in Int(index.starts[key])..<Int(index.starts[key + 1]) {
        while nextLate < late.count, late[nextLate].place <= place {
          tree.add(late[nextLate].content, at: late[nextLate].cell - firstCell)
          nextLate += 1
        }
        let time = index.times[place]
        bounds.withUnsafeBufferPointer { bounds in
          let last = lowerBound(bounds, begin, end, time &+ 1) - begin
          for question in questions {
            let first = lowerBound(bounds, begin, end, question.shape.start(at: time)) - begin
            answer(question.number, place, tree.merged(first, last))
          }
        }
      }
    }
  }
}
