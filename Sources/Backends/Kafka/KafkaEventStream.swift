import CRdKafka
import Core
import Foundation
import Logging

/// A member of a Kafka consumer group.
///
/// librdkafka is called on one thread of the stream's own, which ends after `close`. A stream that is let go
/// without `close` leaves the group at the next poll.
package final class KafkaEventStream: EventStream {
  private let mailbox = KafkaMailbox()

  /// Joins the group; returns before any broker was reached.
  ///
  /// Throws `.invalidArgument` for a configuration that librdkafka does not take.
  package init(
    _ configuration: KafkaConfiguration, topics: [String],
    logger: Logger = Logger(label: "martlet.kafka")
  ) throws {
    let loop = try KafkaPollLoop(configuration, topics: topics, mailbox: mailbox, logger: logger)
    let thread = Thread { loop.run() }
    thread.name = "kafka-poll"
    thread.start()
  }

  deinit { mailbox.close(nil) }

  package func next() async throws -> StreamEvent? { try await mailbox.next() }

  package func begin(_ positions: [StreamPartition: Int64?]) async throws {
    try await withCheckedThrowingContinuation { mailbox.send(.begin(positions, $0)) }
  }

  package func release(_ partitions: [StreamPartition]) async throws {
    try await withCheckedThrowingContinuation { mailbox.send(.release(partitions, $0)) }
  }

  package func commit(_ offsets: [StreamOffset]) { mailbox.commit(offsets) }

  package func hold(_ partitions: Set<StreamPartition>) { mailbox.hold(partitions) }

  package var lag: [StreamLag] { mailbox.lag }

  package func close() async {
    await withCheckedContinuation { mailbox.close($0) }
  }
}
