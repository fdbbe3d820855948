extension EntityState {
  /// The newest event at `time` (microseconds); nil where the key has none yet, because all are dated later.
  package func newestEvent(at time: Int64) -> Int64? {
    var newest = newestEvent
    for event in pending where event.eventTimestamp <= time {
      newest = max(newest, event.eventTimestamp)
    }
    return newest == .min ? nil : newest
  }

  /// The newest observation of a latest column at `time` (semantics §2), pending events whose time has come included.
  package func latest(_ column: Int, at time: Int64) -> LatestCell? {
    guard !pending.isEmpty else { return latest[column] }
    var newest = latest[column]
    for event in pending where event.eventTimestamp <= time {
      guard let value = event.latest[column] else { continue }
      let isNewer =
        newest?.isOlder(
          thanEvent: event.eventTimestamp, createdAt: event.createdAt, sequence: event.sequence)
        ?? true
      guard isNewer else { continue }
      newest = LatestCell(
        value: value, eventTimestamp: event.eventTimestamp, createdAt: event.createdAt,
        sequence: event.sequence)
    }
    return newest
  }

  /// Everything of one slot with `floor(time − length, r) <= event_timestamp <= time` (semantics §4).
  ///
  /// - Parameters:
  ///   - ring: the ring's position in the layout, of resolution `resolution`.
  ///   - slot: the position inside the ring's tile; `layoutSlot` is the same slot's position in the layout.
  package func partial(
    ring: Int, slot: Int, layoutSlot: Int, length: Int64, resolution: Int64, at time: Int64
  ) -> Partial {
    var partial = Partial()
    let start = WindowDefinition.start(at: time, length: length, resolution: resolution)
    rings[ring].merge(
      slot: slot, from: tile(start, resolution), through: tile(time, resolution), into: &partial)
    for event in pending where event.eventTimestamp >= start && event.eventTimestamp <= time {
      if let value = event.slots[layoutSlot] { partial.add(value) }
    }
    return partial
  }

  /// The same of a sketch; `slot` is its position among the ring's sketches, `layoutSlot` among the layout's.
  package func sketch(
    _ kind: SketchKind, ring: Int, slot: Int, layoutSlot: Int, length: Int64, resolution: Int64,
    at time: Int64
  ) -> Sketch {
    var sketch = Sketch(kind)
    let start = WindowDefinition.start(at: time, length: length, resolution: resolution)
    rings[ring].merge(
      sketch: slot, from: tile(start, resolution), through: tile(time, resolution), into: &sketch)
    for event in pending where event.eventTimestamp >= start && event.eventTimestamp <= time {
      if let value = event.sketches[layoutSlot] { sketch.add(value, event.mark) }
    }
    return sketch
  }

  private func tile(_ time: Int64, _ resolution: Int64) -> Int64 {
    floorMultiple(time, resolution) / resolution
  }
}

extension PendingEvent {
  package var mark: EventMark {
    EventMark(eventTimestamp: eventTimestamp, createdAt: createdAt, sequence: sequence)
  }
}

extension EntityState {
  /// Merges the pending events that are not dated after `now` and keeps the others aside.
  ///
  /// - Parameter firstTiles: per ring the tile before which nothing is read any more.
  /// - Returns: the earliest time of an event that is still pending, nil where none is.
  package mutating func mergePending(
    through now: Int64, layout: ViewLayout, firstTiles: [Int64]
  ) -> Int64? {
    var waiting: [PendingEvent] = []
    for event in pending {
      guard event.eventTimestamp <= now else {
        waiting.append(event)
        continue
      }
      merge(event, layout: layout, firstTiles: firstTiles)
    }
    pending = waiting
    return waiting.map(\.eventTimestamp).min()
  }

  private mutating func merge(_ event: PendingEvent, layout: ViewLayout, firstTiles: [Int64]) {
    newestEvent = max(newestEvent, event.eventTimestamp)
    for (column, value) in event.latest.enumerated() {
      guard let value else { continue }
      if let cell = latest[column],
        !cell.isOlder(
          thanEvent: event.eventTimestamp, createdAt: event.createdAt, sequence: event.sequence)
      {
        continue
      }
      latest[column] = LatestCell(
        value: value, eventTimestamp: event.eventTimestamp, createdAt: event.createdAt,
        sequence: event.sequence)
    }
    for (index, ring) in layout.rings.enumerated() {
      let resolution = ring.resolution.microseconds
      let tile = floorMultiple(event.eventTimestamp, resolution) / resolution
      let isObserved =
        ring.slots.contains { event.slots[$0] != nil }
        || ring.sketches.contains { event.sketches[$0] != nil }
      guard tile >= firstTiles[index], isObserved else { continue }
      let position = rings[index].position(of: tile)
      for (offset, slot) in ring.slots.enumerated() {
        guard let value = event.slots[slot] else { continue }
        rings[index].partials[position * ring.slots.count + offset].add(value)
      }
      for (offset, slot) in ring.sketches.enumerated() {
        guard let value = event.sketches[slot] else { continue }
        rings[index].add(
          value, event.mark, toSketch: offset, layout.sketches[slot].kind, at: position)
      }
    }
  }
}

extension ViewLayout {
  /// Per ring the first tile that any read at `now` or later can need, and one more for clocks that differ a little.
  package func firstTiles(at now: Timestamp) -> [Int64] {
    rings.map { ring in
      let resolution = ring.resolution.microseconds
      return floorMultiple(now.microseconds &- ring.horizon.microseconds, resolution) / resolution
        - 1
    }
  }
}
