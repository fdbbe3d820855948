import Core
import Features
import Foundation
import KafkaBackend
import Logging

/// The platform's two ends of Kafka.
struct KafkaEnds {
  var stream: StreamIngest
  var pushProducer: PushProducer
  var watch: KafkaWatch
}

extension Configuration.Kafka {
  /// What reads and produces records; nil where no brokers are set.
  ///
  /// - Parameters:
  ///   - store: where other processes of the group find the ledger, too, if it is one that they share.
  ///   - warehouse: which one, for others of the group.
  func ends(
    _ ingestor: Ingestor, _ online: OnlineState, _ store: any OnlineStore, warehouse: String,
    _ log: Logger
  ) throws -> KafkaEnds? {
    guard var configuration = try stream() else { return nil }
    configuration.note = warehouse
    let kafka = configuration
    let progress = KafkaGroupProgress(kafka)
    let stream = StreamIngest(
      ingestor: ingestor, definitions: online.visible, group: progress,
      ledger: store as? any StreamLedger, ranges: KafkaRanges(kafka), warehouse: warehouse,
      log: log
    ) { topics in
      log.info(
        "joining the Kafka group",
        metadata: [
          "group": "\(kafka.groupID)", "topics": "\(topics)", "brokers": "\(kafka.brokers)",
        ])
      return try KafkaEventStream(kafka, topics: topics)
    }
    let pushProducer = PushProducer(stream: stream) { (try KafkaEventProducer(kafka), progress) }
    let watch = KafkaWatch(
      cluster: KafkaGroupProgress(kafka), stream: stream, brokers: kafka.brokers,
      group: kafka.groupID, log: log)
    return KafkaEnds(stream: stream, pushProducer: pushProducer, watch: watch)
  }

  /// How records are read; nil where no brokers are set.
  func stream() throws -> KafkaConfiguration? {
    guard let brokers else { return nil }
    return KafkaConfiguration(
      brokers: brokers, groupID: group, instanceID: instanceID, batchRecords: batchRecords,
      batchInterval: batchInterval, properties: try properties())
  }

  /// The lines of `properties_file`; messages never show a value.
  private func properties() throws -> [String: String] {
    guard let propertiesFile else { return [:] }
    guard let bytes = FileManager.default.contents(atPath: propertiesFile) else {
      throw PlatformError(
        .invalidConfiguration, "kafka.properties_file: there is no readable file \(propertiesFile)")
    }
    var properties: [String: String] = [:]
    let lines = String(decoding: bytes, as: UTF8.self).split(
      separator: "\n", omittingEmptySubsequences: false)
    for (number, line) in lines.enumerated() {
      let line = line.trimmingCharacters(in: .whitespaces)
      if line.isEmpty || line.hasPrefix("#") { continue }
      guard let split = line.firstIndex(of: "="), split != line.startIndex else {
        throw PlatformError(
          .invalidConfiguration,
          "\(propertiesFile), line \(number + 1): write name=value, as in security.protocol=SASL_SSL"
        )
      }
      let name = line[..<split].trimmingCharacters(in: .whitespaces)
      properties[name] = line[line.index(after: split)...].trimmingCharacters(in: .whitespaces)
    }
    return properties
  }
}
