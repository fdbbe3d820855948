import CRdKafka
import Core
import Dispatch
import Logging
import Synchronization

/// What a consumer group has committed, asked without being a member of it.
///
/// librdkafka is called on one queue of its own, one question after the other.
package final class KafkaGroupProgress: GroupProgress {
  private static let patienceMilliseconds: Int32 = 10_000

  private let configuration: KafkaConfiguration
  private let listener: KafkaListener
  private let questions = DispatchQueue(label: "kafka-group-progress")
  /// Made for the first question.
  private let connection = Mutex<OpaquePointer?>(nil)

  package init(
    _ configuration: KafkaConfiguration, logger: Logger = Logger(label: "martlet.kafka")
  ) {
    self.configuration = configuration
    listener = KafkaListener(logger: logger)
  }

  deinit {
    guard let made = connection.withLock({ $0 }) else { return }
    nonisolated(unsafe) let client = made
    let listener = listener
    questions.async {
      rd_kafka_destroy(client)
      listener.silence()
    }
  }

  private func client() throws -> OpaquePointer {
    try connection.withLock { connection in
      if let connection { return connection }
      var configuration = configuration
      // Not the member of that name.
      configuration.instanceID = nil
      let settings = try KafkaSettings(try configuration.consumerProperties())
      listener.listen(settings)
      let client = try settings.client(RD_KAFKA_CONSUMER)
      connection = client
      return client
    }
  }

  package func committed(
    _ partitions: [StreamPartition]
  ) async throws -> [StreamPartition: GroupPosition] {
    try await withCheckedThrowingContinuation { continuation in
      questions.async { [self] in continuation.resume(with: Result { try ask(partitions) }) }
    }
  }

  private func ask(_ partitions: [StreamPartition]) throws -> [StreamPartition: GroupPosition] {
    let client = try client()
    // Serves the callbacks of errors and logs.
    rd_kafka_poll(client, 0)
    let list = KafkaPartitions(partitions)
    let status = list.with { rd_kafka_committed(client, $0, Self.patienceMilliseconds) }
    guard status == RD_KAFKA_RESP_ERR_NO_ERROR else {
      throw KafkaFault.error(status, doing: "Asking what the Kafka group has committed")
    }
    listener.recovered()
    return list.positions
  }
}
