import Core

/// What a recomputation goes by to tell raw cells from made ones.
package struct CellOrigins: Sendable {
  /// What made the columns at ingest.
  let history: TransformHistory
  /// Recomputations in force, in the order of `StoredRows.recomputed`.
  let earlier: [Recomputation]

  package init(history: TransformHistory, earlier: [Recomputation]) {
    self.history = history
    self.earlier = earlier
  }

  init(of source: String, in warehouse: any Warehouse) async throws {
    history = try await TransformHistory(of: source, in: warehouse)
    earlier = try await Recomputations(warehouse: warehouse).inForce(of: [source])
  }

  /// Every column that code is known to have made of some event.
  var columns: Set<String> {
    history.columns.union(earlier.flatMap { $0.version.columns ?? [] })
  }

  /// The columns as the records had them: what code made is absent.
  ///
  /// - Returns: with them the rows of which it is not known what was made.
  package func raw(_ rows: StoredRows) -> (columns: [Column], unknown: Set<Int>) {
    var absent: [String: [Int]] = [:]
    var unknown: Set<Int> = []
    for row in 0..<rows.count {
      var made: Set<String> = []
      switch history.made(by: history.step(of: rows.sequences[row])) {
      case .columns(let names): made.formUnion(names)
      case .unknown: unknown.insert(row)
      }
      for (index, flags) in rows.recomputed.enumerated() where flags[row] {
        made.formUnion(earlier[index].version.columns ?? [])
      }
      for name in made { absent[name, default: []].append(row) }
    }
    let columns = rows.columns.map { column -> Column in
      guard let blank = absent[column.name] else { return column }
      var column = column
      var presence = column.presence ?? [UInt8](repeating: 0, count: column.count)
      for row in blank { presence[row] = Presence.absent.rawValue }
      column.presence = presence
      return column
    }
    return (columns, unknown)
  }
}
