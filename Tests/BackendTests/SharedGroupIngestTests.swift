import Core
import DuckDBBackend
import Features
import Foundation
import KafkaBackend
import RedisBackend
import Synchronization
import TestKit
import Testing

/// A ledger that a process can no longer reach at its end, as one that is killed: nothing is given back.
private struct AbruptLedger: StreamLedger {
  let base: any StreamLedger

  func take(
    _ stored: [StreamPartition: Int64?], as reader: StreamReader
  ) async throws -> [StreamPartition: StreamShares] {
    try await base.take(stored, as: reader)
  }
  func claim(_ claims: [StreamClaim], as reader: StreamReader) async throws -> [StreamPartition] {
    try await base.claim(claims, as: reader)
  }
  func claim(_ identities: [StreamIdentity], of source: String) async throws -> [Int] {
    try await base.claim(identities, of: source)
  }
  func note(_ offsets: [StreamOffset], in warehouse: String) async throws {
    try await base.note(offsets, in: warehouse)
  }
  func giveBack(_ offsets: [StreamOffset], as reader: StreamReader) async throws {}
  func look(
    at partitions: [StreamPartition]?
  ) async throws -> [StreamPartition: StreamShares] { try await base.look(at: partitions) }
}

/// The ledger of a process that has no more to do with it once it has given something back.
private final class PartingLedger: StreamLedger {
  private let base: any StreamLedger
  private let gave = Mutex(false)

  init(_ base: any StreamLedger) { self.base = base }

  var hasGivenBack: Bool { gave.withLock { $0 } }

  private func open() throws -> any StreamLedger {
    guard hasGivenBack else { return base }
    throw PlatformError(.unavailable, "the ledger is away", retryable: true)
  }

  func take(
    _ stored: [StreamPartition: Int64?], as reader: StreamReader
  ) async throws -> [StreamPartition: StreamShares] {
    try await open().take(stored, as: reader)
  }
  func claim(_ claims: [StreamClaim], as reader: StreamReader) async throws -> [StreamPartition] {
    try await open().claim(claims, as: reader)
  }
  func claim(_ identities: [StreamIdentity], of source: String) async throws -> [Int] {
    try await open().claim(identities, of: source)
  }
  func note(_ offsets: [StreamOffset], in warehouse: String) async throws {
    try await open().note(offsets, in: warehouse)
  }
  func giveBack(_ offsets: [StreamOffset], as reader: StreamReader) async throws {
    try await base.giveBack(offsets, as: reader)
    gave.withLock { $0 = true }
  }
  func look(
    at partitions: [StreamPartition]?
  ) async throws -> [StreamPartition: StreamShares] { try await open().look(at: partitions) }
}

/// Two write paths from Kafka, each with its DuckDB file, in one group and over one Redis.
private struct SharedGroupBench: Sendable {
  let cluster: MockKafkaProcess
  let store: RedisOnlineStore
  let producer: KafkaEventProducer
  let folder: TemporaryFolder

  static func with(
    partitions: Int = 4, _ body: @Sendable (SharedGroupBench) async throws -> Void
  ) async throws {
    try await RedisServer.with { redis in
      let store = try RedisOnlineStore.test(redis)
      defer { store.close() }
      let folder = try TemporaryFolder()
      defer { folder.remove() }
      try await MockKafkaProcess.with(topics: ["clicks": partitions]) { cluster in
        try await withProducer(cluster) { producer in
          try await body(
            SharedGroupBench(cluster: cluster, store: store, producer: producer, folder: folder))
        }
      }
    }
  }

  func warehouse(_ name: String) async throws -> DuckDBWarehouse {
    let warehouse = try DuckDBWarehouse(path: "\(folder.path)/\(name).duckdb")
    try await warehouse.prepare([KafkaIngestBench.source])
    return warehouse
  }

  /// One process beside `body`.
  ///
  /// - Parameters:
  ///   - isAbrupt: whether it ends without a word to the ledger.
  ///   - fails: called before each transaction, which fails where it throws.
  func running(
    _ name: String, _ warehouse: DuckDBWarehouse, isAbrupt: Bool = false,
    ledger other: (any StreamLedger)? = nil, records: Int = 100,
    fails: @escaping @Sendable () async throws -> Void = {},
    _ body: @escaping @Sendable (StreamIngest) async throws -> Void
  ) async throws {
    let bench = try await KafkaIngestBench(cluster, warehouse)
    var configuration = kafka(cluster, records: records)
    configuration.note = name
    let settings = configuration
    let ledger: any StreamLedger = isAbrupt ? AbruptLedger(base: store) : other ?? store
    try await bench.running(
      settings, warehouse: FaultyWarehouse(warehouse, before: fails),
      sharing: (KafkaGroupProgress(settings), ledger, KafkaRanges(settings), name), body)
  }

