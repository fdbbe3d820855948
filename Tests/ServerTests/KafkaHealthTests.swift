import Core
import Foundation
import TestKit
import Testing

extension WholeProgram {
  /// What the commands and metrics tell of Kafka, whatever state it is in.
  @Suite struct KafkaHealthTests {
    private static func checks(
      _ platform: PlatformProcess, status: Int32
    ) async throws -> [String: (verdict: String, what: String)] {
      let result = try await platform.martlet("doctor", "--json")
      #expect(result.status == status, "\(result)")
      let all = try JSON(parsing: Array(result.output.utf8))["checks"]?.array ?? []
      let found = all.filter { $0["name"]?.string?.hasPrefix("kafka") ?? false }
      return Dictionary(
        uniqueKeysWithValues: found.map {
          ($0["name"]?.string ?? "", ($0["verdict"]?.string ?? "", $0["what"]?.string ?? ""))
        })
    }

    private static func kafka(_ platform: PlatformProcess) async throws -> JSON {
      let result = try await platform.martlet("status", "--json")
      #expect(result.status == 0, "\(result)")
      return try JSON(parsing: Array(result.output.utf8))["kafka"] ?? .null
    }

    @Test(
      "doctor and status tell brokers, topics and lag beside a running platform, and brokers that are away"
    )
    func health() async throws {
      try await MockKafkaProcess.with(topics: ["orders": 4]) { cluster in
        try await OrderStream.withPlatform(cluster) { platform in
          let producer = try OrderProducer(cluster)
          try await producer.produce(30)
          await producer.close()
          try await waitUntil("everything was stored") { try await platform.rest.stored() == 30 }
          let told = "4 partitions, the group is 0 records behind its end"
          try await waitUntil("doctor tells that the group has committed everything") {
            try await Self.checks(platform, status: 0)["kafka topic orders"]?.what == told
          }
          let status = try await Self.kafka(platform)
          #expect(status["state"]?.string == "reading", "\(status)")
          #expect(status["assigned_partitions"]?.int == 4 && status["group"]?.string == "orders")
          #expect(status["reachable"]?.bool == true && status["error"] == .null, "\(status)")
          #expect(try await Self.checks(platform, status: 0)["kafka"]?.verdict == "good")

          try cluster.tell("down 1")
          let bad = try await Self.checks(platform, status: 1)
          #expect(bad["kafka"]?.verdict == "bad", "\(bad)")
          #expect(bad["kafka"]?.what.contains(cluster.brokers) ?? false, "\(bad)")
          try await waitUntil("status tells that no broker answers") {
            try await Self.kafka(platform)["reachable"]?.bool == false
          }
          let away = try await Self.kafka(platform)
          #expect(away["error"]?.string?.isEmpty == false, "\(away)")
          let metrics = try await platform.rest.get("/metrics").text
          #expect(metrics.contains("martlet_kafka_brokers_away 1"), "\(metrics)")
          try cluster.tell("up 1")
          try await waitUntil("status tells that they are back") {
            try await Self.kafka(platform)["reachable"]?.bool == true
          }
        }
      }
    }

    @Test("a topic that is not there fails doctor, and stands in status")
    func noTopic() async throws {
      try await MockKafkaProcess.with(topics: ["orders": 1]) { cluster in
        try await OrderStream.withPlatform(cluster) { platform in
          // Unknown topic or partition.
          try cluster.tell("fail orders 3")
          let found = try await Self.checks(platform, status: 1)
          #expect(found["kafka"]?.verdict == "good", "\(found)")
          #expect(found["kafka topic orders"]?.verdict == "bad", "\(found)")
          #expect(found["kafka topic orders"]?.what.contains("create the topic") ?? false)
          try await waitUntil("status tells it too") {
            let topic = try await Self.kafka(platform)["topics"]?.array?.first
            return topic?["error"]?.string?.contains("create the topic") ?? false
          }
          try cluster.tell("fail orders 0")
          try await waitUntil("status tells that the topic is there") {
            let topic = try await Self.kafka(platform)["topics"]?.array?.first
            return topic?["error"] == .null && topic?["partitions"]?.int == 1
          }
        }
      }
    }

    @Test("who waits for the group says so, and lag is told meanwhile")
    func joining() async throws {
      try await MockKafkaProcess.with(topics: ["orders": 2]) { cluster in
        // The first member keeps all partitions of the group until its session ends.
        let slow = ["MARTLET_KAFKA_INSTANCE_ID": "dead"]
        try await OrderStream.withPlatform(cluster, more: slow) { first in
          try await waitUntil("the first member reads") {
            try await Self.kafka(first)["assigned_partitions"]?.int == 2
          }
          try await first.crash()
          let producer = try OrderProducer(cluster)
          try await producer.produce(30)
          await producer.close()
          try await OrderStream.withPlatform(cluster) { second in
            try await waitUntil("lag is known while nothing is read") {
              let metrics = try await second.rest.get("/metrics").text
              return metrics.contains(#"martlet_kafka_group_lag_records{topic="orders"} 30"#)
                && metrics.contains("martlet_kafka_partitions 0")
            }
            #expect(second.log.contains("joining the Kafka group"))
            try await waitUntil("the group gave the partitions") {
              try await second.rest.stored() == 30
            }
          }
        }
      }
    }
  }
}
