import Core
import Foundation
import TestKit
import Testing

extension WholeProgram {
  /// Two processes in one group, a warehouse each and one Redis: every produced order is in one of the warehouses, and counts once online.
  @Suite struct SharedGroupTests {
    /// How often a process is killed; `MARTLET_KILLS` sets another number.
    private static let kills =
      ProcessInfo.processInfo.environment["MARTLET_KILLS"].flatMap { Int($0) } ?? 6

    private struct Bench {
      let cluster: MockKafkaProcess
      let producer: OrderProducer
      let one: PlatformProcess
      let other: PlatformProcess
      let redis: RedisServer

      /// Waits until all that was produced is stored and online, each order once; says what is wrong where that never comes.
      func settle(_ what: String) async throws {
        do {
          try await waitUntil(what) {
            try await OrderStream.faults([one, other], produced: producer.produced) == []
          }
        } catch {
          let faults = try await OrderStream.faults([one, other], produced: producer.produced)
          throw Disappointment(
            "\(error): \(faults)\n\(one.log.suffix(3_000))\n\(other.log.suffix(3_000))")
        }
      }

      func stored() async throws -> Int {
        Int(try await one.rest.stored()) + Int(try await other.rest.stored())
      }

      /// The partitions that a process says to read.
      func partitions(of platform: PlatformProcess) async throws -> Int {
        try await platform.rest.get("/metrics").text.split(separator: "\n")
          .count { $0.hasPrefix("martlet_kafka_lag_records{") }
      }
    }

    private func with(push: String = "apply", _ body: (Bench) async throws -> Void) async throws {
      try await RedisServer.with(RedisServer.keepsWrites) { redis in
        try await MockKafkaProcess.with(topics: ["orders": 6]) { cluster in
          let producer = try OrderProducer(cluster)
          try await OrderStream.withPlatform(cluster, redis: redis.port, push: push) { one in
            try await OrderStream.withPlatform(cluster, redis: redis.port, push: push) { other in
              try await body(
                Bench(cluster: cluster, producer: producer, one: one, other: other, redis: redis))
            }
          }
          await producer.close()
        }
      }
    }

    @Test(
      "kill -9 of one of two processes at random points while partitions move: each order is stored once and counts once, also one that is sent again"
    )
    func kills() async throws {
      let seed = UInt64.random(in: .min ... .max)
      var random = SeededGenerator(seed: seed)
      try await with { bench in
        try await bench.producer.produce(500, repeats: true)
        for round in 1...Self.kills {
          let victim = Bool.random(using: &random) ? bench.one : bench.other
          let fresh = Int.random(in: 100...600, using: &random)
          // What a dead process has claimed is stored when it is back, so that the other's share is enough to go on by.
          let goal = try await bench.stored() + Int.random(in: 0...fresh / 4, using: &random)
          async let more: Void = bench.producer.produce(fresh, repeats: true)
          try await waitUntil("round \(round), seed \(seed): \(goal) orders were stored") {
            try await bench.stored() >= goal
          }
          // Its return moves partitions, and the next kill comes into that.
          try await victim.crash()
          if Bool.random(using: &random) {
            // Long enough for its session to end: the other has all partitions when it is back.
            let survivor = victim === bench.one ? bench.other : bench.one
            try await waitUntil("round \(round), seed \(seed): the other has all partitions") {
              try await bench.partitions(of: survivor) == 6
            }
          }
          try await more
          try await victim.start()
        }
        try await bench.settle("every order was stored once and online, seed \(seed)")
      }
    }

    @Test(
      "a process that is stopped until others have its partitions, and goes on then, stores nothing twice"
    )
    func zombie() async throws {
      try await with { bench in
        try await bench.producer.produce(600)
        try await bench.settle("the first orders were stored")
        for round in 1...2 {
          async let more: Void = bench.producer.produce(900)
          let goal = bench.producer.produced + 100
          try await waitUntil("round \(round): some are stored") {
            try await bench.stored() >= goal
          }
          bench.one.send(SIGSTOP)
          try await more
          try await waitUntil("round \(round): the other has all partitions") {
            try await bench.partitions(of: bench.other) == 6
          }
          async let late: Void = bench.producer.produce(300)
          bench.one.send(SIGCONT)
          try await late
          try await bench.settle("round \(round): every order was stored once and online")
        }
      }
    }

