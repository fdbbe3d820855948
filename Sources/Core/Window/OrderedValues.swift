/// The first or the last few observations of a column, by (event_timestamp, created_at, arrival sequence).
///
/// Guarantees: what it holds depends on the set of observations alone, not on the order they came in.
package struct OrderedValues: Sendable, Equatable {
  package struct Entry: Sendable, Equatable {
    package var value: Value
    package var mark: EventMark

    package init(value: Value, mark: EventMark) {
      self.value = value
      self.mark = mark
    }
  }

  /// How many are kept at most.
  package let limit: Int
  /// Whether the newest are kept; else the oldest.
  package let keepsNewest: Bool
  /// The one that is given up last comes first.
  package private(set) var entries: [Entry] = []

  package init(limit: Int, keepsNewest: Bool) {
    self.limit = limit
    self.keepsNewest = keepsNewest
  }

  package mutating func add(_ value: Value, _ mark: EventMark) {
    if entries.count == limit, let last = entries.last, !isBetter(mark, than: last.mark) { return }
    var low = 0
    var high = entries.count
    while low < high {
      let middle = (low + high) / 2
      if isBetter(entries[middle].mark, than: mark) { low = middle + 1 } else { high = middle }
    }
    entries.insert(Entry(value: value, mark: mark), at: low)
    if entries.count > limit { entries.removeLast() }
  }

  package mutating func merge(_ other: OrderedValues) {
    guard limit > 1, !entries.isEmpty else {
      for entry in other.entries { add(entry.value, entry.mark) }
      return
    }
    // Both are in order: an insertion for each entry would move the others every time.
    var merged = [Entry](reserving: min(limit, entries.count + other.entries.count))
    var (mine, theirs) = (0, 0)
    while merged.count < limit, mine < entries.count || theirs < other.entries.count {
      let takesMine =
        theirs == other.entries.count
        || mine < entries.count && isBetter(entries[mine].mark, than: other.entries[theirs].mark)
      merged.append(takesMine ? entries[mine] : other.entries[theirs])
      if takesMine { mine += 1 } else { theirs += 1 }
    }
    entries = merged
  }

  /// The values as an array, the one that is given up last first; null where there are none.
  ///
  /// They are all of the column's type, which is no array.
  package var list: Value {
    guard let type = entries.first?.value.type else { return .null }
    return .list(Column(name: "", type: type, entries.map(\.value)).values)
  }

  private func isBetter(_ a: EventMark, than b: EventMark) -> Bool {
    keepsNewest ? b < a : a < b
  }
}

/// What orders the events of a source: when they happened, when they were stored, in which order they came.
package struct EventMark: Sendable, Hashable, Comparable, BitwiseCopyable {
  package var eventTimestamp: Int64
  package var createdAt: Int64
  package var sequence: Int64

  package init(eventTimestamp: Int64, createdAt: Int64, sequence: Int64) {
    self.eventTimestamp = eventTimestamp
    self.createdAt = createdAt
    self.sequence = sequence
  }

  package static func < (a: EventMark, b: EventMark) -> Bool {
    (a.eventTimestamp, a.createdAt, a.sequence) < (b.eventTimestamp, b.createdAt, b.sequence)
  }
}
