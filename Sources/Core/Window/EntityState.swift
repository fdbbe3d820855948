/// The newest observation of one column of one entity key.
package struct LatestCell: Sendable, Equatable {
  package var value: Value
  package var eventTimestamp: Int64
  package var createdAt: Int64
  package var sequence: Int64

  @inlinable package init(value: Value, eventTimestamp: Int64, createdAt: Int64, sequence: Int64) {
    self.value = value
    self.eventTimestamp = eventTimestamp
    self.createdAt = createdAt
    self.sequence = sequence
  }

  /// Whether an observation with these marks replaces this one (semantics §2).
  @inlinable package func isOlder(
    thanEvent eventTimestamp: Int64, createdAt: Int64, sequence: Int64
  ) -> Bool {
    if self.eventTimestamp != eventTimestamp { return self.eventTimestamp < eventTimestamp }
    if self.createdAt != createdAt { return self.createdAt < createdAt }
    return self.sequence < sequence
  }
}

/// The non-empty tiles of one resolution, oldest first; `partials` holds `width` of them a tile, in tile order, and `sketches` one
/// array a tile, nil where the view has none or the tile has nothing for it.
public struct TileRing: Sendable, Equatable {
  /// Multiples of the resolution: tile i covers [i·r, (i+1)·r).
  public var indices: [Int64] = []
  public var partials: [Partial] = []
  public var width: Int
  /// By tile and position in the ring's sketches; empty where the ring has no sketches.
  package var sketches: [[Sketch?]] = []
  package var sketchWidth: Int

  package init(width: Int, sketchWidth: Int) {
    self.width = width
    self.sketchWidth = sketchWidth
  }

  /// The position of tile `index`, made (empty) where it was not there.
  @inlinable public mutating func position(of index: Int64) -> Int {
    if let last = indices.last, last == index { return indices.count - 1 }
    return insertedPosition(of: index)
  }

  @usableFromInline mutating func insertedPosition(of index: Int64) -> Int {
    let found = lowerBound(index)
    if found < indices.count, indices[found] == index { return found }
    indices.insert(index, at: found)
    partials.insert(contentsOf: repeatElement(Partial(), count: width), at: found * width)
    if sketchWidth > 0 {
      sketches.insert([Sketch?](repeating: nil, count: sketchWidth), at: found)
    }
    return found
  }

  /// The first position whose tile is not before `index`.
  @inlinable public func lowerBound(_ index: Int64) -> Int {
    var low = 0
    var high = indices.count
    while low < high {
      let middle = (low + high) / 2
      if indices[middle] < index { low = middle + 1 } else { high = middle }
    }
    return low
  }

  /// Merges slot `slot` of the tiles from `first` through `last` into `partial`.
  @inlinable public func merge(
    slot: Int, from first: Int64, through last: Int64, into partial: inout Partial
  ) {
    var position = lowerBound(first)
    while position < indices.count, indices[position] <= last {
      partial.merge(partials[position * width + slot])
      position += 1
    }
  }

  /// Merges a sketch of the tiles from `first` through `last` into `sketch`.
  package func merge(
    sketch slot: Int, from first: Int64, through last: Int64, into sketch: inout Sketch
  ) {
    var position = lowerBound(first)
    while position < indices.count, indices[position] <= last {
      if let one = sketches[position][slot] { sketch.merge(one) }
      position += 1
    }
  }

  /// Takes an observation into a sketch of the tile at `position`.
  package mutating func add(
    _ value: Value, _ mark: EventMark, toSketch slot: Int, _ kind: SketchKind, at position: Int
  ) {
    var sketch = sketches[position][slot] ?? Sketch(kind)
    // What the tile holds is taken out while it changes, so that it is not copied.
    sketches[position][slot] = nil
    sketch.add(value, mark)
    sketches[position][slot] = sketch
  }

  /// Drops the tiles before `index`; does its work rarely, so that it costs nothing on average.
  @inlinable public mutating func drop(before index: Int64) {
    guard let first = indices.first, first < index else { return }
    let count = lowerBound(index)
    guard count == indices.count || count >= 8 else { return }
    removeFirst(count)
  }

  @usableFromInline mutating func removeFirst(_ count: Int) {
    indices.removeFirst(count)
    partials.removeFirst(count * width)
    if sketchWidth > 0 { sketches.removeFirst(count) }
  }
}

/// An event that is dated after the clock: kept aside until its time has come.
package struct PendingEvent: Sendable, Equatable {
  package var eventTimestamp: Int64
  package var createdAt: Int64
  package var sequence: Int64
  /// By latest column; nil is no observation.
  package var latest: [Value?]
  /// By slot; nil is outside the filter, null or NaN.
  package var slots: [Double?]
  /// By sketch slot; nil is outside the filter, null or NaN.
  package var sketches: [Value?]

  package init(
    eventTimestamp: Int64, createdAt: Int64, sequence: Int64, latest: [Value?], slots: [Double?],
    sketches: [Value?] = []
  ) {
    self.sketches = sketches
    self.eventTimestamp = eventTimestamp
    self.createdAt = createdAt
    self.sequence = sequence
    self.latest = latest
    self.slots = slots
  }
}

/// What the online store keeps of one entity key in one view, laid out by a `ViewLayout`.
package struct EntityState: Sendable, Equatable {
  package var latest: [LatestCell?]
  package var rings: [TileRing]
  package var pending: [PendingEvent]
  /// The newest event that was applied, for freshness; `Int64.min` where none was.
  package var newestEvent: Int64

  package init(layout: ViewLayout) {
    latest = Array(repeating: nil, count: layout.latestColumns.count)
    rings = layout.rings.map { TileRing(width: $0.slots.count, sketchWidth: $0.sketches.count) }
    pending = []
    newestEvent = .min
  }
}
