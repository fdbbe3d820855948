import Core
import Features
import Logging
import Synchronization

/// Looks at the brokers again and again, from outside the group, so that status and metrics tell how Kafka is also while
/// nothing is read.
final class KafkaWatch: Sendable {
  private struct Seen {
    var topics: [TopicProgress] = []
    /// Nil until the first look has ended, and where it went well.
    var fault: String?
    var at: Timestamp?
    /// Since when the group has given nothing.
    var joiningSince: ContinuousClock.Instant?
    var hasWarned = false
  }

  private static let interval = Duration.seconds(5)
  private static let patience = Span.seconds(5)
  /// How long a group takes to give partitions, where all is well.
  private static let joining = Duration.seconds(15)

  private let cluster: any TopicWatching
  private let stream: StreamIngest
  private let brokers: String
  private let group: String
  private let log: Logger
  private let seen = Mutex(Seen())

  init(
    cluster: any TopicWatching, stream: StreamIngest, brokers: String, group: String, log: Logger
  ) {
    self.cluster = cluster
    self.stream = stream
    self.brokers = brokers
    self.group = group
    self.log = log
  }

  /// Looks until the task is cancelled; at once where the definitions name other topics.
  func run() async {
    while !Task.isCancelled {
      let topics = stream.topics
      await look(at: topics)
      noteStanding()
      await withTaskGroup(of: Void.self) { group in
        group.addTask { try? await Task.sleep(for: Self.interval) }
        group.addTask { await self.stream.otherTopics(than: topics) }
        await group.next()
        group.cancelAll()
      }
    }
  }

  private func look(at topics: [String]) async {
    let result: Result<[TopicProgress], any Error>
    do {
      result = .success(try await cluster.look(at: topics, within: Self.patience))
    } catch {
      result = .failure(error)
    }
    seen.withLock { seen in
      seen.at = SystemClock().now
      switch result {
      case .success(let topics):
        seen.topics = topics
        seen.fault = nil
      case .failure(let error): seen.fault = "\(error)"
      }
    }
  }

  /// A group that gives nothing is silent; somebody should say so.
  private func noteStanding() {
    let standing = stream.standing
    let isLong = seen.withLock { seen in
      guard standing == .joining, seen.fault == nil else {
        seen.joiningSince = nil
        seen.hasWarned = false
        return false
      }
      let since = seen.joiningSince ?? .now
      seen.joiningSince = since
      guard !seen.hasWarned, ContinuousClock.now - since >= Self.joining else { return false }
      seen.hasWarned = true
      return true
    }
    guard isLong else { return }
    log.warning(
      """
      the Kafka group has given this process no partition yet. Others may have them all; and a member that was killed keeps \
      its own until its session ends (session.timeout.ms, 45 s unless set), or takes them up again at once where \
      kafka.instance_id is set
      """, metadata: ["group": "\(group)"])
  }

  /// What `martlet status` tells.
  var json: JSON {
    let (seen, standing) = (seen.withLock { $0 }, stream.standing)
    return .object([
      "brokers": .string(brokers), "group": .string(group),
      "reachable": seen.at == nil ? .null : .bool(seen.fault == nil),
      "state": .string(standing.text), "assigned_partitions": .int(Int64(standing.partitions)),
      "topics": .array(
        seen.topics.map { topic in
          .object([
            "topic": .string(topic.topic), "partitions": .int(Int64(topic.partitions)),
            "lag": topic.lag.map { .int($0) } ?? .null,
            "error": topic.fault.map { .string($0) } ?? .null,
          ])
        }),
      "error": seen.fault.map { .string($0) } ?? .null,
      "last_failure": stream.lastFailure.map { .string($0) } ?? .null,
      "looked_at": seen.at.map { .string($0.description) } ?? .null,
    ])
  }

  func record(in metrics: PrometheusMetrics) {
    let seen = seen.withLock { $0 }
    // Others may read by now what was read here.
    metrics.clearGauges("martlet_kafka_lag_records")
    for lag in stream.lag {
      metrics.setGauge(
        "martlet_kafka_lag_records",
        [("topic", lag.partition.topic), ("partition", "\(lag.partition.partition)")],
        to: Double(lag.records))
    }
    metrics.clearGauges("martlet_kafka_group_lag_records")
    for topic in seen.topics {
      guard let lag = topic.lag else { continue }
      metrics.setGauge(
        "martlet_kafka_group_lag_records", [("topic", topic.topic)], to: Double(lag))
    }
    metrics.setGauge("martlet_kafka_partitions", [], to: Double(stream.standing.partitions))
    if seen.at != nil {
      metrics.setGauge("martlet_kafka_brokers_away", [], to: seen.fault == nil ? 0 : 1)
    }
  }
}

extension StreamIngest.Standing {
  fileprivate var partitions: Int {
    if case .reading(let partitions) = self { partitions } else { 0 }
  }

  fileprivate var text: String {
    switch self {
    case .idle: "idle: no source names a topic"
    case .joining: "joining the group: no partition is assigned yet"
    case .reading: "reading"
    case .failing: "failed: reading begins anew after a pause"
    }
  }
}