  func produce(_ numbers: Range<Int>) async throws {
    _ = try await producer.produce(
      numbers.map { number in
        ProducedRecord(
          topic: "clicks", key: "user\(number % 97)",
          value: Array(#"{"n": \#(number), "at": "2026-01-01T00:00:00Z"}"#.utf8))
      })
  }
}

private func numbers(_ warehouses: DuckDBWarehouse...) async throws -> [Int] {
  var all: [Int] = []
  for warehouse in warehouses {
    all += try await warehouse.query("SELECT n FROM events_clicks", as: Int.self)
  }
  return all.sorted()
}

/// Processes of one group, a warehouse each: a record is in one of them.
@Suite("Kafka into several warehouses", .serialized)
struct SharedGroupIngestTests {
  /// A disk that takes so many transactions and then no more.
  private final class Disk: Sendable {
    private let left: Mutex<Int>

    init(transactions: Int) { left = Mutex(transactions) }

    var hasFailed: Bool { left.withLock { $0 < 0 } }

    @Sendable func write() throws {
      let isFull = left.withLock { left in
        left -= 1
        return left < 0
      }
      if isFull { throw PlatformError(.storage, "the disk is gone") }
    }
  }

  @Test
  func
    `what was claimed before a death is stored by that process when it is back, and by no other`()
    async throws
  {
    try await SharedGroupBench.with { bench in
      let (a, b) = (try await bench.warehouse("a"), try await bench.warehouse("b"))
      try await bench.produce(0..<2_000)
      let disk = Disk(transactions: 3)
      try await bench.running("a", a, isAbrupt: true, fails: disk.write) { _ in
        try await waitUntil("a transaction failed") { disk.hasFailed }
      }
      try await bench.running("b", b) { _ in
        try await bench.produce(2_000..<3_000)
        try await waitUntil("the other has what nobody claimed") {
          let shares = try await bench.store.look(at: nil).values
          return shares.count == 4
            && shares.reduce(0) { $0 + ($1.end ?? 0) } == 3_000
            && shares.allSatisfy { $0.owed(toOthersThan: "a").isEmpty }
        }
        let before = try await numbers(a, b)
        #expect(before.count < 3_000 && Set(before).count == before.count)
        // The other goes on; this one reads what it owes beside the group.
        try await bench.running("a", a) { _ in
          try await waitUntil("all is stored") { try await numbers(a, b).count >= 3_000 }
        }
      }
      #expect(try await numbers(a, b) == Array(0..<3_000))
      try await a.close()
      try await b.close()
    }
  }

  @Test func `what a process cannot store it gives back to whoever reads the partition next`()
    async throws
  {
    try await SharedGroupBench.with { bench in
      let (a, b) = (try await bench.warehouse("a"), try await bench.warehouse("b"))
      try await bench.produce(0..<1_000)
      let disk = Disk(transactions: 2)
      let ledger = PartingLedger(bench.store)
      try await bench.running("a", a, ledger: ledger, fails: disk.write) { _ in
        try await waitUntil("what could not be stored was given back") { ledger.hasGivenBack }
      }
      #expect(try await numbers(a).count < 1_000)
      try await bench.running("b", b) { _ in
        try await waitUntil("all is stored") { try await numbers(a, b).count >= 1_000 }
      }
      #expect(try await numbers(a, b) == Array(0..<1_000))
      try await a.close()
      try await b.close()
    }
  }

  @Test
  func
    `an older copy of a warehouse reads again what it lacks of its own, and nothing of another's`()
    async throws
  {
    try await SharedGroupBench.with { bench in
      let (a, b) = (try await bench.warehouse("a"), try await bench.warehouse("b"))
      let copy = "\(bench.folder.path)/copy.duckdb"
      func turn(_ name: String, _ warehouse: DuckDBWarehouse, _ range: Range<Int>) async throws {
        try await bench.running(name, warehouse) { _ in
          try await bench.produce(range)
          try await waitUntil("\(name) has its turn") {
            try await numbers(a, b).count >= range.upperBound
          }
        }
      }
      try await turn("a", a, 0..<300)
      try await a.copy(to: copy)
      try await turn("a", a, 300..<500)
      try await turn("b", b, 500..<700)
      try await turn("a", a, 700..<900)
      try await turn("b", b, 900..<1_000)
      try await a.close()
      let restored = try DuckDBWarehouse(path: copy)
      #expect(try await numbers(restored) == Array(0..<300))
      try await bench.running("a", restored) { _ in
        try await bench.produce(1_000..<1_100)
        try await waitUntil("all is stored") { try await numbers(restored, b).count >= 1_100 }
      }
      #expect(try await numbers(restored, b) == Array(0..<1_100))
      try await restored.close()
      try await b.close()
    }
  }

  @Test func `a process that is late stores nothing of partitions that another has taken`()
    async throws
  {
    try await SharedGroupBench.with(partitions: 1) { bench in
      let (a, b) = (try await bench.warehouse("a"), try await bench.warehouse("b"))
      let zero = StreamPartition(topic: "clicks", partition: 0)
      try await bench.produce(0..<100)
      try await bench.running("a", a, records: 10) { _ in
        try await waitUntil("all is stored") { try await numbers(a).count == 100 }
        // The group has not noticed yet: another takes the partition, as after the end of a session.
        let thief = StreamReader(warehouse: "b", member: "thief")
        #expect(try await bench.store.take([zero: nil], as: thief)[zero]?.end == 100)
        try await bench.produce(100..<110)
        try await waitUntil("reading began anew, from what nobody has claimed") {
          try await numbers(a).count == 110
        }
        #expect(
          try await bench.store.claim(
            [StreamClaim(partition: zero, first: 100, next: 105)], as: thief) == [zero])
      }
      #expect(try await numbers(a, b) == Array(0..<110))
      try await a.close()
      try await b.close()
    }
  }
}