    @Test(
      "offsets that the group refuses while partitions move are no reason to store anything twice")
    func refused() async throws {
      try await with { bench in
        // OffsetCommit answers REBALANCE_IN_PROGRESS, for as long as this test lasts.
        try bench.cluster.tell("errors 8 27 100000")
        try await bench.producer.produce(1_000)
        try await waitUntil("both read") {
          let one = try await bench.one.rest.stored()
          let other = try await bench.other.rest.stored()
          return one > 0 && other > 0
        }
        async let more: Void = bench.producer.produce(1_000)
        #expect(try await bench.other.stop() == 0)
        try await more
        try await waitUntil("the one has all partitions, of which the group knows nothing") {
          try await bench.partitions(of: bench.one) == 6
        }
        #expect(bench.one.log.contains("offsets were not committed"))
        async let evenMore: Void = bench.producer.produce(1_000)
        try await bench.other.start()
        try await evenMore
        try await bench.settle("every order was stored once and online")
      }
    }

    @Test(
      "a push through the topic that waits to be applied is read at once, whichever process stores it"
    )
    func produced() async throws {
      try await with(push: "produce") { bench in
        try await bench.producer.produce(100)
        try await waitUntil("each has half of the partitions") {
          let one = try await bench.partitions(of: bench.one)
          let other = try await bench.partitions(of: bench.other)
          return one == 3 && other == 3
        }
        try await bench.settle("the first orders were stored")
        for round in 1...5 {
          let first = 100 + (round - 1) * 7
          let orders = (first..<first + 7).map(OrderStream.order).joined(separator: ",")
          let answer = try await bench.one.rest.post(
            "/api/v1/sources/orders/events?wait=applied", "[\(orders)]")
          #expect(answer.status == 200 && answer["produced"]?.int == 7, "\(answer)")
          #expect(try await bench.stored() >= 100 + round * 7)
          #expect(
            try await OrderStream.faults([bench.one, bench.other], produced: 100 + round * 7) == [])
        }
      }
    }

    @Test("a push that is sent again, to whoever has its partition by then, counts once")
    func sentAgain() async throws {
      try await with(push: "produce") { bench in
        let orders = (0..<7).map(OrderStream.order).joined(separator: ",")
        let path = "/api/v1/sources/orders/events?wait=applied&client=c1&sequence=100"
        try await waitUntil("each has half of the partitions") {
          let one = try await bench.partitions(of: bench.one)
          let other = try await bench.partitions(of: bench.other)
          return one == 3 && other == 3
        }
        for _ in 1...2 {
          let answer = try await bench.one.rest.post(path, "[\(orders)]")
          #expect(answer.status == 200 && answer["produced"]?.int == 7, "\(answer)")
        }
        let mine = try await bench.one.rest.stored()
        #expect(mine > 0, "one of the two has none of seven customers' partitions")
        #expect(try await bench.one.stop() == 0)
        try await waitUntil("the other has all partitions") {
          try await bench.partitions(of: bench.other) == 6
        }
        let answer = try await bench.other.rest.post(path, "[\(orders)]")
        #expect(answer.status == 200 && answer["produced"]?.int == 7, "\(answer)")
        #expect(try await bench.other.rest.stored() == 7 - mine)
        let metrics = try await bench.other.rest.get("/metrics").text
        #expect(metrics.contains("martlet_ingest_duplicates_total{source=\"orders\"}"))
        try await bench.one.start()
        #expect(
          try await OrderStream.faults([bench.one, bench.other], produced: 7) == [])
      }
    }
  }
}
