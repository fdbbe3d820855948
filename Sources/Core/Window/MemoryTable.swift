/// The states of the entity keys of one shard of a view.
///
/// A state is changed where it stands: its arrays are copied only where a reader or a snapshot still holds them, and
/// then once.
package struct MemoryTable: Sendable {
  package private(set) var positions: [EntityKey: Int32] = [:]
  package private(set) var states: ContiguousArray<EntityState> = []
  /// The positions of states with pending events.
  private var withPending: Set<Int32> = []
  /// When the earliest pending event's time comes.
  private var nextPending = Int64.max
  /// Places of removed keys, for new ones.
  private var free: [Int32] = []

  package init() {}

  package var count: Int { positions.count }

  package func state(of key: EntityKey) -> EntityState? {
    guard let position = positions[key] else { return nil }
    return states[Int(position)]
  }

  /// Forgets a key; `blank` takes the place of its state until another key needs it.
  package mutating func remove(_ key: EntityKey, blank: EntityState) {
    guard let position = positions.removeValue(forKey: key) else { return }
    states[Int(position)] = blank
    withPending.remove(position)
    free.append(position)
  }

  package mutating func reserve(_ count: Int) {
    positions.reserveCapacity(count)
    states.reserveCapacity(count)
  }

  /// Takes a restored state; false where the key is there already.
  package mutating func insert(_ state: EntityState, for key: EntityKey) -> Bool {
    let position = Int32(states.count)
    guard positions.updateValue(position, forKey: key) == nil else { return false }
    states.append(state)
    if let earliest = state.pending.map(\.eventTimestamp).min() {
      withPending.insert(position)
      nextPending = min(nextPending, earliest)
    }
    return true
  }
}

// MARK: Applying

/// What all the shards of one write share.
package struct MemoryWrite {
  let write: OnlineWrite
  let layout: ViewLayout
  /// An empty state, whose arrays new states share until they are first changed.
  let blank: EntityState
  let now: Int64
  /// Per ring the tile before which nothing is read any more.
  let firstTiles: [Int64]

  /// - Parameter blank: an empty state of the layout.
  package init(_ write: OnlineWrite, layout: ViewLayout, blank: EntityState, now: Timestamp) {
    self.write = write
    self.layout = layout
    self.blank = blank
    self.now = now.microseconds
    firstTiles = layout.firstTiles(at: now)
  }
}

extension MemoryTable {
  /// Merges `rows` of a write in.
  package mutating func apply(_ shared: MemoryWrite, rows: ArraySlice<Int32>) {
    if nextPending <= shared.now { mergePending(shared) }
    let places = places(of: rows, shared)
    for column in shared.write.latest.indices {
      mergeLatest(column: column, shared.write, rows: rows, places: places)
    }
    for ring in shared.layout.rings.indices {
      if !shared.layout.rings[ring].slots.isEmpty {
        mergeTiles(ring: ring, shared, rows: rows, places: places)
      }
      for sketch in shared.layout.rings[ring].sketches.indices {
        mergeSketches(sketch, ring: ring, shared, rows: rows, places: places)
      }
    }
  }

  /// Where each row's state stands; −1 for a row that was put aside because it is dated after now.
  private mutating func places(of rows: ArraySlice<Int32>, _ shared: MemoryWrite) -> [Int32] {
    var places = [Int32](repeating: -1, count: rows.count)
    let write = shared.write
    var next = 0
    for row in rows {
      let row = Int(row)
      let place = place(of: write.keys[row], blank: shared.blank)
      let time = write.eventTimestamps[row]
      if time > shared.now {
        states[Int(place)].pending.append(PendingEvent(write, row: row))
        withPending.insert(place)
        nextPending = min(nextPending, time)
      } else {
        places[next] = place
        if states[Int(place)].newestEvent < time { states[Int(place)].newestEvent = time }
      }
      next += 1
    }
    return places
  }

  private mutating func place(of key: EntityKey, blank: EntityState) -> Int32 {
    if let position = positions[key] { return position }
    if let position = free.popLast() {
      positions[key] = position
      return position
    }
    let position = Int32(states.count)
    positions[key] = position
    states.append(blank)
    return position
  }

  private mutating func mergePending(_ shared: MemoryWrite) {
    nextPending = .max
    for position in withPending {
      let earliest = states[Int(position)].mergePending(
        through: shared.now, layout: shared.layout, firstTiles: shared.firstTiles)
      if let earliest {
        nextPending = min(nextPending, earliest)
      } else {
        withPending.remove(position)
      }
    }
  }

  private mutating func mergeLatest(
    column: Int, _ write: OnlineWrite, rows: ArraySlice<Int32>, places: [Int32]
  ) {
    let presence = write.latest[column].presence
    switch write.latest[column].values {
    case .bool(let all):
      mergeLatest(column, write, rows, places, presence) { .bool(all[$0]) }
    case .int64(let all):
      mergeLatest(column, write, rows, places, presence) { .int64(all[$0]) }
    case .double(let all):
      mergeLatest(column, write, rows, places, presence) { .double(all[$0]) }
    case .string(let all):
      mergeLatest(column, write, rows, places, presence) { .string(all[$0]) }
    case .timestamp(let all):
      mergeLatest(column, write, rows, places, presence) {
        .timestamp(Timestamp(microseconds: all[$0]))
      }
    case .list(let lists):
      mergeLatest(column, write, rows, places, presence) { .list(lists[$0]) }
    }
  }

