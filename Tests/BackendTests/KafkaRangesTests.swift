import Core
import KafkaBackend
import TestKit
import Testing

/// Parts of a log that are read beside the group.
@Suite("Kafka ranges", .serialized)
struct KafkaRangesTests {
  private let zero = StreamPartition(topic: "clicks", partition: 0)

  private func read(
    _ cluster: MockKafkaProcess, _ range: Range<Int64>
  ) async throws -> (offsets: [Int64], batches: [Int], end: StreamRangeEnd) {
    var offsets: [Int64] = []
    var batches: [Int] = []
    let ranges = KafkaRanges(kafka(cluster, instance: "one", records: 40))
    let end = try await ranges.read(zero, range) { batch in
      offsets += batch.records.map(\.offset)
      batches.append(batch.records.count)
    }
    return (offsets, batches, end)
  }

  @Test func `a range is read whole, in order and in batches, and a member goes on beside it`()
    async throws
  {
    try await MockKafkaProcess.with(topics: ["clicks": 1]) { cluster in
      _ = try await withProducer(cluster) { try await $0.produce((0..<300).map { numbered($0) }) }
      try await KafkaReader.with(kafka(cluster, instance: "one")) { reader in
        try await waitUntil("the member has all") { reader.values.count == 300 }
        let found = try await read(cluster, 50..<171)
        #expect(found.offsets == Array(50..<171))
        #expect(found.batches.allSatisfy { $0 <= 40 })
        #expect(found.end == StreamRangeEnd(start: 0, end: 171))
        _ = try await withProducer(cluster) { try await $0.produce([numbered(300)]) }
        try await waitUntil("the member has more") { reader.values.count == 301 }
        #expect(reader.revocations == 0)
      }
    }
  }

  @Test func `a range beyond the end of the log ends where the log ends`() async throws {
    try await MockKafkaProcess.with(topics: ["clicks": 1]) { cluster in
      _ = try await withProducer(cluster) { try await $0.produce((0..<30).map { numbered($0) }) }
      let found = try await read(cluster, 20..<90)
      #expect(found.offsets == Array(20..<30))
      #expect(found.end == StreamRangeEnd(start: 0, end: 30))
    }
  }
}
