import Core
import Foundation
import KafkaBackend
import TestKit
import Testing

extension WholeProgram {
  /// The same platform on Redis and with Kafka: real processes, killed and started again.
  @Suite struct DistributedTests {
    private static func counts(_ platform: PlatformProcess) async throws -> [String] {
      try await (1...5).asyncMap { customer in
        let got = try await platform.martlet(
          "features", "get", "activity.events_7d,activity.last_amount", "customer_id=\(customer)")
        return got.output
      }
    }

    @Test("online state on Redis survives a kill, and no event counts twice")
    func redis() async throws {
      try await RedisServer.with { redis in
        let port = redis.port
        let environment = [
          "MARTLET_ONLINE_BACKEND": "redis", "MARTLET_REDIS_ADDRESSES": "127.0.0.1:\(port)",
        ]
        try await ShopProject.with(environment: environment) { platform in
          for id in 0..<200 {
            let event = ShopProject.event(
              "e\(id)", customer: id % 5 + 1, amount: Double(id), at: "2026-02-28T10:00:00Z")
            _ = try await platform.rest.push("events", event)
          }
          let before = try await Self.counts(platform)
          #expect(before[0].contains("40"), "\(before)")
          try await platform.crash()
          try await platform.start()
          try await platform.rest.moveClock("2026-03-01T00:00:00Z")
          #expect(try await Self.counts(platform) == before)
          let more = ShopProject.event("more", customer: 1, amount: 7, at: "2026-02-28T11:00:00Z")
          _ = try await platform.rest.push("events", more)
          #expect(try await Self.counts(platform)[0].contains("41"))
          let healthy = try await platform.martlet("doctor")
          #expect(healthy.output.contains("ok    redis: 127.0.0.1:\(port) answers"), "\(healthy)")
          let lost = try await platform.martlet(
            "doctor", environment: ["MARTLET_REDIS_ADDRESSES": "127.0.0.1:1"])
          #expect(lost.status == 1 && lost.output.contains("BAD   redis: 127.0.0.1:1"), "\(lost)")
        }
      }
    }

    @Test("records of a topic are read once, also across a kill")
    func kafka() async throws {
      try await MockKafkaProcess.with(topics: ["shop": 3]) { cluster in
        let properties = try TemporaryFolder()
        defer { properties.remove() }
        try properties.write(
          "session.timeout.ms=4500\nheartbeat.interval.ms=200\n", to: "kafka.properties")
        let definitions = ShopProject.definitions.replacing(
          "    event_id: event_id\n    columns: {customer_id: int64, kind",
          with:
            "    event_id: event_id\n    kafka: {topic: shop}\n    columns: {customer_id: int64, kind"
        )
        try await PlatformProcess.with(
          files: ["martlet.yaml": definitions, "train.py": ShopProject.code],
          environment: ShopProject.environment.merging([
            "MARTLET_KAFKA_BROKERS": cluster.brokers,
            "MARTLET_KAFKA_BATCH_INTERVAL": "20ms",
            "MARTLET_KAFKA_PROPERTIES_FILE": "\(properties.path)/kafka.properties",
          ]) { $1 }
        ) { platform in
          _ = try await platform.rest.apply(definitions)
          let producer = try KafkaEventProducer(
            KafkaConfiguration(brokers: cluster.brokers, groupID: "test"))
          func produce(_ ids: Range<Int>) async throws {
            _ = try await producer.produce(
              ids.map { id in
                let event = ShopProject.event(
                  "e\(id)", customer: id % 5, amount: 1, at: "2026-02-28T10:00:00Z")
                return ProducedRecord(topic: "shop", key: "\(id % 5)", value: Array(event.utf8))
              })
          }
          func arrived(_ count: Int64) async throws {
            try await waitUntil("\(count) events were stored") {
              try await platform.rest.count("SELECT count(*) FROM events_events") >= count
            }
          }
          try await produce(0..<300)
          try await arrived(300)
          try await platform.crash()
          try await produce(300..<400)
          try await platform.start()
          try await arrived(400)
          await producer.close()
          try await waitUntil("the lag is told") {
            try await platform.rest.get("/metrics").text
              .contains(#"martlet_kafka_lag_records{topic="shop",partition="0"} 0"#)
          }
          #expect(
            try await platform.rest.count("SELECT count(DISTINCT event_id) FROM events_events")
              == 400)
          #expect(try await platform.rest.count("SELECT count(*) FROM events_events") == 400)
        }
      }
    }
  }
}

extension Sequence {
  /// `map` with a body that waits, one after another.
  fileprivate func asyncMap<Output>(
    _ body: (Element) async throws -> Output
  ) async rethrows -> [Output] {
    var all: [Output] = []
    for element in self { all.append(try await body(element)) }
    return all
  }
}
