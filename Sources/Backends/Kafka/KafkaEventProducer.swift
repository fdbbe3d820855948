import CRdKafka
import Core
import Foundation
import Logging
import Synchronization

/// An idempotent Kafka producer: `acks=all`, order kept within a partition whatever is sent again.
///
/// At most `Limits.producerRecords` records are on their way. Who would add more waits or is refused, as is who meets
/// librdkafka's own bound on bytes. A record that cannot be delivered within `message.timeout.ms` (five minutes, unless
/// set) fails. Cancelling a caller ends its waiting, but does not take records back.
package final class KafkaEventProducer: EventProducer {
  private let deliveries: KafkaDeliveries
  private let loop: KafkaProducerLoop

  /// - Parameters:
  ///   - capacity: records that may be on their way.
  ///   - calls: callers that may wait before those that do not want to are refused.
  ///
  /// Throws `.invalidArgument` for a configuration that librdkafka does not take.
  package init(
    _ configuration: KafkaConfiguration, capacity: Int = Limits.producerRecords,
    calls: Int = Limits.producerCalls, logger: Logger = Logger(label: "martlet.kafka")
  ) throws {
    deliveries = KafkaDeliveries(capacity: capacity, calls: calls)
    loop = try KafkaProducerLoop(configuration, deliveries, logger)
    let thread = Thread { [loop] in loop.run() }
    thread.name = "kafka-producer"
    thread.start()
  }

  deinit { loop.stop(nil) }

  package var trouble: String? { loop.listener.trouble }

  package func produce(
    _ records: [ProducedRecord], waits: Bool
  ) async throws -> [StreamOffset] {
    guard !records.isEmpty else { return [] }
    try deliveries.begin(waits: waits)
    defer { deliveries.end() }
    let call = KafkaProduceCall(records.count)
    var start = 0
    while start < records.count {
      let end = min(records.count, start + deliveries.capacity)
      try await deliveries.enter(end - start, waits: waits || start > 0)
      try await hand(records[start..<end], to: call, waits: waits)
      start = end
    }
    return try await call.places()
  }

  /// Gives librdkafka records that there is room for.
  private func hand(
    _ records: ArraySlice<ProducedRecord>, to call: KafkaProduceCall, waits: Bool
  ) async throws {
    for (index, record) in zip(records.indices, records) {
      var ticket = deliveries.register(call, index)
      while let status = loop.produce(record, ticket.id) {
        guard status == RD_KAFKA_RESP_ERR__QUEUE_FULL else {
          deliveries.settle(
            ticket.id,
            .failure(KafkaFault.error(status, doing: "Producing to \(record.topic)")))
          break
        }
        do {
          // Full by bytes: there is room again after a delivery.
          if !waits, index == 0 { throw KafkaDeliveries.full }
          try await deliveries.change(since: ticket.seen)
        } catch {
          deliveries.settle(ticket.id, .failure(error))
          deliveries.leave(records.endIndex - index - 1)
          throw error
        }
        ticket.seen = deliveries.seen
      }
    }
  }

  package func close() async { await withCheckedContinuation { loop.stop($0) } }
}

/// The producer's client and the thread that takes its delivery reports.
final class KafkaProducerLoop: @unchecked Sendable {
  private struct State {
    /// Nil once it is closed.
    var client: OpaquePointer?
    var isStopping = false
    var hasEnded = false
    var stoppers: [CheckedContinuation<Void, Never>] = []
  }

  private static let pollMilliseconds: Int32 = 100
  private static let flushMilliseconds: Int32 = 10_000

  private let client: OpaquePointer
  private let state: Mutex<State>
  private let deliveries: KafkaDeliveries
  let listener: KafkaListener

  init(
    _ configuration: KafkaConfiguration, _ deliveries: KafkaDeliveries, _ logger: Logger
  ) throws {
    let listener = KafkaListener(logger: logger)
    let settings = try KafkaSettings(try configuration.producerProperties())
    listener.listen(settings)
    listener.listenToDeliveries(settings)
    client = try settings.client(RD_KAFKA_PRODUCER)
    self.listener = listener
    self.deliveries = deliveries
    nonisolated(unsafe) let client = client
    state = Mutex(State(client: client))
    listener.onDelivery = { [deliveries] message in
      listener.recovered()
      Self.report(message, to: deliveries)
    }
    listener.onFailure = { error in
      logger.error("\(error)")
      deliveries.abandon(error)
    }
  }

