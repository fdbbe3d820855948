import CRdKafka
import Core

/// How to reach a Kafka cluster, as what group, and how records are batched.
package struct KafkaConfiguration: Sendable, Equatable {
  /// `host:port`, some of the cluster's brokers separated by commas.
  package var brokers: String
  /// The consumer group: one per project.
  package var groupID: String
  /// The static member's name, unique in the group and the same after a restart, so that a restart is no
  /// rebalance; nil joins as a new member each time.
  package var instanceID: String?
  /// Records of one batch.
  package var batchRecords: Int
  /// How long the first record of a batch waits for others.
  package var batchInterval: Span
  /// Committed with each offset, for whoever reads the partition next: which warehouse has its events.
  package var note = ""
  /// Any other property of librdkafka, by its name: `security.protocol`, `sasl.mechanism`, `sasl.password`,
  /// `ssl.ca.location`, `session.timeout.ms`, `partition.assignment.strategy`, …
  package var properties: [String: String]

  package init(
    brokers: String, groupID: String, instanceID: String? = nil, batchRecords: Int = 5_000,
    batchInterval: Span = .seconds(2), properties: [String: String] = [:]
  ) {
    self.brokers = brokers
    self.groupID = groupID
    self.instanceID = instanceID
    self.batchRecords = batchRecords
    self.batchInterval = batchInterval
    self.properties = properties
  }
}

extension KafkaConfiguration: CustomStringConvertible, CustomDebugStringConvertible,
  CustomReflectable
{
  /// Without the values of `properties`, which hold secrets.
  package var description: String {
    let names = properties.keys.sorted().joined(separator: ", ")
    return "Kafka at \(brokers), group \(groupID), member \(instanceID ?? "dynamic"), "
      + "batches of \(batchRecords) or \(batchInterval), properties [\(names)]"
  }
  package var debugDescription: String { description }
  package var customMirror: Mirror { Mirror(self, children: ["": description]) }
}

extension KafkaConfiguration {
  /// What delivery rests on, with the reason that an error gives.
  private static let consumerOwn = [
    "bootstrap.servers": "set the brokers instead", "group.id": "set the group instead",
    "group.instance.id": "set the instance id instead",
    "enable.auto.commit": "offsets are committed when both stores have the events",
    "enable.auto.offset.store": "offsets are committed when both stores have the events",
    "enable.partition.eof": "the platform reads without end",
  ]
  private static let producerOwn = [
    "bootstrap.servers": "set the brokers instead",
    "enable.idempotence": "a record is written once",
  ]
  /// Properties of one side that the other would refuse or warn of.
  private static let consumerOnly = [
    "auto.offset.reset", "session.timeout.ms", "heartbeat.interval.ms", "max.poll.interval.ms",
    "partition.assignment.strategy", "isolation.level", "check.crcs", "queued.min.messages",
    "queued.max.messages.kbytes", "group.protocol.type", "allow.auto.create.topics",
  ]
  private static let producerOnly = [
    "acks", "request.required.acks", "request.timeout.ms", "message.timeout.ms",
    "delivery.timeout.ms", "linger.ms", "queue.buffering.max.ms", "queue.buffering.max.messages",
    "queue.buffering.max.kbytes", "batch.size", "batch.num.messages", "compression.codec",
    "compression.type", "compression.level", "partitioner", "retries",
    "message.send.max.retries", "retry.backoff.ms", "transactional.id",
    "sticky.partitioning.linger.ms",
  ]

  func consumerProperties() throws(PlatformError) -> [(String, String)] {
    guard batchRecords > 0, batchInterval.microseconds >= 0 else {
      throw PlatformError(
        .invalidArgument,
        "kafka: a batch holds at least one record and its interval is not negative; set batchRecords and batchInterval so"
      )
    }
    guard !groupID.isEmpty else {
      throw PlatformError(.invalidArgument, "kafka: the group has no name; set the group id")
    }
    try refuse(Self.consumerOwn)
    var all = [
      // Nothing of a log is passed over unless it is asked for.
      "auto.offset.reset": "earliest",
      // What is prefetched beyond the batches at hand.
      "queued.max.messages.kbytes": "32768",
    ]
    // The broker answers as soon as it has anything, so that a short batch time is kept.
    all["fetch.wait.max.ms"] = String(
      max(5, min(500, batchInterval.microseconds / 4_000)))
    all.merge(properties.filter { !Self.isOnly(Self.producerOnly, $0.key) }) { $1 }
    all["bootstrap.servers"] = brokers
    all["group.id"] = groupID
    all["group.instance.id"] = instanceID
    all["enable.auto.commit"] = "false"
    all["enable.auto.offset.store"] = "false"
    return all.sorted { $0.key < $1.key }.map { ($0.key, $0.value) }
  }

  func producerProperties() throws(PlatformError) -> [(String, String)] {
    try refuse(Self.producerOwn)
    var all = [
      // As the Java client, so that producers of both kinds put a key into the same partition.
      "partitioner": "murmur2_random",
      "linger.ms": "5",
    ]
    all.merge(properties.filter { !Self.isOnly(Self.consumerOnly, $0.key) }) { $1 }
    for name in Self.consumerOwn.keys where name != "bootstrap.servers" { all[name] = nil }
    all["bootstrap.servers"] = brokers
    all["enable.idempotence"] = "true"
    return all.sorted { $0.key < $1.key }.map { ($0.key, $0.value) }
  }

  private static func isOnly(_ names: [String], _ name: String) -> Bool { names.contains(name) }

  private func refuse(_ own: [String: String]) throws(PlatformError) {
    guard !brokers.isEmpty else {
      throw PlatformError(
        .invalidArgument, "kafka: no brokers are given; set them as host:port, host:port")
    }
    for (name, why) in own.sorted(by: { $0.key < $1.key }) where properties[name] != nil {
      throw PlatformError(
        .invalidArgument, "kafka: the property '\(name)' is the platform's own: \(why)")
    }
  }
}

/// librdkafka's configuration object until a client takes it.
struct KafkaSettings: ~Copyable {
  private let settings: OpaquePointer

  /// Throws `.invalidArgument` for a property that librdkafka does not know or take, never with its value.
  init(_ properties: [(String, String)]) throws(PlatformError) {
    self.init(made: rd_kafka_conf_new())
    for (name, value) in properties {
      let status = rd_kafka_conf_set(settings, name, value, nil, 0)
      guard status != RD_KAFKA_CONF_OK else { continue }
      throw PlatformError(
        .invalidArgument,
        status == RD_KAFKA_CONF_UNKNOWN
          ? "kafka: librdkafka \(String(cString: rd_kafka_version_str())) knows no property '\(name)'; "
            + "correct its name"
          : "kafka: the property '\(name)' cannot have the value that is set; see librdkafka's CONFIGURATION.md"
      )
    }
  }

  private init(made settings: OpaquePointer) { self.settings = settings }

  deinit { rd_kafka_conf_destroy(settings) }

  borrowing func with(_ body: (OpaquePointer) -> Void) { body(settings) }

  /// Gives the object to a new client.
  consuming func client(_ kind: rd_kafka_type_t) throws(PlatformError) -> OpaquePointer {
    let settings = settings
    discard self
    var reason = [CChar](repeating: 0, count: 512)
    guard let client = rd_kafka_new(kind, settings, &reason, reason.count) else {
      rd_kafka_conf_destroy(settings)
      throw PlatformError(
        .invalidArgument,
        "kafka: a client cannot be made of the configuration: \(KafkaFault.text(of: reason))")
    }
    return client
  }
}
