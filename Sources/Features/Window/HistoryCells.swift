import Core

/// The partial aggregates of some slots in the cells of an axis.
struct HistoryCells: Sendable {
  let axis: HistoryAxis
  /// Positions among the values of an event that `take` gets.
  let slots: [Int]
  /// By key, see `HistoryAxis.cell`.
  private var nextBounds: [Int32]
  /// Cell by cell, slot by slot.
  private var partials: [Partial]
  /// Events that became known after a spine row that would have held them: numbered by (first place
  /// that knows, cell).
  private var late = Int64Numbering()
  private var latePlaces: [(place: Int32, cell: Int32)] = []
  private var latePartials: [Partial] = []

  init(axis: HistoryAxis, slots: [Int]) {
    self.axis = axis
    self.slots = slots
    nextBounds = Array(axis.begins.dropLast())
    partials = [Partial](repeating: Partial(), count: axis.count * slots.count)
  }

  /// What it takes in memory.
  var bytes: Int { axis.bytes + partials.count * MemoryLayout<Partial>.stride }

  /// Adds a block's events to their cells; an event has `width` values.
  mutating func take(_ block: HistoryBlock, width: Int) {
    var late: [(event: Int, cell: Int)] = []
    let (slots, axis) = (slots, axis)
    axis.bounds.withUnsafeBufferPointer { bounds in
      axis.begins.withUnsafeBufferPointer { begins in
        nextBounds.withUnsafeMutableBufferPointer { nextBounds in
          partials.withUnsafeMutableBufferPointer { partials in
            for event in block.keys.indices {
              let key = Int(block.keys[event])
              let cell = HistoryAxis.cell(
                of: block.times[event], key: key, begins, bounds, &nextBounds[key])
              guard let cell else { continue }
              guard block.places[event] == HistoryBlock.onTime else {
                if block.places[event] >= 0 { late.append((event, cell)) }
                continue
              }
              var partial = cell * slots.count
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
    let order = latePlaces.indices.sorted { latePlaces[$0].place < latePlaces[$1].place }
    for (position, slot) in slots.enumerated() {
      let asked = questions.enumerated().filter { $1.slot == slot }.map { ($0, $1.shape) }
      let late = order.map {
        (
          Int(latePlaces[$0].place), Int(latePlaces[$0].cell),
          latePartials[$0 * slots.count + position]
        )
      }
      axis.read(asked, index: index, empty: Partial(), late: late) {
        partials[$0 * slots.count + position]
      } answer: {
        answer($0, $1, $2)
      }
    }
  }
}
