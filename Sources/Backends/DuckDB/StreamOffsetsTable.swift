import Core

/// The table `stream_offsets`: where the stored events of each partition end.
extension WarehouseWriter {
  private struct Row: Decodable {
    var topic: String
    var partition: Int64
    var next: Int64
  }

  /// Moves positions on, inside the transaction that stores the events.
  ///
  /// Throws `.conflict` where one is not where it should be; the transaction must fail then.
  func advance(_ advances: [StreamAdvance]) throws {
    guard !advances.isEmpty else { return }
    let rows = try connection.query(
      "SELECT topic, partition, next_offset AS next FROM stream_offsets", as: Row.self)
    let stored = Dictionary(
      rows.map {
        (StreamPartition(topic: $0.topic, partition: Int32(clamping: $0.partition)), $0.next)
      }
    ) { $1 }
    for advance in advances where stored[advance.partition] != advance.from {
      let found = stored[advance.partition].map { "\($0)" } ?? "no offset"
      throw PlatformError(
        .conflict,
        "Events of \(advance.partition) from offset \(advance.from.map { "\($0)" } ?? "the start") cannot be "
          + "stored: the warehouse is at \(found), so that another process reads the partition; read on from there.",
        retryable: true)
    }
    let known = advances.filter { $0.from != nil }
    let new = advances.filter { $0.from == nil }
    if !known.isEmpty {
      try connection.execute(
        "UPDATE stream_offsets SET next_offset = moved.next, updated_at = moved.moment FROM "
          + "(VALUES \(placeholders(known))) AS moved(topic, partition, next, moment) WHERE "
          + "stream_offsets.topic = moved.topic AND stream_offsets.partition = moved.partition",
        values(known))
    }
    if !new.isEmpty {
      try connection.execute(
        "INSERT INTO stream_offsets VALUES \(placeholders(new))", values(new))
    }
  }

  private func placeholders(_ advances: [StreamAdvance]) -> String {
    advances.map { _ in "(?, ?, ?, ?)" }.joined(separator: ", ")
  }

  private func values(_ advances: [StreamAdvance]) -> [Value] {
    let now = clock.now
    return advances.flatMap { advance -> [Value] in
      [
        .string(advance.partition.topic), .int64(Int64(advance.partition.partition)),
        .int64(advance.next), .timestamp(now),
      ]
    }
  }
}
