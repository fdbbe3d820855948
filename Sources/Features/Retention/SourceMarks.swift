import Core

/// What a source keeps when its events are deleted: the last sequence and stamp, so that numbers are never given twice and the
/// online state is not taken for newer than the warehouse.
enum SourceMarks {
  /// Notes how far a source has come; to be called in the transaction that deletes, before it does.
  static func note(_ source: String, on appender: any WarehouseAppender) throws {
    let table = EventTable.quoted(EventTable.name(for: source))
    let added = try appender.execute(
      "INSERT INTO source_marks SELECT ?, max(sequence), max(created_at), max(event_timestamp) FROM \(table) "
        + "HAVING count(*) > 0", [.string(source)])
    guard added > 0 else { return }
    // The greatest of each, should the mark that is there be ahead in one of them.
    let best = try appender.query(
      "SELECT max(last_sequence) AS s, max(last_stamp) AS k, max(newest_event) AS t FROM source_marks "
        + "WHERE source = ?", [.string(source)])
    try appender.execute("DELETE FROM source_marks WHERE source = ?", [.string(source)])
    try appender.execute(
      "INSERT INTO source_marks VALUES (?, ?, ?, ?)",
      [.string(source), best.columns[0][0], best.columns[1][0], best.columns[2][0]])
  }
}
