import CRdKafka
import Core
import Foundation

/// A list of partitions with offsets that librdkafka reads or fills.
final class KafkaPartitions {
  private let list: UnsafeMutablePointer<rd_kafka_topic_partition_list_t>
  private let isOwned: Bool

  /// One that belongs to librdkafka, for the time of a callback.
  init(borrowing list: UnsafeMutablePointer<rd_kafka_topic_partition_list_t>) {
    self.list = list
    isOwned = false
  }

  init(_ partitions: some Collection<StreamPartition>) {
    list = rd_kafka_topic_partition_list_new(Int32(clamping: partitions.count))
    isOwned = true
    for partition in partitions { add(partition, nil) }
  }

  /// - Parameter note: a text that is committed with each offset.
  init(_ offsets: some Collection<(key: StreamPartition, value: Int64?)>, note: String = "") {
    list = rd_kafka_topic_partition_list_new(Int32(clamping: offsets.count))
    isOwned = true
    for (partition, offset) in offsets { add(partition, offset, note) }
  }

  /// Lends the list to a call of librdkafka.
  func with<Output>(
    _ body: (UnsafeMutablePointer<rd_kafka_topic_partition_list_t>) -> Output
  ) -> Output {
    withExtendedLifetime(self) { body(list) }
  }

  deinit { if isOwned { rd_kafka_topic_partition_list_destroy(list) } }

  private func add(_ partition: StreamPartition, _ offset: Int64?, _ note: String = "") {
    let entry = rd_kafka_topic_partition_list_add(list, partition.topic, partition.partition)
    if !note.isEmpty {
      // librdkafka frees it with the list.
      entry?.pointee.metadata = UnsafeMutableRawPointer(strdup(note))
      entry?.pointee.metadata_size = note.utf8.count
    }
    // RD_KAFKA_OFFSET_INVALID: where the group has committed.
    entry?.pointee.offset = offset ?? -1_001
  }

  private var entries: UnsafeBufferPointer<rd_kafka_topic_partition_t> {
    UnsafeBufferPointer(start: list.pointee.elems, count: Int(list.pointee.cnt))
  }

  var partitions: [StreamPartition] {
    entries.map { StreamPartition(topic: String(cString: $0.topic), partition: $0.partition) }
  }

  /// Those with an offset and without an error.
  var offsets: [StreamPartition: Int64] {
    var offsets: [StreamPartition: Int64] = [:]
    for entry in entries
    where entry.offset >= 0 && entry.err == RD_KAFKA_RESP_ERR_NO_ERROR {
      offsets[StreamPartition(topic: String(cString: entry.topic), partition: entry.partition)] =
        entry.offset
    }
    return offsets
  }

  /// Of `offsets`, with the text that was committed along.
  var positions: [StreamPartition: GroupPosition] {
    var positions: [StreamPartition: GroupPosition] = [:]
    for entry in entries where entry.offset >= 0 && entry.err == RD_KAFKA_RESP_ERR_NO_ERROR {
      let note = entry.metadata.map {
        String(
          decoding: UnsafeRawBufferPointer(start: $0, count: entry.metadata_size), as: UTF8.self)
      }
      positions[
        StreamPartition(topic: String(cString: entry.topic), partition: entry.partition)] =
        GroupPosition(next: entry.offset, note: note ?? "")
    }
    return positions
  }

  /// The first partition that librdkafka could not serve.
  var failure: (partition: StreamPartition, code: rd_kafka_resp_err_t)? {
    entries.first { $0.err != RD_KAFKA_RESP_ERR_NO_ERROR }.map {
      (StreamPartition(topic: String(cString: $0.topic), partition: $0.partition), $0.err)
    }
  }
}
