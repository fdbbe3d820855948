import Core
import Logging
import Metrics

/// Stores what this warehouse has claimed and lacks: its process died between the two, or its file is an older copy.
///
/// Nobody else may store these records, so they are read beside the group, whoever has their partitions now.
struct StreamDebts {
  let claims: StreamClaims
  let ranges: any StreamRanges
  let ingestor: Ingestor
  let definitions: Published<Snapshot>
  let log: Logger

  /// Returns when nothing is owed any more that the logs still have.
  func pay(of topics: [String]) async throws {
    let warehouse = claims.reader.warehouse
    let known = try await claims.lasting { try await claims.ledger.look(at: nil) }
      .filter { topics.contains($0.key.topic) }
    if known.isEmpty { return }
    let stored = try await ingestor.adoptStreams(Array(known.keys))
    // What is stored may not have been noted before the process ended.
    try await claims.note(
      stored.compactMap { partition, position in
        position.map { StreamOffset(partition: partition, next: $0) }
      })
    for (partition, shares) in known.sorted(by: { $0.key < $1.key }) {
      var position = stored[partition] ?? nil
      for range in shares.debts(of: warehouse, position: position) {
        log.notice(
          "records that this warehouse had claimed and lacks are read again",
          metadata: [
            "partition": "\(partition)", "offsets": "\(range.lowerBound)..<\(range.upperBound)",
          ])
        position = try await pay(partition, range, from: position)
      }
    }
  }

  /// Returns where the partition's stored events end then.
  private func pay(
    _ partition: StreamPartition, _ range: Range<Int64>, from position: Int64?
  ) async throws -> Int64? {
    var positions = StreamPositions()
    positions.begin([partition: position], reading: [partition: range.lowerBound])
    let end = try await ranges.read(partition, range) { batch in
      let pushes = StreamRecords(definitions.current).pushes(batch, &positions)
      for push in try await claims.withoutKnown(pushes) {
        _ = try await ingestor.submit(push.rows, advances: push.advances).receipt()
        count("martlet_kafka_repaid_records_total", partition, batch.records.count)
      }
    }
    report(partition, range, end)
    try await claims.note([StreamOffset(partition: partition, next: range.upperBound)])
    return positions.position(of: partition)
  }

  private func report(_ partition: StreamPartition, _ range: Range<Int64>, _ end: StreamRangeEnd) {
    let start = min(end.start, range.upperBound)
    let gone = max(0, start - range.lowerBound) + max(0, range.upperBound - max(end.end, start))
    guard gone > 0 else { return }
    count("martlet_kafka_expired_records_total", partition, Int(gone))
    log.error(
      """
      offsets \(range.lowerBound)..<\(range.upperBound) of \(partition) were claimed by this warehouse and not stored, and the \
      log no longer has \(gone) of them: it begins at \(end.start). Keep records for longer than a process may be away.
      """)
  }

  private func count(_ label: String, _ partition: StreamPartition, _ amount: Int) {
    Counter(label: label, dimensions: [("topic", partition.topic)]).increment(by: amount)
  }
}
