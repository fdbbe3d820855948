import Core
import Foundation
import KafkaBackend
import Synchronization
import TestKit
import Testing

/// Orders that come by Kafka without ids of their own: only the stored positions keep one from counting twice.
enum OrderStream {
  static let customers = 7

  static func definitions(push: String = "apply", columns: String = "n: int64") -> String {
    """
    project: orders
    entities:
      customer: {key: [customer_id]}
    sources:
      orders:
        event_time: at
        columns: {customer_id: int64, \(columns), amount: double}
        kafka: {topic: orders, push: \(push)}
    views:
      activity:
        entity: customer
        source: orders
        features:
          last_n: {latest: n}
          orders_7d: {count: "*", window: 7d}
          spend_7d: {sum: amount, window: 7d}

    """
  }

  static func order(_ number: Int) -> String {
    #"{"customer_id": \#(number % customers), "n": \#(number), "amount": 2.5, "at": "2026-02-28T10:00:00Z"}"#
  }

  /// The properties of every consumer in these tests: the mock group forgets members whose session is shorter.
  static let properties = """
    session.timeout.ms=4500
    heartbeat.interval.ms=200
    reconnect.backoff.ms=50
    reconnect.backoff.max.ms=200
    topic.metadata.refresh.interval.ms=500
    coordinator.query.interval.ms=500

    """

  static func environment(
    _ cluster: MockKafkaProcess, redis port: Int? = nil, more: [String: String] = [:]
  ) -> [String: String] {
    var environment = ShopProject.environment.merging([
      "MARTLET_KAFKA_BROKERS": cluster.brokers, "MARTLET_KAFKA_GROUP": "orders",
      "MARTLET_KAFKA_BATCH_INTERVAL": "20ms", "MARTLET_KAFKA_BATCH_RECORDS": "100",
    ]) { $1 }
    if let port {
      environment["MARTLET_ONLINE_BACKEND"] = "redis"
      environment["MARTLET_REDIS_ADDRESSES"] = "127.0.0.1:\(port)"
    }
    return environment.merging(more) { $1 }
  }

  /// A platform with the orders in force.
  static func withPlatform(
    _ cluster: MockKafkaProcess, redis port: Int? = nil, push: String = "apply",
    more: [String: String] = [:], _ body: (PlatformProcess) async throws -> Void
  ) async throws {
    let yaml = definitions(push: push)
    let folder = try TemporaryFolder()
    defer { folder.remove() }
    try folder.write(properties, to: "kafka.properties")
    var environment = environment(cluster, redis: port, more: more)
    environment["MARTLET_KAFKA_PROPERTIES_FILE"] = "\(folder.path)/kafka.properties"
    try await PlatformProcess.with(files: ["martlet.yaml": yaml], environment: environment) {
      platform in
      let answer = try await platform.rest.apply(yaml)
      guard answer.status == 200 else { throw Refused(request: "apply", answer: answer) }
      try await body(platform)
    }
  }

  /// What the stores of some platforms have that share a group: orders in their warehouses together, and of each customer
  /// what online reads say.
  static func faults(
    _ platforms: [PlatformProcess], produced: Int
  ) async throws -> [String] {
    var faults: [String] = []
    var numbers: [Int64] = []
    for platform in platforms {
      numbers += try await platform.rest.numbers()
    }
    if numbers.count != produced { faults.append("\(numbers.count) stored of \(produced)") }
    if Set(numbers) != Set(0..<Int64(produced)) { faults.append("not each number once") }
    for platform in platforms {
      for customer in 0..<customers {
        let expected = (0..<produced).count { $0 % customers == customer }
        let online = try await platform.rest.online(
          ["activity.orders_7d", "activity.spend_7d"], #"{"customer_id": \#(customer)}"#)
        let spend = Double(expected) * 2.5
        if online.first?.int != Int64(expected) || online.last?.number != spend {
          faults.append("customer \(customer) has \(online), not \(expected) and \(spend)")
        }
      }
    }
    return faults
  }
}

extension RESTClient {
  /// Every stored order, in pages that an answer of SQL holds.
  fileprivate func numbers() async throws -> [Int64] {
    var numbers: [Int64] = []
    while true {
      let page = try await rows(
        "SELECT n FROM events_orders ORDER BY sequence LIMIT 10000 OFFSET \(numbers.count)")
      numbers += page.compactMap { $0.first?.int }
      if page.count < 10_000 { return numbers }
    }
  }

  func stored() async throws -> Int64 { try await count("SELECT count(*) FROM events_orders") }
}

/// Produces orders in the order of their numbers.
final class OrderProducer: Sendable {
  private let producer: KafkaEventProducer
  private let next = Mutex(0)

  init(_ cluster: MockKafkaProcess) throws {
    producer = try KafkaEventProducer(
      KafkaConfiguration(
        brokers: cluster.brokers, groupID: "producer",
        properties: ["reconnect.backoff.ms": "50", "reconnect.backoff.max.ms": "200"]))
  }

  /// How many the brokers have acknowledged.
  var produced: Int { next.withLock { $0 } }

  /// One caller at a time.
  ///
  /// - Parameter repeats: whether half of the orders have an id, and some of those before are sent once more, to other partitions.
  func produce(_ count: Int, repeats: Bool = false) async throws {
    let first = produced
    var records = (first..<first + count).map { number in
      record(number, key: "\(number % OrderStream.customers)", hasID: repeats && number % 2 == 0)
    }
    if repeats {
      for number in max(0, first - 400)..<first + count where number % 20 == 0 {
        records.append(record(number, key: "again \(number)", hasID: true))
      }
    }
    _ = try await producer.produce(records)
    next.withLock { $0 += count }
  }

  private func record(_ number: Int, key: String, hasID: Bool) -> ProducedRecord {
    ProducedRecord(
      topic: "orders", key: key, value: Array(OrderStream.order(number).utf8),
      headers: hasID ? [("event_id", "order \(number)")] : [])
  }

  func close() async { await producer.close() }
}
