import Core

/// Where an observation stands in the order of semantics §2.
struct ObservationMark: Sendable {
  var eventTimestamp: Int64
  var createdAt: Int64
  var sequence: Int64

  /// Older than every observation.
  static let none = ObservationMark(eventTimestamp: .min, createdAt: .min, sequence: .min)

  @inline(__always) var isNone: Bool { eventTimestamp == .min }

  @inline(__always)
  static func < (a: ObservationMark, b: ObservationMark) -> Bool {
    if a.eventTimestamp != b.eventTimestamp { return a.eventTimestamp < b.eventTimestamp }
    if a.createdAt != b.createdAt { return a.createdAt < b.createdAt }
    return a.sequence < b.sequence
  }
}

/// The newest observation of a view's latest columns at every place of a spine (semantics §2).
///
/// Every event goes to the first place of its key that may see it; there the newest stays. When the
/// history has passed, one
/// walk along each key's places hands winners on to later places that saw nothing newer. Nothing of
/// the history is kept but winners.
struct HistoryLatest: Sendable {
  /// One for all columns, or one for each where the source has absent cells.
  private var sets: [WinnerSet]
  /// By latest column: its set and its position there.
  private var homes: [(set: Int, position: Int)]

  /// - Parameter hasAbsentCells: some events do not observe all columns.
  init(columns: [ColumnDefinition], hasAbsentCells: Bool, places: Int) {
    if hasAbsentCells {
      sets = columns.map { WinnerSet(columns: [$0], hasAbsentCells: true, places: places) }
      homes = columns.indices.map { ($0, 0) }
    } else {
      sets = [WinnerSet(columns: columns, hasAbsentCells: false, places: places)]
      homes = columns.indices.map { (0, $0) }
    }
  }

  /// Takes in a batch of which `places` says, by row, which place sees the event first (-1: none).
  mutating func take(_ events: borrowing HistoryEvents, places: [Int32]) {
    for index in sets.indices { sets[index].take(events, places: places) }
  }

  mutating func finish(_ index: borrowing SpineIndex) {
    for set in sets.indices { sets[set].handOn(index) }
  }

  /// By place, whether the key has any event yet; only without absent cells.
  func hasEvents(at place: Int) -> Bool { sets[0].hasEvent(at: place) }

  /// A feature's cells and statuses, by row of the spine.
  func read(
    column: Int, ttl: Span?, name: String, index: borrowing SpineIndex
  ) -> (column: Column, statuses: [FeatureStatus]) {
    let home = homes[column]
    return sets[home.set].read(home.position, ttl: ttl, name: name, index: index)
  }
}

/// The newest observation of some columns that are always observed together, by place.
private struct WinnerSet: Sendable {
  private let columns: [ColumnDefinition]
  /// The first column may be absent; then there is no other.
  private let hasAbsentCells: Bool
  private var marks: [ObservationMark]
  /// By place: where its winner's cells are.
  private var origins: [Int32] = []
  /// Cells of all but text and array columns, place by place.
  private var words: [UInt64]
  private var nulls: [UInt8]?
  /// By column, empty for all but text.
  private var texts: [[String]]
  /// By column, empty for all but arrays.
  private var arrays: [[ColumnValues?]]

  init(columns: [ColumnDefinition], hasAbsentCells: Bool, places: Int) {
    self.columns = columns
    self.hasAbsentCells = hasAbsentCells
    marks = [ObservationMark](repeating: .none, count: places)
    words = [UInt64](repeating: 0, count: places * columns.count)
    texts = columns.map { $0.type == .string ? [String](repeating: "", count: places) : [] }
    arrays = columns.map { $0.type.isArray ? [ColumnValues?](repeating: nil, count: places) : [] }
  }

  mutating func take(_ events: borrowing HistoryEvents, places: [Int32]) {
    let rows = replace(events, places)
    guard !rows.isEmpty else { return }
    for (position, column) in columns.enumerated() {
      guard let cells = events.batch[column.name] else { continue }
      store(cells, at: position, rows: rows, places: places)
    }
  }

  /// Puts the events that are newer than their place's winner in its stead and returns their rows.
  private mutating func replace(
    _ events: borrowing HistoryEvents, _ places: [Int32]
  ) -> [Int32] {
    let times = events.eventTimestamps
    let created = events.createdAt
    let sequences = events.sequences
    let presence = hasAbsentCells ? columns.first.flatMap { events.batch[$0.name]?.presence } : nil
    return [Int32](unsafeUninitializedCapacity: places.count) { rows, count in
      marks.withUnsafeMutableBufferPointer { marks in
        for row in places.indices where places[row] >= 0 {
          if let presence, presence[row] == Presence.absent.rawValue { continue }
          let mark = ObservationMark(
            eventTimestamp: times[row], createdAt: created[row], sequence: sequences[row])
          let place = Int(places[row])
          if marks[place] < mark {
            marks[place] = mark
            rows[count] = Int32(row)
            count += 1
          }
        }
      }
    }
  }

