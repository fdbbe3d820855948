import Core
import Foundation
import TestKit
import Testing

extension WholeProgram {
  /// Kafka, Redis and DuckDB together, each of them and the platform lost and back: every produced order counts once in both stores.
  @Suite struct StreamFaultTests {
    /// How often the platform is killed; `MARTLET_KILLS` sets another number.
    private static let kills =
      ProcessInfo.processInfo.environment["MARTLET_KILLS"].flatMap { Int($0) } ?? 50

    private func arrived(
      _ platforms: [PlatformProcess], _ count: Int, _ what: String
    ) async throws {
      try await waitUntil("\(what): \(count) orders were stored", within: .seconds(120)) {
        var stored: Int64 = 0
        for platform in platforms { stored += try await platform.rest.stored() }
        return stored >= count
      }
    }

    @Test("kill -9 of ingest at 50 random points: every produced order counts once in both stores")
    func kills() async throws {
      let seed = UInt64.random(in: .min ... .max)
      var random = SeededGenerator(seed: seed)
      try await RedisServer.with(RedisServer.keepsWrites) { redis in
        try await MockKafkaProcess.with(topics: ["orders": 6]) { cluster in
          let producer = try OrderProducer(cluster)
          try await OrderStream.withPlatform(
            cluster, redis: redis.port, more: ["MARTLET_KAFKA_INSTANCE_ID": "one"]
          ) { platform in
            for round in 1...Self.kills {
              // The moment of death is told by how many of the new orders are stored, from none to all, and then some time.
              let fresh = Int.random(in: 20...400, using: &random)
              let share = Double.random(in: 0...1, using: &random)
              let rest = Duration.microseconds(Int.random(in: 0...30_000, using: &random))
              let before = try await platform.rest.stored()
              try await producer.produce(fresh)
              let goal = min(
                Int64(producer.produced), before + Int64((share * Double(fresh)).rounded()))
              try await waitUntil("round \(round), seed \(seed): \(goal) orders were stored") {
                try await platform.rest.stored() >= goal
              }
              let moment = ContinuousClock.now + rest
              try await waitUntil("a moment passed") { ContinuousClock.now >= moment }
              try await platform.crash()
              try await platform.start()
            }
            try await arrived([platform], producer.produced, "seed \(seed)")
            await producer.close()
            try await waitUntil("the last batch was online, seed \(seed)") {
              try await OrderStream.faults([platform], produced: producer.produced) == []
            }
            #expect(
              try await OrderStream.faults([platform], produced: producer.produced) == [],
              "seed \(seed)")
          }
        }
      }
    }

    @Test(
      "a Redis that is killed in mid-stream and comes back loses nothing and counts nothing twice")
    func redisLost() async throws {
      try await RedisServer.with(RedisServer.keepsWrites) { redis in
        try await MockKafkaProcess.with(topics: ["orders": 4]) { cluster in
          let producer = try OrderProducer(cluster)
          try await OrderStream.withPlatform(cluster, redis: redis.port) { platform in
            for round in 1...5 {
              try await producer.produce(300)
              try await waitUntil("round \(round): some are stored") {
                try await platform.rest.stored() > (round - 1) * 300
              }
              try await redis.crash()
              try await producer.produce(300 * (round % 2))
              try await redis.start()
              try await arrived([platform], producer.produced, "round \(round)")
            }
            await producer.close()
            try await waitUntil("all is online") {
              try await OrderStream.faults([platform], produced: producer.produced) == []
            }
          }
        }
      }
    }

    @Test(
      "a broker that is lost in mid-stream and comes back loses nothing and counts nothing twice")
    func brokerLost() async throws {
      try await RedisServer.with(RedisServer.keepsWrites) { redis in
        try await MockKafkaProcess.with(brokers: 3, topics: ["orders": 9]) { cluster in
          try cluster.tell("coordinator orders 1")
          for partition in 0..<9 {
            try cluster.tell("leader orders \(partition) \(partition % 3 + 1)")
          }
          let producer = try OrderProducer(cluster)
          try await OrderStream.withPlatform(cluster, redis: redis.port) { platform in
            try await producer.produce(500)
            try await arrived([platform], 500, "before")
            try cluster.tell("down 3")
            async let more: Void = producer.produce(500)
            try await arrived([platform], 501, "from the living brokers")
            try cluster.tell("up 3")
            try await more
            // And the group's own broker.
            try cluster.tell("down 1")
            try cluster.tell("up 1")
            try await producer.produce(500)
            try await arrived([platform], producer.produced, "all brokers")
            await producer.close()
            try await waitUntil("all is online") {
              try await OrderStream.faults([platform], produced: producer.produced) == []
            }
          }
        }
      }
    }

    @Test(
      "a warehouse that is restored from a backup reads again what it lacks, and counts it once")
    func restored() async throws {
      try await RedisServer.with(RedisServer.keepsWrites) { redis in
        try await MockKafkaProcess.with(topics: ["orders": 4]) { cluster in
          let producer = try OrderProducer(cluster)
          try await OrderStream.withPlatform(cluster, redis: redis.port) { platform in
            try await producer.produce(1_000)
            try await arrived([platform], 400, "in mid-stream")
            let made = try await platform.martlet("backup", "one", "--json")
            #expect(made.status == 0, "\(made)")
            try await producer.produce(1_000)
            try await arrived([platform], 2_000, "after the backup")
            let early = try await platform.martlet("restore", "\(platform.data)/backups/one")
            #expect(early.status != 0 && early.errors.contains("stop it first"), "\(early)")
            #expect(try await platform.stop() == 0)
            let plain = try await platform.martlet("restore", "\(platform.data)/backups/one")
            #expect(plain.status != 0 && plain.errors.contains("--replace"), "\(plain)")
            let back = try await platform.martlet(
              "restore", "\(platform.data)/backups/one", "--replace")
            #expect(back.status == 0, "\(back)")
            try await platform.start()
            try await producer.produce(200)
            try await arrived([platform], 2_200, "after the restore")
            await producer.close()
            try await waitUntil("all is online") {
              try await OrderStream.faults([platform], produced: 2_200) == []
            }
          }
        }
      }
    }
  }
}
