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

/// A record that failed validation, kept whole with the reason.
package struct QuarantinedRecord: Sendable, Equatable {
  package var source: String
  /// The record as it came, as JSON or the line's text.
  package var record: String
  package var reason: String
  /// Where it came from: `file NAME row 17`, `push CLIENT sequence 4`.
  package var position: String

  package init(source: String, record: String, reason: String, position: String) {
    self.source = source
    self.record = record
    self.reason = reason
    self.position = position
  }
}
