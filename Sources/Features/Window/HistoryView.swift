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
  private var latest: HistoryLatest?
  private var cells: [HistoryCells]
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
    let axes = HistoryView.axes(of: wanted, layout)
    let slots = axes.flatMap(\.slots).sorted()
    cells = axes.map { axis in
      HistoryCells(
        shapes: axis.shapes, slots: axis.slots.compactMap { slots.firstIndex(of: $0) }, index: index
      )
    }
    partitions = HistoryPartitions(
      keys: index.keys.count, bytes: cells.reduce(0) { $0 + $1.bytes }, width: slots.count)
    reach = HistoryReach(shapes: axes.reduce(into: []) { $0.formUnion($1.shapes) }, index: index)
    self.latestColumns = latestColumns
    self.slots = slots
  }

  /// The slots that are read, each with its windows' shapes; slots that are read through the same
  /// windows share their cells.
  private static func axes(
    of wanted: [WantedFeature], _ layout: ViewLayout
  ) -> [(shapes: Set<WindowShape>, slots: [Int])] {
    var shapes: [Int: Set<WindowShape>] = [:]
    for feature in wanted {
      guard case .window(let ring, let slot, let window) = feature.reader else { continue }
      shapes[layout.rings[ring].slots[slot], default: []].insert(WindowShape(window))
    }
    var axes: [(shapes: Set<WindowShape>, slots: [Int])] = []
    for (slot, own) in shapes.sorted(by: { $0.key < $1.key }) {
      if let same = axes.firstIndex(where: { $0.shapes == own }) {
        axes[same].slots.append(slot)
      } else {
        axes.append((own, [slot]))
      }
    }
    return axes
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
    guard !cells.isEmpty else { return }
    let rows = reach.rows(of: events.eventTimestamps, keys: keys)
    guard !rows.isEmpty else { return }
    let batch = events.batch
    let values = SlotValues.of(slots.map { layout.slots[$0] }, count: events.count) { batch[$0] }
    let arrivals = places.flatMap { places in
      mode == .asKnown
        ? index.arrivals(events, rows: rows, keys: keys, firstPlaces: places) : nil
    }
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
    var answers: [Int: [Value]] = [:]
    for axis in cells {
      var asked: [(feature: Int, slot: Int, window: WindowDefinition)] = []
      for (position, feature) in wanted.enumerated() {
        guard case .window(let ring, let slot, let window) = feature.reader,
          let slot = slots.firstIndex(of: layout.rings[ring].slots[slot]), axis.slots.contains(slot)
        else { continue }
        asked.append((position, slot, window))
      }
      var found = asked.map { _ in [Value](repeating: .null, count: index.times.count) }
      axis.read(asked.map { ($0.slot, WindowShape($0.window)) }, index: index) {
        question, place, partial in
        let feature = wanted[asked[question].feature]
        found[question][place] = partial.value(
          of: asked[question].window.function, as: feature.type)
      }
      for (question, one) in asked.enumerated() { answers[one.feature] = found[question] }
    }
    return answers
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
    let cells = index.places.map { $0 < 0 ? Value.null : values[Int($0)] }
    let isComplete = !cells.contains(.null)
    let packed: ColumnValues =
      feature.type == .int64
      ? .int64(cells.map { if case .int64(let value) = $0 { value } else { 0 } })
      : .double(cells.map { if case .double(let value) = $0 { value } else { 0 } })
    return Column(
      name: feature.name.description, values: packed,
      presence: isComplete ? nil : cells.map { $0.isNull ? Presence.null.rawValue : 0 })
  }
}
