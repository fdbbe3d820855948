import CRdKafka
import Core
import Dispatch
import Logging

/// Parts of Kafka's logs, read beside the group.
package struct KafkaRanges: StreamRanges {
  private let configuration: KafkaConfiguration
  private let logger: Logger

  package init(
    _ configuration: KafkaConfiguration, logger: Logger = Logger(label: "martlet.kafka")
  ) {
    self.configuration = configuration
    self.logger = logger
  }

  package func read(
    _ partition: StreamPartition, _ range: Range<Int64>,
    _ take: (StreamBatch) async throws -> Void
  ) async throws -> StreamRangeEnd {
    let reader = try KafkaRangeReader(configuration, partition, range, logger)
    while true {
      try Task.checkCancellation()
      let (batch, end) = try await reader.more()
      if !batch.isEmpty { try await take(batch) }
      if let end { return end }
    }
  }
}

/// A consumer of one range, which joins no group.
///
/// librdkafka is called on one queue of its own.
private final class KafkaRangeReader: @unchecked Sendable {
  /// How long the first answer of the brokers is waited for.
  private static let patienceMilliseconds: Int32 = 10_000
  /// How long one look takes at most.
  private static let look = Duration.milliseconds(500)

  private let partition: StreamPartition
  private let range: Range<Int64>
  private let listener: KafkaListener
  private let client: OpaquePointer
  private let calls = DispatchQueue(label: "kafka-range")
  private let clock = ContinuousClock()
  private var gathering: KafkaBatchBuilder
  /// Where the log begins; nil until reading has begun.
  private var start: Int64?
  private var failure: PlatformError?

  init(
    _ configuration: KafkaConfiguration, _ partition: StreamPartition, _ range: Range<Int64>,
    _ logger: Logger
  ) throws {
    self.partition = partition
    self.range = range
    var configuration = configuration
    // Not the member of that name.
    configuration.instanceID = nil
    // The end of a log is said, and a beginning that was deleted leads to what is left.
    let own = ["enable.partition.eof": "true", "auto.offset.reset": "earliest"]
    let properties = try configuration.consumerProperties().filter { own[$0.0] == nil }
    let settings = try KafkaSettings(properties + own.map { ($0.key, $0.value) })
    listener = KafkaListener(logger: logger)
    listener.listen(settings)
    client = try settings.client(RD_KAFKA_CONSUMER)
    gathering = KafkaBatchBuilder(records: configuration.batchRecords, interval: .zero)
    rd_kafka_poll_set_consumer(client)
    listener.onFailure = { [unowned self] in failure = $0 }
  }

  deinit {
    nonisolated(unsafe) let client = client
    let listener = listener
    calls.async {
      // There is no group to leave.
      rd_kafka_destroy_flags(client, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE)
      listener.silence()
    }
  }

  /// Records that come next, none where none came within the time of a look; the end when there are no more.
  func more() async throws -> (StreamBatch, StreamRangeEnd?) {
    try await withCheckedThrowingContinuation { continuation in
      calls.async { continuation.resume(with: Result { try self.poll() }) }
    }
  }

  private func poll() throws -> (StreamBatch, StreamRangeEnd?) {
    let start = try begin()
    guard start < range.upperBound else {
      return (StreamBatch(), StreamRangeEnd(start: start, end: range.upperBound))
    }
    let until = clock.now + Self.look
    var end: Int64?
    while end == nil, !gathering.isFull, clock.now < until {
      guard let message = rd_kafka_consumer_poll(client, gathering.isEmpty ? 100 : 0) else {
        if gathering.isEmpty { continue } else { break }
      }
      defer { rd_kafka_message_destroy(message) }
      end = take(message)
      if let failure { throw failure }
    }
    return (gathering.take(), end.map { StreamRangeEnd(start: start, end: $0) })
  }

  /// Where the log begins.
  private func begin() throws -> Int64 {
    if let start { return start }
    var low: Int64 = 0
    var high: Int64 = 0
    let status = rd_kafka_query_watermark_offsets(
      client, partition.topic, partition.partition, &low, &high, Self.patienceMilliseconds)
    guard status == RD_KAFKA_RESP_ERR_NO_ERROR else {
      throw KafkaFault.error(status, doing: "Asking where \(partition) begins and ends")
    }
    let first = max(low, range.lowerBound)
    gathering.begin(partition, at: first)
    let assigned = KafkaPartitions([(key: partition, value: Optional(first))]).with {
      rd_kafka_assign(client, $0)
    }
    guard assigned == RD_KAFKA_RESP_ERR_NO_ERROR else {
      throw KafkaFault.error(assigned, doing: "Reading \(partition) from offset \(first)")
    }
    start = low
    return low
  }

  /// Keeps a message of the range; where reading ends, nil while it goes on.
  private func take(_ message: UnsafeMutablePointer<rd_kafka_message_t>) -> Int64? {
    let offset = message.pointee.offset
    switch message.pointee.err {
    case RD_KAFKA_RESP_ERR_NO_ERROR:
      if offset >= range.upperBound { return range.upperBound }
      gathering.append(message, of: [partition], clock) { _ in nil }
      return offset + 1 == range.upperBound ? range.upperBound : nil
    case RD_KAFKA_RESP_ERR__PARTITION_EOF:
      return min(offset, range.upperBound)
    case let code:
      let reason = rd_kafka_message_errstr(message).map { String(cString: $0) } ?? ""
      listener.logger.warning(
        "Kafka: \(reason)\(KafkaFault.advice(code))",
        metadata: ["code": "\(KafkaFault.name(code))"])
      return nil
    }
  }
}
