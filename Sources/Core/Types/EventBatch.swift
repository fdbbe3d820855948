/// Validated events of one source, in columns; the unit of ingest.
///
/// `columns` has every column of the source in the order of its definition. All arrays have `count`
/// entries. `sequences` is the order of arrival, unique and increasing within the source.
package struct EventBatch: Sendable {
  package var source: String
  package var count: Int
  package var columns: [Column]
  /// Microseconds since the epoch: when each event happened.
  package var eventTimestamps: [Int64]
  /// Microseconds since the epoch: when the platform learned it.
  package var createdAt: [Int64]
  package var sequences: [Int64]
  package var eventIDs: [String]

  package init(
    source: String, columns: [Column], eventTimestamps: [Int64], createdAt: [Int64],
    sequences: [Int64], eventIDs: [String]
  ) {
    self.source = source
    self.count = eventTimestamps.count
    self.columns = columns
    self.eventTimestamps = eventTimestamps
    self.createdAt = createdAt
    self.sequences = sequences
    self.eventIDs = eventIDs
  }

  package subscript(name: String) -> Column? { columns.first { $0.name == name } }
}
