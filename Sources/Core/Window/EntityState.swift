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

/// The non-empty tiles of one resolution, oldest first; `partials` holds `width` of them a tile, in tile order.
public struct TileRing: Sendable, Equatable {
  /// Multiples of the resolution: tile i covers [i·r, (i+1)·r).
  public var indices: [Int64] = []
  public var partials: [Partial] = []
  public var width: Int

  @inlinable public init(width: Int) { self.width = width }

  /// The position of tile `index`, made (empty) where it was not there.
  @inlinable public mutating func position(of index: Int64) -> Int {
    if let last = indices.last {
      if last == index { return indices.count - 1 }
      if last < index {
        appendTile(index)
        return indices.count - 1
      }
    } else {
      appendTile(index)
      return 0
    }
    let found = lowerBound(index)
    if indices[found] != index {
      indices.insert(index, at: found)
      partials.insert(contentsOf: repeatElement(Partial(), count: width), at: found * width)
    }
    return found
  }

  @inlinable mutating func appendTile(_ index: Int64) {
    indices.append(index)
    for _ in 0..<width { partials.append(Partial()) }
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

  /// Drops the tiles before `index`; does its work rarely, so that it costs nothing on average.
  @inlinable public mutating func drop(before index: Int64) {
    guard let first = indices.first, first < index else { return }
    let count = lowerBound(index)
    guard count == indices.count || count >= 8 else { return }
    indices.removeFirst(count)
    partials.removeFirst(count * width)
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

  package init(
    eventTimestamp: Int64, createdAt: Int64, sequence: Int64, latest: [Value?], slots: [Double?]
  ) {
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
    rings = layout.rings.map { TileRing(width: $0.slots.count) }
    pending = []
    newestEvent = .min
  }
}
