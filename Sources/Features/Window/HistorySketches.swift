import Core

/// One sketch of a view in the cells of an axis.
///
/// Memory is bounded by the spine: a cell without observations holds nothing.
struct HistorySketches: Sendable {
  let axis: HistoryAxis
  private let kind: SketchKind
  private var cells: [Sketch?]
  /// Observations that became known after a spine row that would have held them: numbered by (first
  /// place that knows, cell).
  private var late = Int64Numbering()
  private var lateSketches: [(place: Int, cell: Int, sketch: Sketch)] = []

  init(axis: HistoryAxis, kind: SketchKind) {
    self.axis = axis
    self.kind = kind
    cells = [Sketch?](repeating: nil, count: axis.count)
  }

  /// Takes the observations of a batch in.
  ///
  /// - Parameters:
  ///   - rows: the rows that some window may hold; `keys` and `values` are by row of the batch.
  ///   - arrivals: by entry of `rows`, see `HistoryBlock.places`; nil when all are on time.
  mutating func take(
    _ events: borrowing HistoryEvents, rows: [Int32], keys: [Int32], arrivals: [Int32]?,
    values: Column
  ) {
    for (entry, row) in rows.enumerated() {
      let row = Int(row)
      guard values.isPresent(row) else { continue }
      let time = events.eventTimestamps[row]
      guard let cell = axis.cell(of: time, key: Int(keys[row])) else { continue }
      let mark = EventMark(
        eventTimestamp: time, createdAt: events.createdAt[row], sequence: events.sequences[row])
      let place = arrivals?[entry] ?? HistoryBlock.onTime
      if place == HistoryBlock.onTime {
        add(values[row], mark, to: cell)
      } else if place >= 0 {
        addLate(values[row], mark, to: cell, place: place)
      }
    }
  }

  private mutating func add(_ value: Value, _ mark: EventMark, to cell: Int) {
    var sketch = cells[cell] ?? Sketch(kind)
    // Taken out while it changes, so that it is not copied.
    cells[cell] = nil
    sketch.add(value, mark)
    cells[cell] = sketch
  }

  private mutating func addLate(_ value: Value, _ mark: EventMark, to cell: Int, place: Int32) {
    let entry = Int(late.number(of: Int64(place) << 32 | Int64(cell)))
    if entry == lateSketches.count { lateSketches.append((Int(place), cell, Sketch(kind))) }
    lateSketches[entry].sketch.add(value, mark)
  }

  /// Answers windows at every place; `answer` gets the window's number, the place and the sketch.
  func read(
    _ windows: [(number: Int, shape: WindowShape)], index: borrowing SpineIndex,
    answer: (Int, Int, Sketch) -> Void
  ) {
    let empty = Sketch(kind)
    axis.read(
      windows, index: index, empty: empty,
      late: lateSketches.sorted { $0.place < $1.place }
        .map { ($0.place, $0.cell, $0.sketch) }
    ) {
      cells[$0] ?? empty
    } answer: {
      answer($0, $1, $2)
    }
  }
}
