import Core
import DuckDBBackend
import Features
import Foundation
import KafkaBackend
import Synchronization
import TestKit
import Testing

/// A platform's write path from Kafka to a DuckDB file, as often as it is started.
final class KafkaIngestBench: Sendable {
  static let source = SourceDefinition(
    name: "clicks", eventTime: "at", columns: [ColumnDefinition(name: "n", type: .int64)],
    kafka: KafkaDefinition(topic: "clicks"))

  /// What online reads would see: each event that was applied.
  final class Applied: OnlineApplier {
    private let numbers = Mutex<[Int64]>([])

    func apply(_ batches: [EventBatch]) async throws {
      for batch in batches {
        guard case .int64(let values)? = batch["n"]?.values else { continue }
        numbers.withLock { $0 += values }
      }
    }

    var all: [Int64] { numbers.withLock { $0 } }
  }

  let cluster: MockKafkaProcess
  let warehouse: DuckDBWarehouse
  let applied = Applied()

  init(_ cluster: MockKafkaProcess, _ warehouse: DuckDBWarehouse) async throws {
    self.cluster = cluster
    self.warehouse = warehouse
    try await warehouse.prepare([Self.source])
  }

  /// One process's ingest beside `body`; `wrap` may come between it and Kafka.
  func running<Result: Sendable>(
    _ configuration: KafkaConfiguration, queueRows: Int = Limits.commitQueueRows,
    warehouse other: (any Warehouse)? = nil,
    sharing: (any GroupProgress, any StreamLedger, any StreamRanges, warehouse: String)? = nil,
    wrap: @escaping @Sendable (any EventStream) -> any EventStream = { $0 },
    _ body: @escaping @Sendable (StreamIngest) async throws -> Result
  ) async throws -> Result {
    let definitions = Published(
      Snapshot(
        version: 1, definitionsVersion: 1, definitionsDigest: "", projectDirectory: ".",
        project: ProjectDefinition(name: "test", sources: [Self.source]), models: [:]))
    let ingestor = Ingestor(
      warehouse: other ?? warehouse, applier: applied, definitions: definitions,
      queueRows: queueRows)
    try await ingestor.restore()
    let ingest = StreamIngest(
      ingestor: ingestor, definitions: definitions, group: sharing?.0, ledger: sharing?.1,
      ranges: sharing?.2, warehouse: sharing?.warehouse ?? "", pause: .milliseconds(50)
    ) { topics in wrap(try KafkaEventStream(configuration, topics: topics)) }
    return try await withThrowingTaskGroup(of: Void.self) { group in
      group.addTask { try await ingestor.run() }
      let result = try await withThrowingTaskGroup(of: Void.self) { inner in
        inner.addTask { await ingest.run() }
        let result: Swift.Result<Result, any Error>
        do { result = .success(try await body(ingest)) } catch { result = .failure(error) }
        inner.cancelAll()
        try await inner.waitForAll()
        return result
      }
      ingestor.stop()
      try await group.waitForAll()
      return try result.get()
    }
  }

