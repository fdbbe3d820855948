import Core

/// The features of one view over a spine, while the view's source passes by.
///
/// Guarantees: what it holds is bounded by the spine, not by the history; batches may come in any
/// order.
struct HistoryView: Sendable {
  let layout: ViewLayout
  let index: SpineIndex
  private let mode: HistoryMode
  private let wanted: [WantedFeature]
  /// Latest columns that are wanted, by their position in the layout.
  private let latestColumns: [Int]
  /// Slots that are wanted, by their position in the layout.
  private let slots: [Int]
  /// Sketches that are wanted, by their position in the layout.
  private let sketchSlots: [Int]
  private var latest: HistoryLatest?
  private var cells: [HistoryCells]
  /// By entry of `sketchSlots`.
  private var sketches: [HistorySketches]
  /// Events on their way into `cells`.
  private var partitions: HistoryPartitions
  private let reach: HistoryReach
  /// Which keys have any event, of whatever columns; nil where nobody asks.
  private var events: HistoryLatest?

  struct WantedFeature: Sendable {
    var name: FeatureName
    var type: ColumnType
    var reader: ViewLayout.Reader
  }

  /// - Parameters:
  ///   - hasAbsentCells: some events do not observe all columns.
  ///   - withStatuses: also finds out which keys have no event at all.
  init(
    layout: ViewLayout, wanted: [WantedFeature], index: SpineIndex, mode: HistoryMode,
    hasAbsentCells: Bool, withStatuses: Bool
  ) {
    self.layout = layout
    self.wanted = wanted
    self.index = index
    self.mode = mode
    let latestColumns = layout.latestColumns.indices.filter { index in
      wanted.contains { if case .latest(index, _) = $0.reader { true } else { false } }
    }
    if !latestColumns.isEmpty {
      latest = HistoryLatest(
        columns: latestColumns.map { layout.latestColumns[$0] },
        hasAbsentCells: hasAbsentCells, places: index.times.count)
    }
    if withStatuses {
      events = HistoryLatest(columns: [], hasAbsentCells: false, places: index.times.count)
    }
    let shapes = HistoryView.shapes(of: wanted, layout)
    let axes = Dictionary(
      uniqueKeysWithValues: Set(shapes.slots.values).union(shapes.sketches.values)
        .map { ($0, HistoryAxis(shapes: $0, index: index)) })
    let slots = shapes.slots.keys.sorted()
    cells = Dictionary(grouping: slots.indices) { shapes.slots[slots[$0]] ?? [] }
      .sorted { $0.value[0] < $1.value[0] }
      .compactMap { shapes, slots in axes[shapes].map { HistoryCells(axis: $0, slots: slots) } }
    sketchSlots = shapes.sketches.keys.sorted()
    sketches = sketchSlots.compactMap { slot in
      shapes.sketches[slot].flatMap { axes[$0] }.map {
        HistorySketches(axis: $0, kind: layout.sketches[slot].kind)
      }
    }
    partitions = HistoryPartitions(
      keys: index.keys.count, bytes: cells.reduce(0) { $0 + $1.bytes }, width: slots.count)
    reach = HistoryReach(shapes: axes.keys.reduce(into: []) { $0.formUnion($1) }, index: index)
    self.latestColumns = latestColumns
    self.slots = slots
  }

  /// The slots and the sketches that are read, each with its windows' shapes: those that are read
  /// through the same windows share an axis.
  private static func shapes(
    of wanted: [WantedFeature], _ layout: ViewLayout
  ) -> (slots: [Int: Set<WindowShape>], sketches: [Int: Set<WindowShape>]) {
    var slots: [Int: Set<WindowShape>] = [:]
    var sketches: [Int: Set<WindowShape>] = [:]
    for feature in wanted {
      guard case .window(let ring, let slot, let window) = feature.reader else { continue }
      if window.sketch == nil {
        slots[layout.rings[ring].slots[slot], default: []].insert(WindowShape(window))
      } else {
        sketches[layout.rings[ring].sketches[slot], default: []].insert(WindowShape(window))
      }
    }
    return (slots, sketches)
  }

  /// Takes a batch of the source's events in.
  mutating func take(_ events: borrowing HistoryEvents) {
    let keyColumns = layout.keyColumns.compactMap { events.batch[$0] }
    guard keyColumns.count == layout.keyColumns.count else { return }
    let keys = index.keys.find(keyColumns, count: events.count)
    guard keys.contains(where: { $0 >= 0 }) else { return }
    let needsPlaces = latest != nil || self.events != nil || mode == .asKnown
    let places = needsPlaces ? index.firstPlaces(of: events, keys: keys, mode: mode) : nil
    if let places {
      latest?.take(events, places: places)
      self.events?.take(events, places: places)
    }
    guard !cells.isEmpty || !sketches.isEmpty else { return }
    let rows = reach.rows(of: events.eventTimestamps, keys: keys)
    guard !rows.isEmpty else { return }
    let arrivals = places.flatMap { places in
      mode == .asKnown
        ? index.arrivals(events, rows: rows, keys: keys, firstPlaces: places) : nil
    }
    take(events, rows: rows, keys: keys, arrivals: arrivals)
  }

