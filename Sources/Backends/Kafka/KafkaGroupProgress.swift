import CRdKafka
import Core
import Dispatch
import Logging
import Synchronization

/// What a consumer group has committed, asked without being a member of it.
///
/// librdkafka is called on one queue of its own, one question after the other.
package final class KafkaGroupProgress: GroupProgress, TopicWatching {
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
    try await answer { try self.ask(partitions) }
  }

  /// Asks on the queue; who is cancelled goes at once, and the question ends by itself.
  private func answer<Answer: Sendable>(
    _ question: @escaping @Sendable () throws -> Answer
  ) async throws -> Answer {
    let asker = KafkaAsker<Answer>()
    return try await withTaskCancellationHandler {
      try await withCheckedThrowingContinuation { continuation in
        asker.wait(continuation)
        questions.async { if asker.waits { asker.tell(Result { try question() }) } }
      }
    } onCancel: {
      asker.tell(.failure(CancellationError()))
    }
  }

  package func look(at topics: [String], within patience: Span) async throws -> [TopicProgress] {
    try await answer { try self.look(at: topics, patience) }
  }

  private func look(at topics: [String], _ patience: Span) throws -> [TopicProgress] {
    let client = try client()
    // Serves the callbacks of errors and logs.
    rd_kafka_poll(client, 0)
    do {
      let found = try KafkaTopics(client, within: patience).progress(in: topics)
      listener.recovered()
      return found
    } catch let error as PlatformError {
      rd_kafka_poll(client, 0)
      guard error.code == .unavailable, let trouble = listener.trouble else { throw error }
      throw PlatformError(.unavailable, "\(error.message): \(trouble)")
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

/// Who waits for one answer, or does no longer.
private final class KafkaAsker<Answer: Sendable>: Sendable {
  private struct State {
    var continuation: CheckedContinuation<Answer, any Error>?
    var outcome: Result<Answer, any Error>?
  }

  private let state = Mutex(State())

  var waits: Bool { state.withLock { $0.outcome == nil } }

  func wait(_ continuation: CheckedContinuation<Answer, any Error>) {
    let outcome = state.withLock { state in
      if state.outcome == nil { state.continuation = continuation }
      return state.outcome
    }
    if let outcome { continuation.resume(with: outcome) }
  }

  /// The first outcome counts.
  func tell(_ outcome: Result<Answer, any Error>) {
    let continuation = state.withLock { state in
      guard state.outcome == nil else { return nil as CheckedContinuation<Answer, any Error>? }
      state.outcome = outcome
      return state.continuation.take()
    }
    continuation?.resume(with: outcome)
  }
}
