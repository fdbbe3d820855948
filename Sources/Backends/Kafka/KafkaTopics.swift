import CRdKafka
import Core
import Foundation

/// What a cluster says of topics and of a group's progress in them, within one deadline.
struct KafkaTopics {
  private let client: OpaquePointer
  private let deadline: ContinuousClock.Instant

  init(_ client: OpaquePointer, within patience: Span) {
    self.client = client
    deadline = ContinuousClock.now + patience.duration
  }

  /// librdkafka takes no time-out of 0 for a question.
  private var milliseconds: Int32 {
    Int32(clamping: max(1, Int64((deadline - .now) / .milliseconds(1))))
  }

  /// Throws where the brokers cannot be asked at all.
  func progress(in topics: [String]) throws -> [TopicProgress] {
    // Not besides the topics: of those that it remembers librdkafka lets the brokers create the missing ones.
    if topics.isEmpty { try ask(nil) { _ in } }
    return try topics.map { topic in
      do {
        return try progress(in: topic)
      } catch let error as PlatformError where error.code != .unavailable {
        return TopicProgress(topic: topic, fault: error.message)
      }
    }
  }

  private func progress(in topic: String) throws -> TopicProgress {
    var count: Int32 = 0
    try ask(topic) { metadata in
      guard metadata.pointee.topic_cnt > 0 else { return }
      let found = metadata.pointee.topics[0]
      guard found.err == RD_KAFKA_RESP_ERR_NO_ERROR else {
        throw KafkaFault.error(found.err, doing: "Looking at the topic \(topic)")
      }
      count = found.partition_cnt
    }
    let partitions = (0..<count).map { StreamPartition(topic: topic, partition: $0) }
    return TopicProgress(topic: topic, partitions: partitions.count, lag: try lag(of: partitions))
  }

  private func ask(
    _ topic: String?, _ body: (UnsafePointer<rd_kafka_metadata>) throws -> Void
  ) throws {
    let handle = topic.flatMap { rd_kafka_topic_new(client, $0, nil) }
    defer { if let handle { rd_kafka_topic_destroy(handle) } }
    var metadata: UnsafePointer<rd_kafka_metadata>?
    let status = rd_kafka_metadata(client, 0, handle, &metadata, milliseconds)
    guard status == RD_KAFKA_RESP_ERR_NO_ERROR, let metadata else {
      throw KafkaFault.error(status, doing: "Asking the Kafka brokers")
    }
    defer { rd_kafka_metadata_destroy(metadata) }
    try body(metadata)
  }

  /// From what the group has committed, or where it has nothing from the start of the log, to the end.
  private func lag(of partitions: [StreamPartition]) throws -> Int64 {
    let list = KafkaPartitions(partitions)
    let status = list.with { rd_kafka_committed(client, $0, milliseconds) }
    guard status == RD_KAFKA_RESP_ERR_NO_ERROR else {
      throw KafkaFault.error(status, doing: "Asking what the Kafka group has committed")
    }
    let committed = list.offsets
    return try partitions.reduce(0) { sum, partition in
      var low: Int64 = 0
      var high: Int64 = 0
      let status = rd_kafka_query_watermark_offsets(
        client, partition.topic, partition.partition, &low, &high, milliseconds)
      guard status == RD_KAFKA_RESP_ERR_NO_ERROR else {
        throw KafkaFault.error(status, doing: "Asking for the end of \(partition)")
      }
      return sum + max(0, high - max(low, committed[partition] ?? low))
    }
  }
}