  func produce(_ numbers: Range<Int>, by producer: KafkaEventProducer) async throws {
    _ = try await producer.produce(
      numbers.map { number in
        ProducedRecord(
          topic: "clicks", key: "user\(number % 97)",
          value: Array(#"{"n": \#(number), "at": "2026-01-01T00:00:00Z"}"#.utf8))
      })
  }

  func storedCount() async throws -> Int { try await rowCount(warehouse, "events_clicks") }

  /// Every number in the warehouse, and applied, once.
  func expectEachOnce(_ numbers: Range<Int>) async throws {
    let stored = try await warehouse.query("SELECT n FROM events_clicks ORDER BY n", as: Int.self)
    #expect(stored == Array(numbers))
    #expect(applied.all.sorted() == numbers.map { Int64($0) })
  }

  /// The stored positions are the ends of what was produced.
  func expectPositions(sum: Int) async throws {
    let total = try await warehouse.query(
      "SELECT CAST(sum(next_offset) AS BIGINT) FROM stream_offsets", as: Int.self)
    #expect(total == [sum])
  }
}

/// A stream whose commits never reach the group, and that is let go without a word: a process that is killed between
/// the warehouse's commit and the group's.
private struct MuteStream: EventStream {
  let base: any EventStream

  func next() async throws -> StreamEvent? { try await base.next() }
  func begin(_ positions: [StreamPartition: Int64?]) async throws {
    try await base.begin(positions)
  }
  func release(_ partitions: [StreamPartition]) async throws {
    try await base.release(partitions)
  }
  func commit(_ offsets: [StreamOffset]) {}
  func hold(_ partitions: Set<StreamPartition>) { base.hold(partitions) }
  var lag: [StreamLag] { base.lag }
  func close() async { await base.close() }
}

@Suite("Kafka into DuckDB", .serialized)
struct KafkaIngestTests {
  private func with(
    brokers: Int = 1, partitions: Int = 4,
    _ body: @Sendable (KafkaIngestBench) async throws -> Void
  ) async throws {
    let warehouse = try DuckDBWarehouse(path: nil)
    try await MockKafkaProcess.with(brokers: brokers, topics: ["clicks": partitions]) { cluster in
      try await body(try await KafkaIngestBench(cluster, warehouse))
    }
    try await warehouse.close()
  }

  @Test func `every record is stored once while a broker fails and comes back`() async throws {
    try await with(brokers: 3, partitions: 12) { bench in
      try spread(bench.cluster, partitions: 12, brokers: 3)
      try await bench.running(kafka(bench.cluster, records: 500)) { _ in
        try await withProducer(bench.cluster) { producer in
          try await bench.produce(0..<5_000, by: producer)
          try await waitUntil("the first are stored") { bench.applied.all.count == 5_000 }
          try bench.cluster.tell("down 3")
          async let more: Void = bench.produce(5_000..<10_000, by: producer)
          try await waitUntil("the living brokers' records are stored") {
            try await bench.storedCount() > 5_000
          }
          try bench.cluster.tell("up 3")
          try await more
        }
        try await waitUntil("all is stored") { bench.applied.all.count >= 10_000 }
      }
      try await bench.expectEachOnce(0..<10_000)
      try await bench.expectPositions(sum: 10_000)
    }
  }

  @Test func `after a death between the two commits nothing is counted twice`() async throws {
    try await with { bench in
      try await withProducer(bench.cluster) { try await bench.produce(0..<1_000, by: $0) }
      for round in 1...3 {
        try await bench.running(
          kafka(bench.cluster, records: 100), wrap: { MuteStream(base: $0) }
        ) { _ in
          try await waitUntil("round \(round) is stored") {
            bench.applied.all.count >= round * 1_000
          }
        }
        // The group knows of nothing; the next process finds the positions with the events.
        try await withProducer(bench.cluster) {
          try await bench.produce(round * 1_000..<(round + 1) * 1_000, by: $0)
        }
      }
      try await bench.running(kafka(bench.cluster)) { _ in
        try await waitUntil("all is stored") { bench.applied.all.count >= 4_000 }
      }
      try await bench.expectEachOnce(0..<4_000)
    }
  }

  @Test func `a transaction that fails stores neither events nor positions, and is done again`()
    async throws
  {
    try await with { bench in
      try await withProducer(bench.cluster) { try await bench.produce(0..<1_000, by: $0) }
      let left = Mutex(3)
      let faulty = FaultyWarehouse(bench.warehouse) {
        let fails = left.withLock { left in
          left -= 1
          return left >= 0
        }
        if fails { throw PlatformError(.storage, "the disk is full") }
      }
      try await bench.running(kafka(bench.cluster, records: 100), warehouse: faulty) { _ in
        try await waitUntil("all is stored") { bench.applied.all.count >= 1_000 }
      }
      try await bench.expectEachOnce(0..<1_000)
    }
  }

  @Test func `poison is quarantined with its bytes and place`() async throws {
    try await with(partitions: 1) { bench in
      try await bench.running(kafka(bench.cluster)) { ingest in
        try await withProducer(bench.cluster) { producer in
          try await bench.produce(0..<3, by: producer)
          _ = try await producer.produce([
            ProducedRecord(topic: "clicks", key: "x", value: Array("{\"n\": ".utf8))
          ])
          try await bench.produce(3..<6, by: producer)
        }
        try await ingest.applied.wait(
          for: [StreamOffset(partition: StreamPartition(topic: "clicks", partition: 0), next: 7)])
      }
      try await bench.expectEachOnce(0..<6)
      let found = try await table(
        bench.warehouse, "SELECT source, record, position FROM quarantine")
      #expect(found.count == 1)
      #expect(found["source"]?[0] == .string("clicks"))
      #expect(found["record"]?[0] == .string("{\"n\": "))
      #expect(found["position"]?[0] == .string("kafka clicks/0/3"))
    }
  }

  @Test func `two members share many partitions and a rebalance in mid-stream loses nothing`()
    async throws
  {
    try await with(brokers: 2, partitions: 24) { bench in
      try await bench.running(kafka(bench.cluster, instance: "one", records: 200)) { _ in
        try await withProducer(bench.cluster) { producer in
          try await bench.produce(0..<4_000, by: producer)
          try await waitUntil("reading has begun") { !bench.applied.all.isEmpty }
          try await bench.running(kafka(bench.cluster, instance: "two", records: 200)) { second in
            try await bench.produce(4_000..<8_000, by: producer)
            try await waitUntil("the second member has partitions") { !second.lag.isEmpty }
            try await bench.produce(8_000..<12_000, by: producer)
            try await waitUntil("all is stored") { bench.applied.all.count >= 12_000 }
          }
          // The second has left: its partitions come back.
          try await bench.produce(12_000..<13_000, by: producer)
          try await waitUntil("the first reads all again") { bench.applied.all.count >= 13_000 }
        }
      }
      try await bench.expectEachOnce(0..<13_000)
      try await bench.expectPositions(sum: 13_000)
    }
  }

  @Test func `a queue that is full slows the stream and loses nothing`() async throws {
    try await with { bench in
      try await withProducer(bench.cluster) { try await bench.produce(0..<5_000, by: $0) }
      try await bench.running(kafka(bench.cluster, records: 50), queueRows: 60) { _ in
        try await waitUntil("all is stored") { bench.applied.all.count >= 5_000 }
      }
      try await bench.expectEachOnce(0..<5_000)
    }
  }
}

@Suite("DuckDB stream positions")
struct DuckDBStreamPositionTests {
  private let zero = StreamPartition(topic: "clicks", partition: 0)
  private let one = StreamPartition(topic: "clicks", partition: 1)

  private func positions(_ warehouse: DuckDBWarehouse) async throws -> [Int] {
    try await warehouse.query(
      "SELECT next_offset FROM stream_offsets ORDER BY topic, partition", as: Int.self)
  }

  @Test func `positions move with the events or not at all`() async throws {
    let warehouse = try DuckDBWarehouse(path: nil)
    try await warehouse.prepare([orders])
    try await warehouse.commit(
      WarehouseCommit(
        events: [orderBatch(2)],
        advances: [StreamAdvance(partition: zero, from: nil, next: 2)]))
    try await warehouse.commit(
      WarehouseCommit(
        events: [orderBatch(3, from: 2)],
        advances: [
          StreamAdvance(partition: zero, from: 2, next: 5),
          StreamAdvance(partition: one, from: nil, next: 9),
        ]))
    #expect(try await positions(warehouse) == [5, 9])
    for stale in [
      StreamAdvance(partition: zero, from: 2, next: 6),
      StreamAdvance(partition: one, from: nil, next: 1),
      StreamAdvance(partition: StreamPartition(topic: "other", partition: 0), from: 3, next: 4),
    ] {
      let error = await #expect(throws: PlatformError.self) {
        try await warehouse.commit(
          WarehouseCommit(events: [orderBatch(1, from: 9)], advances: [stale]))
      }
      #expect(error?.code == .conflict)
    }
    #expect(try await positions(warehouse) == [5, 9])
    #expect(try await rowCount(warehouse) == 5)
    try await warehouse.close()
  }
}