  /// Rows come in order, so where two go to one place the later, which won, is stored last.
  private mutating func store(
    _ cells: Column, at position: Int, rows: [Int32], places: [Int32]
  ) {
    switch cells.values {
    case .double(let all): store(position, rows, places) { all[$0].bitPattern }
    case .int64(let all), .timestamp(let all):
      store(position, rows, places) { UInt64(bitPattern: all[$0]) }
    case .bool(let all): store(position, rows, places) { all[$0] ? 1 : 0 }
    case .string(let all):
      for row in rows { texts[position][Int(places[Int(row)])] = all[Int(row)] }
    case .list(let lists):
      for row in rows { arrays[position][Int(places[Int(row)])] = lists[Int(row)] }
    }
    guard nulls != nil || cells.presence != nil else { return }
    var nulls = self.nulls ?? [UInt8](repeating: 0, count: words.count)
    self.nulls = nil
    for row in rows {
      nulls[Int(places[Int(row)]) * columns.count + position] = cells.presence?[Int(row)] ?? 0
    }
    self.nulls = nulls
  }

  @inline(__always)
  private mutating func store(
    _ position: Int, _ rows: [Int32], _ places: [Int32], _ word: (Int) -> UInt64
  ) {
    let width = columns.count
    words.withUnsafeMutableBufferPointer { words in
      for row in rows { words[Int(places[Int(row)]) * width + position] = word(Int(row)) }
    }
  }

  mutating func handOn(_ index: borrowing SpineIndex) {
    origins = marks.indices.map { Int32($0) }
    for key in index.starts.indices.dropLast() {
      for place in Int(index.starts[key])..<Int(index.starts[key + 1])
      where place > Int(index.starts[key]) && marks[place] < marks[place - 1] {
        marks[place] = marks[place - 1]
        origins[place] = origins[place - 1]
      }
    }
  }

  func read(
    _ position: Int, ttl: Span?, name: String, index: borrowing SpineIndex
  ) -> (column: Column, statuses: [FeatureStatus]) {
    let places = index.places
    let statuses = places.map { place in
      place < 0 ? .notFound : status(at: Int(place), position, ttl, time: index.times[Int(place)])
    }
    let sources = places.indices.map { row in
      statuses[row] == .present ? Int(origins[Int(places[row])]) : -1
    }
    func cells<T>(_ zero: T, _ read: (Int) -> T) -> [T] { sources.map { $0 < 0 ? zero : read($0) } }
    func word(_ place: Int) -> UInt64 { words[place * columns.count + position] }
    let values: ColumnValues =
      switch columns[position].type {
      case .double: .double(cells(0) { Double(bitPattern: word($0)) })
      case .int64: .int64(cells(0) { Int64(bitPattern: word($0)) })
      case .timestamp: .timestamp(cells(0) { Int64(bitPattern: word($0)) })
      case .bool: .bool(cells(false) { word($0) != 0 })
      case .string: .string(cells("") { texts[position][$0] })
      case .array(let element, let length):
        .list(gathered(position, sources, of: element, length: length))
      }
    let isComplete = sources.allSatisfy { $0 >= 0 }
    let presence = isComplete ? nil : sources.map { $0 < 0 ? Presence.null.rawValue : 0 }
    return (Column(name: name, values: values, presence: presence), statuses)
  }

  private func gathered(
    _ position: Int, _ sources: [Int], of element: ScalarType, length: Int?
  ) -> ListValues {
    var gathered = ListValues(of: element, length: length, reserving: sources.count)
    for source in sources {
      if source >= 0, let cell = arrays[position][source] {
        _ = gathered.append(cell)
      } else {
        gathered.append(emptyCells: 1)
      }
    }
    return gathered
  }

  func hasEvent(at place: Int) -> Bool { !marks[place].isNone }

  private func status(
    at place: Int, _ position: Int, _ ttl: Span?, time: Int64
  ) -> FeatureStatus {
    let mark = marks[place]
    if mark.isNone { return .notFound }
    if let ttl, mark.eventTimestamp < time &- ttl.microseconds { return .expired }
    if let nulls, nulls[Int(origins[place]) * columns.count + position] != 0 { return .null }
    return .present
  }
}
