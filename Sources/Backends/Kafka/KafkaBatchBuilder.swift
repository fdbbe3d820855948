import CRdKafka
import Core
import Foundation

/// Gathers polled messages until a batch is full or its first record has waited long enough.
struct KafkaBatchBuilder {
  /// A partition as librdkafka's messages name it.
  private struct Key: Hashable {
    var topic: OpaquePointer
    var partition: Int32
  }

  /// A partition that is read.
  private struct Seat {
    var partition: StreamPartition
    /// Offset of the record that comes next; what is before it was delivered.
    var next: Int64
    /// Its index in the batch at hand, nil while that has nothing of it.
    var place: Int?
  }

  private let records: Int
  private let interval: Duration
  private var batch = StreamBatch()
  private var seats: [Seat] = []
  private var indices: [Key: Int] = [:]
  private var last: (key: Key, index: Int)?
  /// Where partitions were begun that have delivered nothing since.
  private var starts: [StreamPartition: Int64] = [:]
  private var deadline: ContinuousClock.Instant?

  init(records: Int, interval: Duration) {
    self.records = records
    self.interval = interval
  }

  var isEmpty: Bool { batch.isEmpty }
  var isFull: Bool {
    batch.records.count >= records || batch.bytes.count >= Limits.streamBatchBytes
  }

  func isDue(_ now: ContinuousClock.Instant) -> Bool {
    guard let deadline else { return false }
    return isFull || now >= deadline
  }

  /// How long until the batch is due, nil while it is empty.
  func remaining(_ now: ContinuousClock.Instant) -> Duration? { deadline.map { $0 - now } }

  mutating func take() -> StreamBatch {
    let taken = batch
    batch = StreamBatch()
    batch.records.reserveCapacity(min(records, taken.records.count))
    batch.bytes.reserveCapacity(taken.bytes.count)
    for index in seats.indices { seats[index].place = nil }
    deadline = nil
    return taken
  }

  /// Forgets partitions and what was gathered of them.
  mutating func purge(_ gone: Set<StreamPartition>) {
    batch = batch.without(gone)
    if batch.isEmpty { _ = take() }
    for partition in gone { starts[partition] = nil }
    indices = indices.filter { !gone.contains(seats[$0.value].partition) }
    last = nil
    guard indices.isEmpty else { return }
    seats = []
  }

  /// A partition is read from here on.
  mutating func begin(_ partition: StreamPartition, at offset: Int64) {
    starts[partition] = offset
  }

  /// Keeps a message, unless it is of a partition that is not ours any more, or comes a second time.
  ///
  /// librdkafka may deliver records again after a pause (its issues 4637 and 4686). Records before what was
  /// delivered are told from those of a log that begins anew by `end`, the end of the log.
  mutating func append(
    _ message: UnsafeMutablePointer<rd_kafka_message_t>, of ours: Set<StreamPartition>,
    _ clock: ContinuousClock, end: (StreamPartition) -> Int64?
  ) {
    guard let index = seat(of: message, ours) else { return }
    let offset = message.pointee.offset
    if offset < seats[index].next {
      guard let end = end(seats[index].partition), end < seats[index].next else { return }
    }
    seats[index].next = offset + 1
    let place = seats[index].place ?? batch.place(of: seats[index].partition)
    seats[index].place = place
    var record = StreamRecord(partition: place, offset: offset)
    if let key = message.pointee.key {
      record.key = batch.keep(UnsafeRawBufferPointer(start: key, count: message.pointee.key_len))
    }
    if let value = message.pointee.payload {
      record.value = batch.keep(UnsafeRawBufferPointer(start: value, count: message.pointee.len))
    }
    var kind = RD_KAFKA_TIMESTAMP_NOT_AVAILABLE
    let milliseconds = rd_kafka_message_timestamp(message, &kind)
    if kind != RD_KAFKA_TIMESTAMP_NOT_AVAILABLE, milliseconds >= 0 {
      record.timestamp = Timestamp(microseconds: milliseconds &* 1_000)
    }
    readHeaders(message, &record)
    batch.records.append(record)
    if deadline == nil { deadline = clock.now + interval }
  }

  /// The index of a message's seat; messages come in runs of one partition.
  private mutating func seat(
    of message: UnsafeMutablePointer<rd_kafka_message_t>, _ ours: Set<StreamPartition>
  ) -> Int? {
    guard let topic = message.pointee.rkt else { return nil }
    let key = Key(topic: topic, partition: message.pointee.partition)
    if let last, last.key == key { return last.index }
    if let known = indices[key] {
      last = (key, known)
      return known
    }
    let name = rd_kafka_topic_name(topic).map { String(cString: $0) } ?? ""
    let partition = StreamPartition(topic: name, partition: message.pointee.partition)
    guard ours.contains(partition) else { return nil }
    seats.append(
      Seat(partition: partition, next: starts.removeValue(forKey: partition) ?? 0))
    indices[key] = seats.count - 1
    last = (key, seats.count - 1)
    return seats.count - 1
  }

  private mutating func readHeaders(
    _ message: UnsafeMutablePointer<rd_kafka_message_t>, _ record: inout StreamRecord
  ) {
    var headers: OpaquePointer?
    guard rd_kafka_message_headers(message, &headers) == RD_KAFKA_RESP_ERR_NO_ERROR else { return }
    var index = 0
    var name: UnsafePointer<CChar>?
    var value: UnsafeRawPointer?
    var size = 0
    while rd_kafka_header_get_all(headers, index, &name, &value, &size)
      == RD_KAFKA_RESP_ERR_NO_ERROR
    {
      index += 1
      guard let name, let value else { continue }
      let bytes = UnsafeRawBufferPointer(start: value, count: size)
      if strcmp(name, "event_id") == 0 {
        record.eventID = batch.keep(bytes)
      } else if strcmp(name, "traceparent") == 0 {
        record.traceparent = batch.keep(bytes)
      }
    }
  }
}
