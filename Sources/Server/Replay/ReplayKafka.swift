import Core
import Features
import KafkaBackend

/// Produces a replay's records to the brokers of the configuration.
package final class ReplayKafka: Sendable {
  private let producer: KafkaEventProducer
  private let topic: String
  private let source: SourceDefinition
  private let project: ProjectDefinition
  private let client: String

  /// - Parameters:
  ///   - topic: nil for the source's own.
  ///   - client: whose numbers make the ids of records without one of their own.
  package init(
    _ configuration: Configuration, source: SourceDefinition, topic: String?,
    project: ProjectDefinition, client: String
  ) throws {
    guard let kafka = try configuration.kafka.stream() else {
      throw PlatformError(
        .failedPrecondition,
        "there are no brokers to replay to; set kafka.brokers (MARTLET_KAFKA_BROKERS), or replay with --to push"
      )
    }
    guard let topic = topic ?? source.kafka?.topic else {
      throw PlatformError(
        .invalidArgument,
        "source '\(source.name)' names no topic; say --topic, write `kafka: {topic: …}` into its definition, or replay "
          + "with --to push")
    }
    self.topic = topic
    self.source = source
    self.project = project
    self.client = client
    producer = try KafkaEventProducer(kafka)
  }

  /// Returns when the brokers have the records.
  package func send(_ records: [ReplayData.Record]) async throws {
    var all: [ProducedRecord] = []
    all.reserveCapacity(records.count)
    for record in records {
      var one = ProducedRecords(
        source, topic: topic, in: project, client: client, first: record.number)
      record.json.withUnsafeBufferPointer { one.append(record: $0) }
      all += one.records
    }
    _ = try await producer.produce(all)
  }

  package func close() async { await producer.close() }
}
