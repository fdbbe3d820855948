import Core

/// Turns events of a source into what its views keep of them.
package enum OnlinePipeline {
  /// One write for each layout of the batch's source, under the layout's own view name; none where no row has a key.
  ///
  /// Pure. Rows whose key has a null part are left out; a column that the batch does not have is absent in every row.
  package static func writes(for batch: EventBatch, layouts: [ViewLayout]) -> [OnlineWrite] {
    let layouts = layouts.filter { $0.source == batch.source }
    let slots = slotValues(of: batch, layouts: layouts)
    var keys: [[String]: [EntityKey?]] = [:]
    var writes: [OnlineWrite] = []
    for layout in layouts {
      let all: [EntityKey?]
      if let known = keys[layout.keyColumns] {
        all = known
      } else {
        all = self.keys(of: batch, columns: layout.keyColumns)
        keys[layout.keyColumns] = all
      }
      let write = OnlineWrite(
        view: layout.view, keys: all.compactMap { $0 }, eventTimestamps: batch.eventTimestamps,
        createdAt: batch.createdAt, sequences: batch.sequences,
        latest: layout.latestColumns.map { latest($0, of: batch) },
        slots: layout.slots.map { slots[$0] ?? [] },
        sketches: SlotValues.of(layout.sketches, count: batch.count) { batch[$0] })
      if write.keys.isEmpty { continue }
      writes.append(
        write.keys.count == batch.count
          ? write : write.gathering(all.indices.filter { all[$0] != nil }))
    }
    return writes
  }

  /// Views of one source often aggregate the same columns: a slot or filter that several share is evaluated once.
  private static func slotValues(
    of batch: EventBatch, layouts: [ViewLayout]
  ) -> [ViewLayout.Slot: [Double]] {
    var distinct: [ViewLayout.Slot] = []
    var seen: Set<ViewLayout.Slot> = []
    for slot in layouts.flatMap(\.slots) where seen.insert(slot).inserted { distinct.append(slot) }
    let values = SlotValues.of(distinct, count: batch.count) { batch[$0] }
    return Dictionary(uniqueKeysWithValues: zip(distinct, values))
  }

  private static func keys(of batch: EventBatch, columns: [String]) -> [EntityKey?] {
    let found = columns.compactMap { batch[$0] }
    guard found.count == columns.count else { return Array(repeating: nil, count: batch.count) }
    return EntityKey.keys(of: found, count: batch.count)
  }

  private static func latest(_ definition: ColumnDefinition, of batch: EventBatch) -> Column {
    guard let column = batch[definition.name] else {
      return Column(name: definition.name, absent: batch.count, of: definition.type)
    }
    if column.type == definition.type { return column }
    guard definition.type == .double, case .int64(let all) = column.values else {
      return Column(name: definition.name, absent: batch.count, of: definition.type)
    }
    return Column(
      name: column.name, values: .double(all.map { Double($0) }), presence: column.presence)
  }
}

extension Column {
  /// A column that no row of the records had.
  fileprivate init(name: String, absent count: Int, of type: ColumnType) {
    self.init(name: name, nulls: count, of: type)
    presence = [UInt8](repeating: Presence.absent.rawValue, count: count)
  }
}

extension [OnlineWrite] {
  /// Notes the times of the events of each view.
  func note(in times: inout [String: EventTimes], now: Timestamp) {
    for write in self where !write.eventTimestamps.isEmpty {
      times[write.view, default: EventTimes()].merge(
        EventTimes(write.eventTimestamps, now: now.microseconds))
    }
  }
}

extension OnlineWrite {
  /// `keys` has the keys of `rows` already; every other array still has an entry for each row of the batch.
  fileprivate func gathering(_ rows: [Int]) -> OnlineWrite {
    OnlineWrite(
      view: view, keys: keys, eventTimestamps: rows.map { eventTimestamps[$0] },
      createdAt: rows.map { createdAt[$0] }, sequences: rows.map { sequences[$0] },
      latest: latest.map { $0.gather(rows) }, slots: slots.map { slot in rows.map { slot[$0] } },
      sketches: sketches.map { $0.gather(rows) })
  }
}

extension EventBatch {
  /// The rows after a position of the source; nil where there are none.
  func rows(after sequence: Int64) -> EventBatch? {
    if let first = sequences.min(), first > sequence { return self }
    let rows = sequences.indices.filter { sequences[$0] > sequence }
    guard !rows.isEmpty else { return nil }
    return EventBatch(
      source: source, columns: columns.map { $0.gather(rows) },
      eventTimestamps: rows.map { eventTimestamps[$0] }, createdAt: rows.map { createdAt[$0] },
      sequences: rows.map { sequences[$0] },
      eventIDs: eventIDs.isEmpty ? [] : rows.map { eventIDs[$0] })
  }
}
