import Core
import Synchronization

/// What the warehouse tells of earlier ingests.
struct IngestHistory: Sendable {
  struct SourceHistory: Sendable {
    var lastSequence: Int64 = 0
    var lastStamp = Int64.min
    var ids = EventIDIndex()
    /// What made the newest events' columns.
    var transform: TransformVersion?
  }

  private let warehouse: any Warehouse

  init(_ warehouse: any Warehouse) { self.warehouse = warehouse }

  /// The last sequence and stamp of a source and its ids that may come again.
  func read(_ source: String, seed: EventIDSeed) async throws -> SourceHistory {
    let found = Mutex(SourceHistory())
    let table = "\"events_\(source)\""
    try await warehouse.stream(
      """
      SELECT max(sequence) AS sequence, epoch_us(max(created_at)) AS stamp, \
      count(*) FILTER (WHERE \(IngestHistory.mayRepeat)) AS ids FROM \(table)
      """, []
    ) { batch in
      guard batch.count > 0, case .int64(let sequence) = batch.columns[0][0] else { return }
      found.withLock { found in
        found.lastSequence = sequence
        if case .int64(let stamp) = batch.columns[1][0] { found.lastStamp = stamp }
        if case .int64(let ids) = batch.columns[2][0] {
          found.ids = EventIDIndex(expecting: Int(clamping: ids))
        }
      }
    }
    try await warehouse.stream(
      "SELECT max(last_sequence) AS sequence, epoch_us(max(last_stamp)) AS stamp FROM source_marks "
        + "WHERE source = ?", [.string(source)]
    ) { batch in
      guard batch.count > 0, case .int64(let sequence) = batch.columns[0][0],
        case .int64(let stamp) = batch.columns[1][0]
      else { return }
      found.withLock { found in
        found.lastSequence = max(found.lastSequence, sequence)
        found.lastStamp = max(found.lastStamp, stamp)
      }
    }
    try await warehouse.stream(
      "SELECT transform, digest, columns FROM \(TransformVersion.table) WHERE source = ? "
        + "ORDER BY first_sequence DESC, created_at DESC LIMIT 1", [.string(source)]
    ) { batch in
      guard batch.columns.count == 3, batch.count > 0,
        case .string(let transform) = batch.columns[0][0],
        case .string(let digest) = batch.columns[1][0]
      else { return }
      var version = TransformVersion(transform: transform, digest: digest)
      if case .string(let columns) = batch.columns[2][0] {
        version.columns = ColumnList.names(columns)
      }
      found.withLock { [version] in $0.transform = version }
    }
    try await warehouse.stream(
      "SELECT event_id FROM \(table) WHERE \(IngestHistory.mayRepeat)", []
    ) { batch in
      guard case .string(let ids) = batch.columns[0].values else { return }
      found.withLock { found in
        for id in ids { _ = found.ids.insert(EventIDHash(id, seed: seed)) }
      }
    }
    return found.withLock { $0 }
  }

  /// The newest values of a `unique` check, as many as its memory holds.
  func values(
    of check: UniqueCheck, in source: String, seed: EventIDSeed
  ) async throws -> UniqueIndex {
    let column = EventTable.quoted(check.column)
    let found = Mutex((index: UniqueIndex(within: check.within), count: 0, oldest: Int64.max))
    try await warehouse.stream(
      "SELECT \(column) AS v, event_timestamp AS t FROM \"events_\(source)\" WHERE \(column) IS NOT NULL "
        + "ORDER BY event_timestamp DESC LIMIT \(Limits.uniqueValues)", []
    ) { batch in
      guard case .timestamp(let times) = batch.columns[1].values else { return }
      found.withLock { found in
        for row in times.indices {
          guard let hash = check.hash(batch.columns[0][row], seed: seed) else { continue }
          found.index.insert(hash, at: times[row])
          found.oldest = times[row]
        }
        found.count += times.count
      }
    }
    return found.withLock { found in
      // Of the oldest instant that was read some events may have been cut off.
      if found.count >= Limits.uniqueValues { found.index.begin(at: found.oldest + 1) }
      return found.index
    }
  }

  /// Ids of files are known by the file's digest, those of Kafka by the stored position, and those of
  /// requests without a client are never seen again.
  private static let mayRepeat =
    "NOT starts_with(event_id, 'file:') AND NOT starts_with(event_id, 'once:') "
    + "AND NOT starts_with(event_id, 'kafka:')"

  /// Where the events of each partition end that are stored.
  func positions() async throws -> [StreamPartition: Int64] {
    let found = Mutex<[StreamPartition: Int64]>([:])
    try await warehouse.stream("SELECT topic, partition, next_offset FROM stream_offsets", []) {
      batch in
      for row in 0..<batch.count {
        guard case .string(let topic) = batch.columns[0][row],
          case .int64(let partition) = batch.columns[1][row],
          case .int64(let next) = batch.columns[2][row]
        else { continue }
        found.withLock {
          $0[StreamPartition(topic: topic, partition: Int32(clamping: partition))] = next
        }
      }
    }
    return found.withLock { $0 }
  }

  /// What is known of a file that was ingested into the source before; nil where it was not.
  func file(digest: String, source: String) async throws -> IngestedFile? {
    let found = Mutex<IngestedFile?>(nil)
    try await warehouse.stream(
      "SELECT rows, quarantined, duplicates FROM ingested_files WHERE source = ? AND digest = ? "
        + "LIMIT 1",
      [.string(source), .string(digest)]
    ) { batch in
      guard batch.count > 0 else { return }
      func number(_ column: Int) -> Int {
        if case .int64(let number) = batch.columns[column][0] { Int(number) } else { 0 }
      }
      let file = IngestedFile(rows: number(0), quarantined: number(1), duplicates: number(2))
      found.withLock { $0 = file }
    }
    return found.withLock { $0 }
  }
}

/// A row of `ingested_files`.
struct IngestedFile: Sendable, Equatable {
  var rows: Int
  var quarantined: Int
  var duplicates: Int

  func batch(
    digest: String, source: String, name: String, createdAt: Int64
  ) -> ColumnBatch {
    ColumnBatch(columns: [
      Column(name: "digest", values: .string([digest])),
      Column(name: "source", values: .string([source])),
      Column(name: "name", values: .string([name])),
      Column(name: "rows", values: .int64([Int64(rows)])),
      Column(name: "quarantined", values: .int64([Int64(quarantined)])),
      Column(name: "duplicates", values: .int64([Int64(duplicates)])),
      Column(name: "created_at", values: .timestamp([createdAt])),
    ])
  }
}
