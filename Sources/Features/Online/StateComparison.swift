import Core

/// Tells where a stored state of a key differs from what it should be: by what features read, and by what they will read.
struct StateComparison {
  private let layout: ViewLayout
  private let readers: [Int]
  private let reader: FeatureReader
  /// Of a state without events.
  private let blank: EntityState

  init(_ layout: ViewLayout) {
    self.layout = layout
    readers = layout.readers.indices.filter {
      if case .derived = layout.readers[$0].reader { false } else { true }
    }
    reader = FeatureReader(layout, readers: readers)
    blank = EntityState(layout: layout)
  }

  /// - Parameters:
  ///   - expected: takes over latest values from before `horizon`, whose events may be gone from the warehouse.
  ///   - forgets: whether a key may be missing when none of its values counts any more.
  func differences(
    _ found: FoundState, _ expected: inout EntityState, at now: Timestamp, horizon: Int64,
    forgets: Bool
  ) -> [(feature: String, stored: String, expected: String)] {
    settle(&expected, now)
    let wanted = reader.read(expected, at: now)
    switch found {
    case .missing:
      let silent = reader.read(nil, at: now)
      if forgets, zip(wanted, silent).allSatisfy({ Self.same($0.value, $1.value) }) { return [] }
      return all("missing", wanted)
    case .unreadable(let why): return all(why, wanted)
    case .state(var stored):
      settle(&stored, now)
      keepOld(of: stored, in: &expected, before: horizon)
      return differences(stored, expected, at: now, horizon: horizon)
    }
  }

  private func settle(_ state: inout EntityState, _ now: Timestamp) {
    _ = state.mergePending(
      through: now.microseconds, layout: layout, firstTiles: layout.firstTiles(at: now))
  }

  private func keepOld(of stored: EntityState, in expected: inout EntityState, before: Int64) {
    for column in expected.latest.indices where expected.latest[column] == nil {
      guard let cell = stored.latest[column], cell.eventTimestamp < before else { continue }
      expected.latest[column] = cell
      expected.newestEvent = max(expected.newestEvent, cell.eventTimestamp)
    }
  }

  private func all(
    _ stored: String, _ wanted: [FeatureValue]
  ) -> [(feature: String, stored: String, expected: String)] {
    zip(readers, wanted).map { (layout.readers[$0].name, stored, Self.text($1)) }
  }

  private func differences(
    _ stored: EntityState, _ expected: EntityState, at now: Timestamp, horizon: Int64
  ) -> [(feature: String, stored: String, expected: String)] {
    let (got, wanted) = (reader.read(stored, at: now), reader.read(expected, at: now))
    let firstTiles = layout.firstTiles(at: now)
    let isWaiting = !Self.samePending(stored.pending, expected.pending)
    var found: [(feature: String, stored: String, expected: String)] = []
    for (place, index) in readers.enumerated() {
      let isSame =
        switch layout.readers[index].reader {
        case .latest(let column, _):
          Self.same(stored.latest[column], expected.latest[column])
        case .window(let ring, let slot, let window):
          sameTiles(
            stored.rings[ring], expected.rings[ring], slot, window,
            // The first tile is one more than any window needs; both may have dropped it.
            from: max(firstTiles[ring] + 1, firstTile(of: layout.rings[ring], after: horizon)))
        case .derived: true
        }
      if isSame, !isWaiting { continue }
      let (stored, expected) = (Self.text(got[place]), Self.text(wanted[place]))
      let isHidden = stored == expected
      let note = isSame ? " (waiting events differ)" : " (differs in what is not read now)"
      found.append(
        (layout.readers[index].name, stored + (isHidden ? note : ""), expected))
    }
    return found
  }

  private func firstTile(of ring: ViewLayout.Ring, after horizon: Int64) -> Int64 {
    guard horizon > .min else { return .min }
    let resolution = ring.resolution.microseconds
    return floorMultiple(horizon, resolution) / resolution + 1
  }

  // MARK: Parts of states

  private func sameTiles(
    _ a: TileRing, _ b: TileRing, _ slot: Int, _ window: WindowDefinition, from first: Int64
  ) -> Bool {
    let tiles = Set(a.indices).union(b.indices).filter { $0 >= first }
    return tiles.allSatisfy { tile in
      if let kind = window.sketch {
        var (one, other) = (Sketch(kind), Sketch(kind))
        a.merge(sketch: slot, from: tile, through: tile, into: &one)
        b.merge(sketch: slot, from: tile, through: tile, into: &other)
        return one == other || Self.close(one.value(of: window), other.value(of: window))
      }
      var (one, other) = (Partial(), Partial())
      a.merge(slot: slot, from: tile, through: tile, into: &one)
      b.merge(slot: slot, from: tile, through: tile, into: &other)
      return Self.same(one, other)
    }
  }

  private static func same(_ a: Partial, _ b: Partial) -> Bool {
    guard a.count == b.count, a.min == b.min, a.max == b.max else { return false }
    if a.total == b.total || (a.total.isNaN && b.total.isNaN) { return true }
    let scale = max(abs(a.min), abs(a.max)) * Double(a.count)
    return abs(a.total - b.total) <= 1e-9 * max(scale, abs(a.total))
  }

  private static func same(_ a: LatestCell?, _ b: LatestCell?) -> Bool {
    guard let a, let b else { return a == nil && b == nil }
    return same(a.value, b.value) && a.eventTimestamp == b.eventTimestamp
      && a.createdAt == b.createdAt && a.sequence == b.sequence
  }

  /// NaN is the same as NaN here.
  private static func same(_ a: Value, _ b: Value) -> Bool { a == b || text(a) == text(b) }

  private static func close(_ a: Value, _ b: Value) -> Bool {
    if same(a, b) { return true }
    guard case .double(let a) = a, case .double(let b) = b else { return false }
    return abs(a - b) <= 1e-9 * max(abs(a), abs(b))
  }

  private static func samePending(_ a: [PendingEvent], _ b: [PendingEvent]) -> Bool {
    a.sorted { $0.sequence < $1.sequence } == b.sorted { $0.sequence < $1.sequence }
  }

  private static func text(_ value: Value) -> String {
    var bytes: [UInt8] = []
    JSON.write(value, into: &bytes)
    return String(decoding: bytes, as: UTF8.self)
  }

  private static func text(_ value: FeatureValue) -> String {
    let words =
      value.status == .present
      ? text(value.value) : "\(text(value.value)) (\(value.status.rawValue))"
    return words + (value.eventTimestamp.map { " of \($0)" } ?? "")
  }
}
