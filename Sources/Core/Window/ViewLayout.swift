/// What a view keeps online for each entity key: latest columns and tiles, addressed by position.
///
/// Made once from a `ViewDefinition`; features that aggregate the same column under the same filter share a slot, slots of the
/// same resolution share a tile ring.
package struct ViewLayout: Sendable, Equatable {
  /// One distinct (column, filter): what a tile aggregates.
  package struct Slot: Sendable, Hashable {
    /// Nil counts events.
    package var column: String?
    package var filter: Expression?
  }

  /// One distinct (column, filter, sketch): what a tile keeps beside its slots.
  package struct SketchSlot: Sendable, Hashable {
    package var column: String
    package var filter: Expression?
    package var kind: SketchKind
  }

  /// The slots that are kept in tiles of one resolution.
  package struct Ring: Sendable, Equatable {
    package var resolution: Span
    /// The longest window read from it: tiles older than this plus one resolution are dropped.
    package var horizon: Span
    /// Indices into `slots`.
    package var slots: [Int] = []
    /// Indices into `sketches`.
    package var sketches: [Int] = []
  }

  package enum Reader: Sendable, Equatable {
    /// An index into `latestColumns`.
    case latest(Int, ttl: Span?)
    /// `slot` is the position among the slots of the ring's tile, or among its sketches where the window has a sketch.
    case window(ring: Int, slot: Int, WindowDefinition)
    case derived(Expression)
  }

  package var view: String
  /// Tells states of one layout apart: those that are read, and those that are computed anew beside them. Not part of what is equal.
  package var generation: Int64 = 0
  package var source: String
  package var keyColumns: [String]
  package var keyTypes: [ColumnType]
  /// Source columns whose newest observation is kept, with their types.
  package var latestColumns: [ColumnDefinition]
  package var slots: [Slot]
  package var sketches: [SketchSlot]
  package var rings: [Ring]
  /// How each feature of the view is read, in the view's order.
  package var readers: [(name: String, type: ColumnType, reader: Reader)]

  package static func == (a: ViewLayout, b: ViewLayout) -> Bool {
    a.view == b.view && a.source == b.source && a.keyColumns == b.keyColumns
      && a.latestColumns == b.latestColumns && a.slots == b.slots && a.sketches == b.sketches
      && a.rings == b.rings
      && a.readers.elementsEqual(b.readers) {
        $0.name == $1.name && $0.type == $1.type && $0.reader == $1.reader
      }
  }

  package init(view: ViewDefinition, entity: EntityDefinition, source: SourceDefinition) {
    self.view = view.name
    self.source = source.name
    keyColumns = entity.key
    keyTypes = entity.key.map { source.column($0)?.type ?? .string }
    latestColumns = []
    slots = []
    sketches = []
    rings = []
    readers = []
    for feature in view.features {
      let reader: Reader =
        switch feature.kind {
        case .latest(let column, let ttl):
          .latest(latestIndex(of: column, type: source.column(column)?.type ?? .double), ttl: ttl)
        case .window(let window): windowReader(window)
        case .derived(let expression): .derived(expression)
        }
      readers.append((feature.name, feature.type, reader))
    }
  }

  private mutating func latestIndex(of column: String, type: ColumnType) -> Int {
    if let index = latestColumns.firstIndex(where: { $0.name == column }) { return index }
    latestColumns.append(ColumnDefinition(name: column, type: type))
    return latestColumns.count - 1
  }

  private mutating func windowReader(_ window: WindowDefinition) -> Reader {
    let ring = ringIndex(of: window)
    if let kind = window.sketch, let column = window.column {
      let sketch = SketchSlot(column: column, filter: window.filter, kind: kind)
      let index = sketches.index(of: sketch)
      return .window(ring: ring, slot: rings[ring].sketches.index(of: index), window)
    }
    let index = slots.index(of: Slot(column: window.column, filter: window.filter))
    return .window(ring: ring, slot: rings[ring].slots.index(of: index), window)
  }

  private mutating func ringIndex(of window: WindowDefinition) -> Int {
    if let found = rings.firstIndex(where: { $0.resolution == window.resolution }) {
      rings[found].horizon = max(rings[found].horizon, window.length)
      return found
    }
    rings.append(Ring(resolution: window.resolution, horizon: window.length))
    return rings.count - 1
  }
}

extension Array where Element: Equatable {
  /// Where `element` is, at the end if it was not there yet.
  fileprivate mutating func index(of element: Element) -> Int {
    if let found = firstIndex(of: element) { return found }
    append(element)
    return count - 1
  }
}