  private static func report(
    _ message: UnsafePointer<rd_kafka_message_t>, to deliveries: KafkaDeliveries
  ) {
    let id = UInt(bitPattern: message.pointee._private)
    let topic = rd_kafka_topic_name(message.pointee.rkt).map { String(cString: $0) } ?? ""
    guard message.pointee.err == RD_KAFKA_RESP_ERR_NO_ERROR else {
      let error = KafkaFault.error(message.pointee.err, doing: "Producing to \(topic)")
      return deliveries.settle(id, .failure(error))
    }
    let partition = StreamPartition(topic: topic, partition: message.pointee.partition)
    deliveries.settle(
      id, .success(StreamOffset(partition: partition, next: message.pointee.offset + 1)))
  }

  /// Nil where the record is on its way now; its delivery is told under `id`.
  func produce(_ record: ProducedRecord, _ id: UInt) -> rd_kafka_resp_err_t? {
    state.withLock { state in
      guard let client = state.client, !state.isStopping else { return RD_KAFKA_RESP_ERR__DESTROY }
      return Self.hand(record, id, to: client)
    }
  }

  private static func hand(
    _ record: ProducedRecord, _ id: UInt, to client: OpaquePointer
  ) -> rd_kafka_resp_err_t? {
    let headers = record.headers.isEmpty ? nil : rd_kafka_headers_new(record.headers.count)
    for header in record.headers {
      rd_kafka_header_add(headers, header.name, -1, header.value, header.value.utf8.count)
    }
    let error: OpaquePointer? = record.topic.withCString { topic in
      record.value.withUnsafeBytes { value in
        var key = record.key ?? ""
        return key.withUTF8 { key in
          var parts = [rd_kafka_vu_t](repeating: rd_kafka_vu_t(), count: 4)
          parts[0].vtype = RD_KAFKA_VTYPE_TOPIC
          parts[0].u.cstr = topic
          parts[1].vtype = RD_KAFKA_VTYPE_VALUE
          parts[1].u.mem.ptr = UnsafeMutableRawPointer(mutating: value.baseAddress)
          parts[1].u.mem.size = value.count
          parts[2].vtype = RD_KAFKA_VTYPE_MSGFLAGS
          parts[2].u.i = RD_KAFKA_MSG_F_COPY
          parts[3].vtype = RD_KAFKA_VTYPE_OPAQUE
          parts[3].u.ptr = UnsafeMutableRawPointer(bitPattern: id)
          if record.key != nil {
            var part = rd_kafka_vu_t()
            part.vtype = RD_KAFKA_VTYPE_KEY
            part.u.mem.ptr = UnsafeMutableRawPointer(mutating: key.baseAddress)
            part.u.mem.size = key.count
            parts.append(part)
          }
          if let headers {
            var part = rd_kafka_vu_t()
            part.vtype = RD_KAFKA_VTYPE_HEADERS
            part.u.headers = headers
            parts.append(part)
          }
          return rd_kafka_produceva(client, parts, parts.count)
        }
      }
    }
    guard let error else { return nil }
    // Headers are librdkafka's only where it took the record.
    if let headers { rd_kafka_headers_destroy(headers) }
    defer { rd_kafka_error_destroy(error) }
    return rd_kafka_error_code(error)
  }

  func run() {
    while !state.withLock({ $0.isStopping }) { rd_kafka_poll(client, Self.pollMilliseconds) }
    rd_kafka_flush(client, Self.flushMilliseconds)
    rd_kafka_purge(client, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT)
    rd_kafka_poll(client, 0)
    state.withLock { $0.client = nil }
    rd_kafka_destroy(client)
    listener.silence()
    deliveries.abandon(
      PlatformError(.unavailable, "The Kafka producer was closed before the record was delivered."))
    let stoppers = state.withLock { state in
      state.hasEnded = true
      defer { state.stoppers = [] }
      return state.stoppers
    }
    for stopper in stoppers { stopper.resume() }
  }

  func stop(_ done: CheckedContinuation<Void, Never>?) {
    let hasEnded = state.withLock { state in
      state.isStopping = true
      if !state.hasEnded, let done { state.stoppers.append(done) }
      return state.hasEnded
    }
    if hasEnded { done?.resume() }
  }
}