  /// Takes the rows that some window may hold.
  private mutating func take(
    _ events: borrowing HistoryEvents, rows: [Int32], keys: [Int32], arrivals: [Int32]?
  ) {
    let batch = events.batch
    let observed = SlotValues.of(sketchSlots.map { layout.sketches[$0] }, count: events.count) {
      batch[$0]
    }
    for (position, values) in observed.enumerated() {
      sketches[position].take(events, rows: rows, keys: keys, arrivals: arrivals, values: values)
    }
    guard !cells.isEmpty else { return }
    let values = SlotValues.of(slots.map { layout.slots[$0] }, count: events.count) { batch[$0] }
    let width = slots.count
    partitions.append(
      rows: rows, keys: keys, times: events.eventTimestamps, places: arrivals, values: values
    ) { block in
      for axis in cells.indices { cells[axis].take(block, width: width) }
    }
  }

  /// Ends the pass and returns every wanted feature's cells and statuses, by row of the spine.
  mutating func finish() -> [(name: FeatureName, column: Column, statuses: [FeatureStatus])] {
    latest?.finish(index)
    events?.finish(index)
    let width = slots.count
    partitions.drain { block in
      for axis in cells.indices { cells[axis].take(block, width: width) }
    }
    let windows = windowAnswers()
    return wanted.enumerated().compactMap { position, feature in
      switch feature.reader {
      case .latest(let column, let ttl):
        guard let latest, let position = latestColumns.firstIndex(of: column) else { return nil }
        let read = latest.read(
          column: position, ttl: ttl, name: feature.name.description, index: index)
        return (feature.name, read.column, read.statuses)
      case .window:
        let column = spread(windows[position] ?? [], feature)
        return (feature.name, column, windowStatuses(column))
      case .derived: return nil
      }
    }
  }

  /// By position in `wanted`, the aggregate at every place.
  private func windowAnswers() -> [Int: [Value]] {
    let blank = [Value](repeating: .null, count: index.times.count)
    var answers: [Int: [Value]] = [:]
    for axis in cells {
      let asked = windows(of: axis)
      var found = asked.map { _ in blank }
      axis.read(asked.map { ($0.slot, WindowShape($0.window)) }, index: index) {
        question, place, partial in
        let feature = wanted[asked[question].feature]
        found[question][place] = partial.value(
          of: asked[question].window.function, as: feature.type)
      }
      for (question, one) in asked.enumerated() { answers[one.feature] = found[question] }
    }
    for (position, sketch) in sketches.enumerated() {
      let asked = sketchWindows(of: sketchSlots[position])
      var found = asked.map { _ in blank }
      sketch.read(
        asked.enumerated().map { ($0, WindowShape($1.window)) }, index: index
      ) { question, place, sketch in
        found[question][place] = sketch.value(of: asked[question].window)
      }
      for (question, one) in asked.enumerated() { answers[one.feature] = found[question] }
    }
    return answers
  }

  /// The windows that are read from the slots of an axis.
  private func windows(
    of axis: HistoryCells
  ) -> [(feature: Int, slot: Int, window: WindowDefinition)] {
    wanted.enumerated().compactMap { position, feature in
      guard case .window(let ring, let place, let window) = feature.reader, window.sketch == nil,
        let slot = slots.firstIndex(of: layout.rings[ring].slots[place]), axis.slots.contains(slot)
      else { return nil }
      return (position, slot, window)
    }
  }

  private func sketchWindows(of sketch: Int) -> [(feature: Int, window: WindowDefinition)] {
    wanted.enumerated().compactMap { position, feature in
      guard case .window(let ring, let place, let window) = feature.reader, window.sketch != nil,
        layout.rings[ring].sketches[place] == sketch
      else { return nil }
      return (position, window)
    }
  }

  private func windowStatuses(_ column: Column) -> [FeatureStatus] {
    guard let events else { return [] }
    return index.places.enumerated().map { row, place in
      guard place >= 0, events.hasEvents(at: Int(place)) else { return .notFound }
      return column.isPresent(row) ? .present : .null
    }
  }

  /// From places to rows; `values` are of the feature's type or null.
  private func spread(_ values: [Value], _ feature: WantedFeature) -> Column {
    Column(
      name: feature.name.description, type: feature.type,
      index.places.map { $0 < 0 ? .null : values[Int($0)] })
  }
}
