import Core
import Synchronization

/// Validated rows that come part by part.
final class SampledRows: Sendable {
  private let state: Mutex<ValidatedRows>

  init(_ source: SourceDefinition) {
    state = Mutex(
      ValidatedRows(
        source: source,
        columns: source.columns.map {
          Column(name: $0.name, values: ColumnValues(empty: $0.type))
        }, eventTimestamps: [], eventIDs: []))
  }

  var rows: ValidatedRows { state.withLock { $0 } }

  /// Returns how many there are now, bad ones included.
  func add(_ more: ValidatedRows) -> Int {
    state.withLock { rows in
      for index in rows.columns.indices {
        rows.columns[index].append(contentsOf: more.columns[index])
      }
      rows.eventTimestamps += more.eventTimestamps
      rows.eventIDs += more.eventIDs
      if let places = more.places {
        if rows.places == nil { rows.places = RowPlaces(origin: places.origin, numbers: []) }
        rows.places?.numbers += places.numbers
      }
      rows.quarantined += more.quarantined
      return rows.count + rows.quarantined.count
    }
  }
}
