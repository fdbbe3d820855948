import Core

/// The events of a source as an SQL table, with the cells of one moment.
///
/// The table `events_<source>` has the cells in force. What they were before a recomputation stands in its table of replaced
/// cells, which is put in the place of them.
struct StoredCells: Sendable {
  /// To be read in the place of the events' table.
  var table: String
  /// Columns that no event lacks because it is older than they are.
  var declared: [String] = []

  /// Those in force.
  init(of source: String) { table = EventTable.quoted(EventTable.name(for: source)) }

  /// Those before the recomputations that came after `number`; nil is those in force.
  init(of source: String, asOf number: Int64?, in warehouse: any Warehouse) async throws {
    self.init(of: source)
    guard let number else { return }
    let later = try await Recomputations(warehouse: warehouse).inForce(of: [source])
      .filter { $0.number > number }
    guard !later.isEmpty else { return }
    table = Self.overlay(
      source,
      later.map { Layer(table: $0.replacedTable, columns: $0.columns, isHexadecimal: false) })
  }

  /// Those in force with the cells of one that is not in force yet in their place.
  init(staged one: Recomputation) {
    table = Self.overlay(
      one.source,
      [
        Layer(
          table: one.stagedTable, columns: one.columns, isHexadecimal: true, kept: "kept")
      ])
    declared = one.version.columns ?? []
  }

  /// A table that has some events' cells; the first layer that has an event counts.
  private struct Layer {
    var table: String
    var columns: [String]
    /// Whether its bitmaps of absent cells are texts.
    var isHexadecimal: Bool
    /// The condition under which an event's cells are not the layer's, but its bitmap is.
    var kept: String?
  }

  private static func overlay(_ source: String, _ layers: [Layer]) -> String {
    var columns: [String] = []
    for name in layers.flatMap(\.columns) where !columns.contains(name) { columns.append(name) }
    func cell(_ column: String, _ cases: [String]) -> String {
      "CASE \(cases.joined(separator: " ")) ELSE e.\(column) END AS \(column)"
    }
    var cells = columns.map { name in
      let quoted = EventTable.quoted(name)
      return cell(
        quoted,
        layers.enumerated().filter { $0.element.columns.contains(name) }.map { index, layer in
          let isOwn = layer.kept.map { " AND NOT r\(index).\($0)" } ?? ""
          return "WHEN r\(index).sequence IS NOT NULL\(isOwn) THEN r\(index).\(quoted)"
        })
    }
    cells.append(
      cell(
        "absent",
        layers.enumerated().map { index, layer in
          let bitmap =
            layer.isHexadecimal ? "unhex(r\(index).absent)" : "r\(index).absent"
          return "WHEN r\(index).sequence IS NOT NULL THEN \(bitmap)"
        }))
    let joins = layers.enumerated().map { index, layer in
      "LEFT JOIN \(layer.table) AS r\(index) ON r\(index).sequence = e.sequence"
    }
    return
      "(SELECT e.* REPLACE (\(cells.joined(separator: ", "))) "
      + "FROM \(EventTable.quoted(EventTable.name(for: source))) AS e \(joins.joined(separator: " ")))"
  }
}