  @inline(__always)
  private mutating func mergeLatest(
    _ column: Int, _ write: OnlineWrite, _ rows: ArraySlice<Int32>, _ places: [Int32],
    _ presence: [UInt8]?, value: (Int) -> Value
  ) {
    states.withUnsafeMutableBufferPointer { states in
      var next = 0
      for row in rows {
        let row = Int(row)
        let place = Int(places[next])
        next += 1
        guard place >= 0 else { continue }
        let cellPresence = presence?[row] ?? Presence.present.rawValue
        guard cellPresence != Presence.absent.rawValue else { continue }
        let time = write.eventTimestamps[row]
        if let cell = states[place].latest[column],
          !cell.isOlder(
            thanEvent: time, createdAt: write.createdAt[row], sequence: write.sequences[row])
        {
          continue
        }
        states[place].latest[column] = LatestCell(
          value: cellPresence == Presence.present.rawValue ? value(row) : .null,
          eventTimestamp: time, createdAt: write.createdAt[row], sequence: write.sequences[row])
      }
    }
  }

  private mutating func mergeTiles(
    ring: Int, _ shared: MemoryWrite, rows: ArraySlice<Int32>, places: [Int32]
  ) {
    let resolution = shared.layout.rings[ring].resolution.microseconds
    let firstTile = shared.firstTiles[ring]
    let width = shared.layout.rings[ring].slots.count
    let cells = cells(of: shared.layout.rings[ring].slots, shared.write, rows: rows)
    states.withUnsafeMutableBufferPointer { states in
      cells.withUnsafeBufferPointer { cells in
        var next = -1
        for row in rows {
          next += 1
          let place = Int(places[next])
          guard place >= 0 else { continue }
          let tile = floorMultiple(shared.write.eventTimestamps[Int(row)], resolution) / resolution
          guard tile >= firstTile else { continue }
          let row = UnsafeBufferPointer(rebasing: cells[next * width..<(next + 1) * width])
          states[place].rings[ring].add(row, to: tile, droppingBefore: firstTile)
        }
      }
    }
  }

  private mutating func mergeSketches(
    _ slot: Int, ring: Int, _ shared: MemoryWrite, rows: ArraySlice<Int32>, places: [Int32]
  ) {
    let write = shared.write
    let resolution = shared.layout.rings[ring].resolution.microseconds
    let firstTile = shared.firstTiles[ring]
    let sketch = shared.layout.rings[ring].sketches[slot]
    let kind = shared.layout.sketches[sketch].kind
    var next = -1
    for row in rows {
      next += 1
      let row = Int(row)
      let place = Int(places[next])
      guard place >= 0, write.sketches[sketch].isPresent(row) else { continue }
      let tile = floorMultiple(write.eventTimestamps[row], resolution) / resolution
      guard tile >= firstTile else { continue }
      states[place].rings[ring].drop(before: firstTile)
      let position = states[place].rings[ring].position(of: tile)
      let mark = EventMark(
        eventTimestamp: write.eventTimestamps[row], createdAt: write.createdAt[row],
        sequence: write.sequences[row])
      states[place].rings[ring].add(
        write.sketches[sketch][row], mark, toSketch: slot, kind, at: position)
    }
  }

  /// The values of some slots, row after row.
  private func cells(
    of slots: [Int], _ write: OnlineWrite, rows: ArraySlice<Int32>
  ) -> [Double] {
    let width = slots.count
    return [Double](unsafeUninitializedCapacity: rows.count * width) { buffer, count in
      for (offset, slot) in slots.enumerated() {
        write.slots[slot].withUnsafeBufferPointer { values in
          var target = offset
          for row in rows {
            buffer.initializeElement(at: target, to: values[Int(row)])
            target += width
          }
        }
      }
      count = rows.count * width
    }
  }
}

extension TileRing {
  /// Takes one event's slot values in (NaN is no observation); an event without any leaves no tile.
  @inline(__always)
  fileprivate mutating func add(
    _ values: UnsafeBufferPointer<Double>, to tile: Int64, droppingBefore firstTile: Int64
  ) {
    guard values.contains(where: { !$0.isNaN }) else { return }
    if let oldest = indices.first, oldest < firstTile { drop(before: firstTile) }
    let base = position(of: tile) * values.count
    partials.withUnsafeMutableBufferPointer { partials in
      for slot in 0..<values.count where !values[slot].isNaN {
        partials[base + slot].add(values[slot])
      }
    }
  }
}

extension PendingEvent {
  /// One row of a write, as an event by itself.
  package init(_ write: OnlineWrite, row: Int) {
    self.init(
      eventTimestamp: write.eventTimestamps[row], createdAt: write.createdAt[row],
      sequence: write.sequences[row],
      latest: write.latest.map { $0.presence(at: row) == .absent ? nil : $0[row] },
      slots: write.slots.map { $0[row].isNaN ? nil : $0[row] },
      sketches: write.sketches.map { $0.isPresent(row) ? $0[row] : nil })
  }
}
