import Core
import Foundation
import KafkaBackend
import Synchronization
import TestKit

/// A configuration for tests: short sessions, so that a rebalance takes no longer than it must. The mock group waits
/// three seconds for its first members, and forgets those whose session is shorter.
func kafka(
  _ cluster: MockKafkaProcess, group: String = "project", instance: String? = nil,
  records: Int = 5_000, interval: Span = .milliseconds(20), properties: [String: String] = [:]
) -> KafkaConfiguration {
  KafkaConfiguration(
    brokers: cluster.brokers, groupID: group, instanceID: instance, batchRecords: records,
    batchInterval: interval,
    properties: [
      "session.timeout.ms": "4500", "heartbeat.interval.ms": "200",
      "reconnect.backoff.ms": "50", "reconnect.backoff.max.ms": "200",
      "topic.metadata.refresh.interval.ms": "500", "coordinator.query.interval.ms": "500",
    ].merging(properties) { $1 })
}

/// Leaders in turn, and the group at the first broker, so that another one's end leaves something to see: the mock
/// cluster draws them by lot and never moves them by itself.
func spread(_ cluster: MockKafkaProcess, partitions: Int, brokers: Int) throws {
  try cluster.tell("coordinator project 1")
  for partition in 0..<partitions {
    try cluster.tell("leader clicks \(partition) \(partition % brokers + 1)")
  }
}

func partitions(_ topic: String, _ numbers: Range<Int32>) -> [StreamPartition] {
  numbers.map { StreamPartition(topic: topic, partition: $0) }
}

/// A record whose value is its number.
func numbered(_ number: Int, topic: String = "clicks") -> ProducedRecord {
  ProducedRecord(topic: topic, key: "user\(number % 50)", value: Array("\(number)".utf8))
}

extension KafkaEventStream {
  /// The next event, which must be an assignment.
  func assignment() async throws -> [StreamPartition] {
    guard case .assigned(let partitions)? = try await next() else {
      throw Disappointment("there was no assignment")
    }
    return partitions
  }

  /// The next event, which must be a batch.
  func batch() async throws -> StreamBatch {
    guard case .batch(let batch)? = try await next() else {
      throw Disappointment("there was no batch")
    }
    return batch
  }
}

/// What a consumer has seen, by a loop that does what a good caller does: begins where it is told, takes batches, and
/// lets partitions go.
final class KafkaReader: Sendable {
  private struct State {
    var values: [StreamPartition: [String]] = [:]
    var offsets: [StreamPartition: [Int64]] = [:]
    var batches: [Int] = []
    var assigned: Set<StreamPartition> = []
    var revocations = 0
    var failure: String?
  }

  let stream: KafkaEventStream
  private let commits: Bool
  private let positions: [StreamPartition: Int64]
  private let state = Mutex(State())

  init(
    _ stream: KafkaEventStream, commits: Bool = true, positions: [StreamPartition: Int64] = [:]
  ) {
    self.stream = stream
    self.commits = commits
    self.positions = positions
  }

  var values: [String] { state.withLock { $0.values.values.flatMap { $0 } } }
  var offsets: [StreamPartition: [Int64]] { state.withLock { $0.offsets } }
  var batches: [Int] { state.withLock { $0.batches } }
  var assigned: Set<StreamPartition> { state.withLock { $0.assigned } }
  var revocations: Int { state.withLock { $0.revocations } }
  var failure: String? { state.withLock { $0.failure } }

  func run() async {
    do {
      while let event = try await stream.next() { try await take(event) }
    } catch {
      state.withLock { $0.failure = "\(error)" }
    }
  }

  private func take(_ event: StreamEvent) async throws {
    switch event {
    case .assigned(let partitions):
      state.withLock { $0.assigned.formUnion(partitions) }
      try await stream.begin(
        Dictionary(uniqueKeysWithValues: partitions.map { ($0, positions[$0]) }))
    case .batch(let batch):
      var ends: [StreamPartition: Int64] = [:]
      state.withLock { state in
        state.batches.append(batch.records.count)
        for record in batch.records {
          let partition = batch.partitions[record.partition]
          state.values[partition, default: []].append(record.value.map { batch.text($0) } ?? "")
          state.offsets[partition, default: []].append(record.offset)
          ends[partition] = record.offset + 1
        }
      }
      if commits { stream.commit(ends.map { StreamOffset(partition: $0.key, next: $0.value) }) }
    case .revoked(let partitions, let isLost):
      state.withLock { state in
        state.assigned.subtract(partitions)
        state.revocations += 1
      }
      if !isLost { try await stream.release(partitions) }
    }
  }

  /// Runs a reader beside `body` and closes its stream.
  static func with<Result: Sendable>(
    _ configuration: KafkaConfiguration, topics: [String] = ["clicks"], commits: Bool = true,
    positions: [StreamPartition: Int64] = [:],
    _ body: @escaping @Sendable (KafkaReader) async throws -> Result
  ) async throws -> Result {
    let stream = try KafkaEventStream(configuration, topics: topics)
    let reader = KafkaReader(stream, commits: commits, positions: positions)
    return try await withThrowingTaskGroup(of: Void.self) { group in
      group.addTask { await reader.run() }
      let result: Swift.Result<Result, any Error>
      do { result = .success(try await body(reader)) } catch { result = .failure(error) }
      await stream.close()
      try await group.waitForAll()
      return try result.get()
    }
  }
}

func withProducer<Result>(
  _ cluster: MockKafkaProcess, capacity: Int = Limits.producerRecords,
  properties: [String: String] = [:],
  _ body: (KafkaEventProducer) async throws -> Result
) async throws -> Result {
  let producer = try KafkaEventProducer(
    kafka(cluster, properties: properties), capacity: capacity)
  do {
    let result = try await body(producer)
    await producer.close()
    return result
  } catch {
    await producer.close()
    throw error
  }
}
