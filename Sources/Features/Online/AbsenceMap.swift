import Core

/// Where a source's columns stand in the absence bitmaps of its events, and which events are older than a column.
///
/// Positions are given once and for ever, in the order in which columns were first declared: they may differ from the
/// order of today's definition.
package struct AbsenceMap: Sendable {
  private struct Place {
    var position: Int
    /// Events up to this sequence were stored before the column was declared.
    var since: Int64
  }

  private var places: [String: Place]

  /// The map of a source whose columns were all declared from the start.
  package init(_ source: SourceDefinition) {
    places = [:]
    for (position, column) in source.columns.enumerated() {
      places[column.name] = Place(position: position, since: .min)
    }
  }

  /// The map that the warehouse keeps of a source.
  init(_ source: SourceDefinition, in warehouse: any Warehouse) async throws {
    self.init(source)
    for column in try await warehouse.eventTable(of: source.name).columns {
      places[column.name] = Place(position: column.position, since: column.since)
    }
  }

  /// The same where no event lacks some columns because it is older than they are.
  func declaring(_ names: [String]) -> AbsenceMap {
    var map = self
    for name in names { map.places[name]?.since = .min }
    return map
  }

  /// Marks the cells that their records did not have.
  ///
  /// - Parameter bitmaps: one a row in hexadecimal, null where the record had every column.
  func mark(_ columns: inout [Column], bitmaps: Column, sequences: [Int64]) {
    guard case .string(let texts) = bitmaps.values else { return }
    let rows = texts.indices.filter { bitmaps.isPresent($0) && !texts[$0].isEmpty }
    for index in columns.indices {
      guard let place = places[columns[index].name] else { continue }
      var absent = rows.filter { HistoryEvents.isSet(place.position, in: texts[$0]) }
      if place.since > .min { absent += sequences.indices.filter { sequences[$0] <= place.since } }
      if absent.isEmpty { continue }
      var presence = columns[index].presence ?? [UInt8](repeating: 0, count: columns[index].count)
      for row in absent { presence[row] = Presence.absent.rawValue }
      columns[index].presence = presence
    }
  }
}
