import Core

/// Reads some features of one view out of an entity's state at an instant, by positions that were worked out before.
///
/// Rules of value and status: semantics §2, §4 and §8. A key without any event at that time, known or not, reads as silent:
/// counts and sums are 0, the rest is null, and every status is `not_found`.
package struct FeatureReader: Sendable {
  /// A distinct window over a distinct slot; features that differ in their function only share it.
  private struct Window: Hashable {
    var ring: Int
    var slot: Int
    var layoutSlot: Int
    var length: Int64
    var resolution: Int64
  }

  private enum Step {
    case latest(column: Int, ttl: Int64?)
    case window(Int, AggregateFunction, ColumnType)
    case sketch(Int, WindowDefinition)
  }

  private var windows: [Window] = []
  private var sketches: [(window: Window, kind: SketchKind)] = []
  private var steps: [Step] = []

  /// - Parameter readers: positions in `layout.readers`, of latest or window features; others read as null.
  package init(_ layout: ViewLayout, readers: [Int]) {
    for position in readers {
      let (_, type, reader) = layout.readers[position]
      switch reader {
      case .latest(let column, let ttl):
        steps.append(.latest(column: column, ttl: ttl?.microseconds))
      case .window(let ring, let slot, let definition):
        var window = Window(
          ring: ring, slot: slot, layoutSlot: 0, length: definition.length.microseconds,
          resolution: definition.resolution.microseconds)
        if let kind = definition.sketch {
          window.layoutSlot = layout.rings[ring].sketches[slot]
          let found = sketches.firstIndex { $0.window == window } ?? sketches.count
          if found == sketches.count { sketches.append((window, kind)) }
          steps.append(.sketch(found, definition))
          continue
        }
        window.layoutSlot = layout.rings[ring].slots[slot]
        let index = windows.firstIndex(of: window) ?? windows.count
        if index == windows.count { windows.append(window) }
        steps.append(.window(index, definition.function, type))
      case .derived: steps.append(.window(-1, .count, type))
      }
    }
  }

  /// One value for each reader, in their order.
  package func read(_ state: EntityState?, at time: Timestamp) -> [FeatureValue] {
    var values: [FeatureValue] = []
    read(state, at: time) { _, value in values.append(value) }
    return values
  }

  /// Gives each reader's position and value in order.
  @inline(__always)
  package func read(
    _ state: EntityState?, at time: Timestamp, into take: (Int, FeatureValue) -> Void
  ) {
    let now = time.microseconds
    let newest = state?.newestEvent(at: now)
    withUnsafeTemporaryAllocation(of: Partial.self, capacity: max(1, windows.count)) { partials in
      for (index, window) in windows.enumerated() {
        let partial =
          state?.partial(
            ring: window.ring, slot: window.slot, layoutSlot: window.layoutSlot,
            length: window.length, resolution: window.resolution, at: now) ?? Partial()
        partials.initializeElement(at: index, to: partial)
      }
      let sketches = sketches.map { sketch(of: state, $0.window, $0.kind, at: now) }
      for (index, step) in steps.enumerated() {
        switch step {
        case .sketch(let sketch, let definition):
          take(
            index, FeatureReader.observed(sketches[sketch].value(of: definition), newest: newest))
        case .latest(let column, let ttl):
          take(index, FeatureReader.latest(state?.latest(column, at: now), ttl: ttl, at: now))
        case .window(-1, _, _):
          take(index, FeatureValue(value: .null, status: .notFound))
        case .window(let window, let function, let type):
          take(
            index,
            FeatureReader.window(partials[window], function: function, type: type, newest: newest))
        }
      }
    }
  }

  private static func latest(_ cell: LatestCell?, ttl: Int64?, at now: Int64) -> FeatureValue {
    guard let cell else { return FeatureValue(value: .null, status: .notFound) }
    let time = Timestamp(microseconds: cell.eventTimestamp)
    if let ttl, cell.eventTimestamp < now &- ttl {
      return FeatureValue(value: .null, status: .expired, eventTimestamp: time)
    }
    return FeatureValue(
      value: cell.value, status: cell.value.isNull ? .null : .present, eventTimestamp: time)
  }

  private static func window(
    _ partial: Partial, function: AggregateFunction, type: ColumnType, newest: Int64?
  ) -> FeatureValue {
    observed(partial.value(of: function, as: type), newest: newest)
  }

  private func sketch(
    of state: EntityState?, _ window: Window, _ kind: SketchKind, at now: Int64
  ) -> Sketch {
    state?.sketch(
      kind, ring: window.ring, slot: window.slot, layoutSlot: window.layoutSlot,
      length: window.length, resolution: window.resolution, at: now) ?? Sketch(kind)
  }

  private static func observed(_ value: Value, newest: Int64?) -> FeatureValue {
    guard let newest else { return FeatureValue(value: value, status: .notFound) }
    return FeatureValue(
      value: value, status: value.isNull ? .null : .present,
      eventTimestamp: Timestamp(microseconds: newest))
  }
}
