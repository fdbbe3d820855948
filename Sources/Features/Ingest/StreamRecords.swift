import Core

/// What a batch of a stream brings one source: rows, and how far they take its partitions.
struct StreamPush: Sendable {
  var rows: ValidatedRows
  var advances: [StreamAdvance]
  /// What of them is to be ours before they are stored.
  var claims: [StreamClaim]
  /// Of each row, where its record is.
  var places: [StreamPlace]
}

/// Where a record is in its topic.
struct StreamPlace: Sendable {
  var partition: Int32
  var offset: Int64
}

/// Reads raw records into rows by the definitions at hand.
struct StreamRecords {
  private let snapshot: Snapshot
  private let sources: [String: SourceDefinition]
  private let bare: [String: BareFeatureValues]

  init(_ snapshot: Snapshot) {
    self.snapshot = snapshot
    var sources: [String: SourceDefinition] = [:]
    var bare: [String: BareFeatureValues] = [:]
    for source in snapshot.project.sources {
      guard let topic = source.kafka?.topic else { continue }
      sources[topic] = source
      bare[topic] = BareFeatureValues(source, snapshot.project)
    }
    self.sources = sources
    self.bare = bare
  }

  /// Whether these are still the definitions.
  func isOf(_ other: Snapshot) -> Bool { snapshot.definitionsVersion == other.definitionsVersion }

  var topics: [String] { sources.keys.sorted() }

  /// One push a topic. Records of a partition stay in order; those of a topic that no source names any more,
  /// and of partitions that `positions` refuses, are left out.
  func pushes(_ batch: StreamBatch, _ positions: inout StreamPositions) -> [StreamPush] {
    var rows = [[Int]](repeating: [], count: batch.partitions.count)
    for (index, record) in batch.records.enumerated() { rows[record.partition].append(index) }
    var topics: [String: [Int]] = [:]
    for (place, partition) in batch.partitions.enumerated() where !rows[place].isEmpty {
      topics[partition.topic, default: []].append(place)
    }
    return topics.sorted { $0.key < $1.key }.compactMap { topic, places in
      guard let source = sources[topic] else { return nil }
      var steps: [StreamPositions.Step] = []
      var wanted: [(partition: StreamPartition, rows: [Int])] = []
      for place in places {
        let partition = batch.partitions[place]
        let (first, last) = (rows[place][0], rows[place][rows[place].count - 1])
        guard
          let step = positions.advance(
            partition, first: batch.records[first].offset, last: batch.records[last].offset)
        else { continue }
        steps.append(step)
        wanted.append((partition, rows[place]))
      }
      guard !steps.isEmpty else { return nil }
      let (parsed, places) = parse(batch, wanted, source, bare[topic])
      return StreamPush(
        rows: parsed, advances: steps.map(\.advance), claims: steps.map(\.claim), places: places)
    }
  }

  private func parse(
    _ batch: StreamBatch, _ wanted: [(partition: StreamPartition, rows: [Int])],
    _ source: SourceDefinition, _ bare: BareFeatureValues?
  ) -> (ValidatedRows, [StreamPlace]) {
    let count = wanted.reduce(0) { $0 + $1.rows.count }
    var parser = RecordParser(
      source: source, origin: .kafka(wanted[0].partition), expecting: count, maximumRows: .max)
    var places: [StreamPlace] = []
    places.reserveCapacity(count)
    batch.bytes.withUnsafeBufferPointer { bytes in
      for (partition, rows) in wanted {
        parser.read(from: .kafka(partition))
        for row in rows {
          let record = batch.records[row]
          guard let range = record.value else {
            parser.refuse(
              UnsafeBufferPointer(rebasing: bytes[0..<0]), number: record.offset,
              because: "the record has no value (a tombstone)")
            continue
          }
          let value = UnsafeBufferPointer(rebasing: bytes[range])
          let id = record.eventID.map { batch.text($0) }
          read(value, record.offset, id, bare, &parser)
        }
        for offset in parser.numbers[places.count...] {
          places.append(StreamPlace(partition: partition.partition, offset: offset))
        }
      }
    }
    return (parser.finishRows(), places)
  }

  private func read(
    _ value: UnsafeBufferPointer<UInt8>, _ offset: Int64, _ id: String?, _ bare: BareFeatureValues?,
    _ parser: inout RecordParser
  ) {
    switch bare?.read(value) ?? .other {
    case .other: parser.append(record: value, number: offset, id: id)
    case .fault(let why): parser.refuse(value, number: offset, because: why)
    case .record(let written):
      let refused = parser.refusedCount
      written.withUnsafeBufferPointer { parser.append(record: $0, number: offset, id: id) }
      // What is kept is the record as it came.
      if parser.refusedCount > refused { parser.restoreLastRefused(value) }
    }
  }
}
