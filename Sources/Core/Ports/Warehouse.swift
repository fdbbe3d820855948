/// What one warehouse transaction adds.
package struct WarehouseCommit: Sendable {
  package var events: [EventBatch]
  package var quarantined: [QuarantinedRecord]
  /// Ids of quarantined records whose events are stored now.
  package var replayed: [Int64]
  /// When records came to quarantine or left it; nil is the warehouse's own clock.
  package var at: Timestamp?
  /// Rows for platform tables (`model_logs`, `drift_scores`, `ingested_files`, …) by table name; columns are matched by name.
  package var rows: [(table: String, batch: ColumnBatch)]
  /// How far the events take streams; at most one a partition.
  package var advances: [StreamAdvance]

  package init(
    events: [EventBatch] = [], quarantined: [QuarantinedRecord] = [], replayed: [Int64] = [],
    at: Timestamp? = nil, rows: [(table: String, batch: ColumnBatch)] = [],
    advances: [StreamAdvance] = []
  ) {
    self.events = events
    self.quarantined = quarantined
    self.replayed = replayed
    self.at = at
    self.rows = rows
    self.advances = advances
  }
}

/// A step of the position that is stored with a stream's events (semantics §11): a compare-and-set,
/// so that of two readers of one partition only one is stored.
package struct StreamAdvance: Sendable, Hashable {
  package var partition: StreamPartition
  /// The position that must be stored now; nil for a partition of which nothing is.
  package var from: Int64?
  package var next: Int64

  package init(partition: StreamPartition, from: Int64?, next: Int64) {
    self.partition = partition
    self.from = from
    self.next = next
  }
}

/// Every event and prediction, for ever; columns in, columns out.
///
/// Guarantees: a commit is durable and visible as a whole once it has returned, or not at all; reads see a consistent state and
/// never wait for the writer. Blocking work happens on the implementation's own threads.
package protocol Warehouse: Sendable {
  /// Creates what the sources need (tables `events_<source>`, new columns); never drops data.
  func prepare(_ sources: [SourceDefinition]) async throws
  /// Adds one commit as one transaction.
  ///
  /// Throws `.conflict`, with nothing stored, where a position of `advances` is not the one that is
  /// stored in the table `stream_offsets`.
  func commit(_ commit: WarehouseCommit) async throws
  /// A transaction over many batches: all of `body`'s appends become visible together, or none if it throws.
  func transaction<Result: Sendable>(
    _ body: @escaping @Sendable (any WarehouseAppender) throws -> Result
  ) async throws -> Result
  /// Streams the rows of a read-only query in batches of at most a few thousand rows, in order, on one of the reader threads.
  ///
  /// `body` runs on that thread; a throw ends the query. Result columns map to the column types; a list with a null element is refused.
  func stream(
    _ sql: String, _ parameters: [Value],
    _ body: @escaping @Sendable (borrowing ColumnBatch) throws -> Void
  ) async throws
  /// Runs maintenance statements (erase, retention) on the writer.
  func execute(_ sql: String, _ parameters: [Value]) async throws
  /// Folds the log into the file and closes it.
  func close() async throws
}

/// The ability to show the latest-value features of all views in one table, `features_table`, for whoever queries.
package protocol FeatureTablePublishing: Warehouse {
  /// Makes the table say what these layouts say, in place of what it said before.
  func publishFeatures(_ layouts: [ViewLayout]) async throws
}

/// Appends within one transaction; used on the writer's thread only.
package protocol WarehouseAppender {
  func append(_ events: EventBatch) throws
  /// - Parameter time: when they came; nil is the warehouse's own clock.
  func append(_ records: [QuarantinedRecord], at time: Timestamp?) throws
  func append(_ batch: ColumnBatch, to table: String) throws
  /// Runs one statement that changes rows; returns how many. It does not see what was appended in the same transaction.
  @discardableResult
  func execute(_ sql: String, _ parameters: [Value]) throws -> Int
  /// The rows of a query on what was committed before the transaction and what its statements changed.
  func query(_ sql: String, _ parameters: [Value]) throws -> ColumnBatch
}

/// The ability to write the result of a query of any size to a file.
package protocol ExportingWarehouse: Warehouse {
  /// Runs one read-only query and writes its rows, in order, as a new CSV or Parquet file; returns how many there are.
  ///
  /// The result never is in memory as a whole; nothing is left of the file where this throws.
  func export(_ sql: String, to path: String, format: FileFormat) async throws -> Int
}

/// The ability to be copied while it is used.
package protocol CopyableWarehouse: Warehouse {
  /// Writes a file that opens as a warehouse with everything that was committed before, and nothing else; commits wait
  /// meanwhile. Throws `.storage` where the file cannot be written.
  func copy(to path: String) async throws
}

/// The ability to give the room of deleted rows back.
package protocol ReclaimingWarehouse: Warehouse {
  /// Writes the log into the file and frees the blocks that only deleted rows used.
  func reclaim() async throws
}
