import Core

/// The rows of a spine by which recomputations of transform columns were in force at their times.
///
/// What could be known at T (`as_known`) has the cells of then: those of a recomputation count from when it came in force.
package struct SpineEpochs {
  package struct Part: Equatable {
    /// The last recomputation that counts; nil is all of them.
    package var recomputed: Int64?
    package var rows: [Int]

    package init(recomputed: Int64?, rows: [Int]) {
      self.recomputed = recomputed
      self.rows = rows
    }
  }

  package private(set) var parts: [Part]
  var isWhole: Bool { parts.count == 1 }

  /// - Parameter recomputations: those in force, in their order.
  package init(
    _ spine: ColumnBatch, time: String, mode: HistoryMode, _ recomputations: [Recomputation]
  ) {
    let all = Array(0..<spine.count)
    parts = [Part(recomputed: nil, rows: all)]
    guard mode == .asKnown, let newest = recomputations.last?.number, let column = spine[time],
      case .timestamp(let times) = column.values
    else { return }
    var rows: [Int64: [Int]] = [:]
    for row in all {
      guard column.isPresent(row) else {
        rows[newest, default: []].append(row)
        continue
      }
      let last = recomputations.last(by: Timestamp(microseconds: times[row]))
      rows[last, default: []].append(row)
    }
    if rows.isEmpty { return }
    parts = rows.sorted { $0.key < $1.key }.map { number, rows in
      Part(recomputed: number == newest ? nil : number, rows: rows)
    }
  }

  /// What was joined to each part, in the order of the spine.
  package func joined(_ sets: [TrainingSet]) -> TrainingSet {
    guard var whole = sets.first, !isWhole else {
      return sets.first ?? TrainingSet(columns: ColumnBatch(columns: []), report: .init())
    }
    for set in sets.dropFirst() {
      whole.columns.append(contentsOf: set.columns)
      whole.report.rows += set.report.rows
      whole.report.nullKeyOrTime += set.report.nullKeyOrTime
      whole.report.eventsRead += set.report.eventsRead
      for (name, statuses) in set.statuses ?? [:] { whole.statuses?[name, default: []] += statuses }
    }
    let order = parts.flatMap(\.rows)
    var places = [Int](repeating: 0, count: order.count)
    for (place, row) in order.enumerated() { places[row] = place }
    whole.columns = whole.columns.gather(places)
    whole.statuses = whole.statuses?.mapValues { all in places.map { all[$0] } }
    return whole
  }
}
