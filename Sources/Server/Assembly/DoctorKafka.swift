import Catalog
import Core
import Foundation
import KafkaBackend
import Logging

extension Doctor {
  private static let patience = Span.seconds(5)

  /// The brokers and every topic of the definitions in force; nothing where no brokers are set and no source names a topic.
  static func kafka(_ configuration: Configuration) async -> [Finding] {
    let topics = topics(configuration)
    do {
      guard let kafka = try configuration.kafka.stream() else {
        return topics.isEmpty ? [] : [withoutBrokers(topics)]
      }
      let cluster = KafkaGroupProgress(
        kafka, logger: Logger(label: "martlet.doctor") { _ in SwiftLogNoOpLogHandler() })
      let found = try await cluster.look(at: topics, within: patience)
      return [
        Finding(
          name: "kafka", verdict: .good,
          what: "\(kafka.brokers) answers; the group is \(kafka.groupID)", advice: "")
      ] + found.map(finding)
    } catch let error as PlatformError where error.code != .unavailable {
      return [
        Finding(
          name: "kafka", verdict: .bad, what: error.message,
          advice: "mend the settings under `kafka` and the file kafka.properties_file")
      ]
    } catch {
      return [
        Finding(
          name: "kafka", verdict: .bad,
          what: "no broker of \(configuration.kafka.brokers ?? "") answers: \(error)",
          advice:
            "start the brokers, or mend kafka.brokers and the security.*, sasl.* and ssl.* lines of kafka.properties_file"
        )
      ]
    }
  }

  private static func finding(_ topic: TopicProgress) -> Finding {
    if let fault = topic.fault {
      return Finding(
        name: "kafka topic \(topic.topic)", verdict: .bad, what: fault,
        advice: "create the topic, give the rights, or mend `kafka: {topic: …}` of its source")
    }
    let lag = topic.lag.map { "\($0) records behind its end" } ?? "its lag is not known"
    return Finding(
      name: "kafka topic \(topic.topic)", verdict: .good,
      what: "\(topic.partitions) partitions, the group is \(lag)", advice: "")
  }

  private static func withoutBrokers(_ topics: [String]) -> Finding {
    Finding(
      name: "kafka", verdict: .note,
      what: "no brokers are set, so \(topics.joined(separator: ", ")) is not read",
      advice: "set kafka.brokers; files and pushes work without")
  }

  /// Of the definitions in force; empty where none are.
  private static func topics(_ configuration: Configuration) -> [String] {
    let path = configuration.data.directory + "/catalog.sqlite"
    guard FileManager.default.fileExists(atPath: path),
      let catalog = try? CatalogStore(path: path, clock: SystemClock())
    else { return [] }
    defer { try? catalog.close() }
    return catalog.changes.current.project.sources.compactMap { $0.kafka?.topic }.sorted()
  }
}
