import Foundation
import TestKit
import Testing
import Wire

extension WholeProgram {
  /// Pushes of a source with `kafka: {push: produce}`.
  @Suite struct ProducedPushTests {
    private static let path = "/api/v1/sources/orders/events"

    private func lines(_ numbers: Range<Int>) -> String {
      "[" + numbers.map(OrderStream.order).joined(separator: ",") + "]"
    }

    @Test("a push that waits to be applied is read by the next online read, and is in the topic")
    func applied() async throws {
      try await MockKafkaProcess.with(topics: ["orders": 4]) { cluster in
        try await OrderStream.withPlatform(cluster, push: "produce") { platform in
          for round in 1...5 {
            let first = (round - 1) * 7
            let answer = try await platform.rest.post(
              Self.path + "?wait=applied", lines(first..<first + 7))
            #expect(answer.status == 200, "\(answer)")
            #expect(answer["produced"]?.int == 7 && answer["accepted"]?.int == 7, "\(answer)")
            let online = try await platform.rest.online(
              ["activity.orders_7d"], #"{"customer_id": 3}"#)
            #expect(online == [.int(Int64(round))])
          }
          let positions = try await platform.rest.rows(
            "SELECT CAST(sum(next_offset) AS BIGINT) FROM stream_offsets")
          #expect(positions == [[.int(35)]])
          let grpc = try await platform.withGRPC { connection in
            try await connection.push(
              "orders", OrderStream.order(35) + "\n" + OrderStream.order(36))
          }
          #expect(grpc.produced == 2)
          #expect(try await platform.rest.stored() == 37)
          let command = try await platform.martlet(
            "push", "orders", "--wait", "applied", input: OrderStream.order(37) + "\n")
          #expect(command.status == 0, "\(command)")
          #expect(try await platform.rest.stored() == 38)
        }
      }
    }

    @Test(
      "a retry of numbered records counts once, and bad records are quarantined where the topic is read"
    )
    func retries() async throws {
      try await MockKafkaProcess.with(topics: ["orders": 4]) { cluster in
        try await OrderStream.withPlatform(cluster, push: "produce") { platform in
          let query = "?client=till-7&sequence=1"
          for _ in 1...3 {
            let answer = try await platform.rest.post(Self.path + query, lines(0..<10))
            #expect(answer.status == 200 && answer["produced"]?.int == 10, "\(answer)")
          }
          #expect(try await platform.rest.stored() == 10)
          #expect(
            try await platform.rest.count(
              "SELECT count(*) FROM events_orders WHERE event_id LIKE 'push:till-7:%'") == 10)
          let bad = try await platform.rest.post(
            Self.path, #"[{"customer_id": "seven", "at": "2026-02-28T10:00:00Z"}, 3]"#)
          #expect(bad["quarantined"]?.int == 2 && bad["reasons"]?.array?.count == 2, "\(bad)")
          let kept = try await platform.rest.rows(
            "SELECT record, position FROM quarantine ORDER BY record")
          #expect(kept.count == 2)
          #expect(kept.first?.first == .string("3"))
          #expect(
            kept.allSatisfy { $0.last?.string?.hasPrefix("kafka orders/") ?? false }, "\(kept)")
        }
      }
    }

    @Test(
      "a push answers after the brokers where that is enough, and says so where nobody applies it in time"
    )
    func produced() async throws {
      try await MockKafkaProcess.with(topics: ["orders": 2]) { cluster in
        let slow = ["MARTLET_KAFKA_BATCH_INTERVAL": "1h", "MARTLET_KAFKA_BATCH_RECORDS": "1000"]
        try await OrderStream.withPlatform(cluster, push: "produce", more: slow) { platform in
          let produced = try await platform.rest.post(Self.path + "?wait=produced", lines(0..<3))
          #expect(produced.status == 200 && produced["produced"]?.int == 3, "\(produced)")
          #expect(try await platform.rest.stored() == 0)
          let late = try await platform.rest.post(
            Self.path + "?wait=applied&timeout_ms=200", lines(3..<5))
          #expect(late.status == 504 && late.code == "deadline_exceeded", "\(late)")
          #expect(late.error.contains("they count when the topic is read"), "\(late)")
          for (query, text) in [
            ("?wait=soon", "applied or produced, not 'soon'"),
            ("?timeout_ms=-1", "'timeout_ms' must be"),
          ] {
            let refused = try await platform.rest.post(Self.path + query, lines(0..<1))
            #expect(refused.status == 400 && refused.error.contains(text), "\(refused)")
          }
        }
      }
    }

    @Test(
      "while no broker answers, a push ends in time, says what may come of it, and its repeat counts once"
    )
    func brokersAway() async throws {
      try await MockKafkaProcess.with(topics: ["orders": 2]) { cluster in
        let more = ["MARTLET_KAFKA_WAIT_TIMEOUT": "300ms"]
        try await OrderStream.withPlatform(cluster, push: "produce", more: more) { platform in
          let first = try await platform.rest.post(
            Self.path + "?client=till&sequence=1&timeout_ms=30000", lines(0..<2))
          #expect(first.status == 200, "\(first)")
          try cluster.tell("down 1")
          for query in [
            "?client=till&sequence=3", "?client=till&sequence=3&wait=produced&timeout_ms=200",
          ] {
            let late = try await platform.rest.post(Self.path + query, lines(2..<5))
            #expect(late.status == 504 && late.code == "deadline_exceeded", "\(late)")
            #expect(late.error.contains("may still be written"), "\(late)")
            #expect(late.error.contains("unless they have event ids"), "\(late)")
          }
          await #expect(throws: (any Error).self) {
            try await platform.withGRPC { try await $0.push("orders", OrderStream.order(5)) }
          }
          try cluster.tell("up 1")
          let again = try await platform.rest.post(
            Self.path + "?client=till&sequence=3&timeout_ms=60000", lines(2..<5))
          #expect(again.status == 200, "\(again)")
          #expect(
            try await platform.rest.count(
              "SELECT count(*) FROM events_orders WHERE event_id LIKE 'push:till:%'") == 5)
        }
      }
    }

    @Test("what cannot be produced is refused with what to do")
    func refused() async throws {
      let yaml = OrderStream.definitions(push: "produce")
      try await PlatformProcess.with(
        files: ["martlet.yaml": yaml], environment: ShopProject.environment
      ) { platform in
        _ = try await platform.rest.apply(yaml)
        let noBrokers = try await platform.rest.push("orders", OrderStream.order(0))
        #expect(noBrokers.code == "failed_precondition", "\(noBrokers)")
        #expect(noBrokers.error.contains("set kafka.brokers"), "\(noBrokers)")
        _ = try await platform.rest.apply(OrderStream.definitions())
        let direct = try await platform.rest.post(
          Self.path + "?wait=produced", OrderStream.order(0))
        #expect(direct.status == 400 && direct.error.contains("push: produce"), "\(direct)")
      }
    }
  }
}
