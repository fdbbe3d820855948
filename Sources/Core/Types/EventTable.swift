/// How the events of a source are laid out in the warehouse; the part of its SQL that other rooms rely on.
///
/// Table `events_<source>` has the source's columns and then `event_timestamp`, `created_at`, `event_id`, `sequence` and `absent`.
/// `absent` is null where the record had every column, else a bitmap: bit i of byte i / 8 says that column number i was not in
/// the record (the cell itself is null either way). The numbers are those of `event_columns`, in the order in which the columns were first
/// declared; `since` there is the greatest sequence that was stored when the column was added: in rows up to it the column is absent.
package struct EventTable: Sendable, Equatable {
  /// One declared column, as the table `event_columns` has it.
  package struct Column: Sendable, Equatable, Codable {
    package var name: String
    package var position: Int
    package var since: Int64

    package init(name: String, position: Int, since: Int64) {
      self.name = name
      self.position = position
      self.since = since
    }
  }

  package var source: String
  package var columns: [Column]

  package init(source: String, columns: [Column]) {
    self.source = source
    self.columns = columns
  }

  /// The columns that every event table has beside the declared ones.
  package static let platformColumns = [
    "event_timestamp", "created_at", "event_id", "sequence", "absent",
  ]

  package static func name(for source: String) -> String { "events_\(source)" }

  /// The name as an SQL identifier.
  package static func quoted(_ name: String) -> String {
    "\"\(name.escaping("\"", with: "\""))\""
  }

  /// An SQL condition, true in the rows where the record did not have the column.
  package func isAbsent(_ column: String) -> String {
    guard let column = columns.first(where: { $0.name == column }) else { return "true" }
    // A blob's bits are counted from the most significant of each byte once it is a BIT.
    let byte = column.position / 8
    let bit = byte * 8 + 7 - column.position % 8
    let marked =
      "CASE WHEN absent IS NULL OR octet_length(absent) <= \(byte) THEN false "
      + "ELSE get_bit(CAST(absent AS BIT), \(bit)) = 1 END"
    return column.since == Int64.min ? "(\(marked))" : "(sequence <= \(column.since) OR \(marked))"
  }
}

extension Warehouse {
  /// The layout of a source's event table; without columns where the source was never prepared.
  package func eventTable(of source: String) async throws -> EventTable {
    let columns = try await query(
      "SELECT name, position, since FROM event_columns WHERE source = ? ORDER BY position",
      [.string(source)], as: EventTable.Column.self)
    return EventTable(source: source, columns: columns)
  }
}
