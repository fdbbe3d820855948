import Core
import Foundation
import KafkaBackend
import TestKit
import Testing

@Suite("Kafka streams and producers", .serialized)
struct KafkaEventStreamTests {
  @Test func `what is produced is delivered, in the order of each partition`() async throws {
    try await MockKafkaProcess.with(brokers: 3, topics: ["clicks": 6]) { cluster in
      let places = try await withProducer(cluster) { producer in
        try await producer.produce((0..<2_000).map { numbered($0) })
      }
      #expect(places.count == 2_000)
      #expect(Set(places).count == 2_000)
      try await KafkaReader.with(kafka(cluster)) { reader in
        try await waitUntil("all was delivered") { reader.values.count >= 2_000 }
        #expect(Set(reader.values).count == 2_000)
        #expect(reader.assigned == Set(partitions("clicks", 0..<6)))
        for offsets in reader.offsets.values {
          #expect(offsets == Array(0..<Int64(offsets.count)))
        }
        #expect(reader.failure == nil)
      }
    }
  }

  @Test func `key, headers, value and time come with a record`() async throws {
    try await MockKafkaProcess.with(topics: ["clicks": 1]) { cluster in
      _ = try await withProducer(cluster) { producer in
        try await producer.produce([
          ProducedRecord(
            topic: "clicks", key: "user|1", value: Array("{}".utf8),
            headers: [("traceparent", "00-ab"), ("other", "x"), ("event_id", "e1")]),
          ProducedRecord(topic: "clicks", key: nil, value: []),
        ])
      }
      let stream = try KafkaEventStream(kafka(cluster), topics: ["clicks"])
      let partitions = try await stream.assignment()
      try await stream.begin([partitions[0]: nil])
      let batch = try await stream.batch()
      try #require(batch.records.count == 2)
      await stream.close()
      let first = try #require(batch.records.first)
      #expect(first.key.map { batch.text($0) } == "user|1")
      #expect(first.value.map { batch.text($0) } == "{}")
      #expect(first.eventID.map { batch.text($0) } == "e1")
      #expect(first.traceparent.map { batch.text($0) } == "00-ab")
      #expect((first.timestamp?.microseconds ?? 0) > 1_700_000_000_000_000)
      #expect(batch.records[1].key == nil)
      #expect(batch.records[1].eventID == nil)
    }
  }

  @Test func `a batch is full, or as old as its interval`() async throws {
    try await MockKafkaProcess.with(topics: ["clicks": 1]) { cluster in
      _ = try await withProducer(cluster) { try await $0.produce((0..<250).map { numbered($0) }) }
      let configuration = kafka(cluster, records: 100, interval: .seconds(1))
      try await KafkaReader.with(configuration) { reader in
        try await waitUntil("all was delivered") { reader.values.count == 250 }
        #expect(reader.batches == [100, 100, 50])
      }
    }
  }

  @Test func `a new member goes on where the group has committed`() async throws {
    try await MockKafkaProcess.with(topics: ["clicks": 2]) { cluster in
      _ = try await withProducer(cluster) { try await $0.produce((0..<500).map { numbered($0) }) }
      try await KafkaReader.with(kafka(cluster)) { reader in
        try await waitUntil("all was delivered") { reader.values.count == 500 }
      }
      _ = try await withProducer(cluster) { try await $0.produce((500..<520).map { numbered($0) }) }
      try await KafkaReader.with(kafka(cluster)) { reader in
        try await waitUntil("the new ones were delivered") { reader.values.count >= 20 }
        #expect(Set(reader.values) == Set((500..<520).map { "\($0)" }))
      }
    }
  }

  @Test func `positions that the caller gives win over what the group has committed`()
    async throws
  {
    try await MockKafkaProcess.with(topics: ["clicks": 1]) { cluster in
      let zero = StreamPartition(topic: "clicks", partition: 0)
      _ = try await withProducer(cluster) { try await $0.produce((0..<100).map { numbered($0) }) }
      try await KafkaReader.with(kafka(cluster)) { reader in
        try await waitUntil("all was delivered") { reader.values.count == 100 }
      }
      try await KafkaReader.with(kafka(cluster), positions: [zero: 90]) { reader in
        try await waitUntil("the end was delivered again") { reader.values.count == 10 }
        #expect(reader.offsets[zero] == Array(90..<100))
      }
    }
  }

  @Test func `going back drops what was read before and delivers it again`() async throws {
    try await MockKafkaProcess.with(topics: ["clicks": 1]) { cluster in
      let zero = StreamPartition(topic: "clicks", partition: 0)
      _ = try await withProducer(cluster) { try await $0.produce((0..<300).map { numbered($0) }) }
      let stream = try KafkaEventStream(kafka(cluster, records: 50), topics: ["clicks"])
      _ = try await stream.assignment()
      try await stream.begin([zero: nil])
      let first = try await stream.batch()
      #expect(first.records.first?.offset == 0)
      try await stream.begin([zero: 120])
      let again = try await stream.batch()
      #expect(again.records.first?.offset == 120)
      await stream.close()
    }
  }

  @Test func `batches that nobody takes hold the broker back, and held partitions are not read`()
    async throws
  {
    try await MockKafkaProcess.with(topics: ["clicks": 2]) { cluster in
      let (zero, one) = (
        StreamPartition(topic: "clicks", partition: 0),
        StreamPartition(topic: "clicks", partition: 1)
      )
      let stream = try KafkaEventStream(kafka(cluster, records: 10), topics: ["clicks"])
      _ = try await stream.assignment()
      stream.hold([one])
      try await stream.begin([zero: nil, one: nil])
      _ = try await withProducer(cluster) {
        try await $0.produce((0..<1_000).map { numbered($0) })
      }
      // Nobody takes anything; the reader is at most the batches that wait and the one being gathered ahead.
      try await waitUntil("the reader stands still") {
        let lag = stream.lag.first { $0.partition == zero }?.records ?? 0
        return lag > 0
      }
      var seen: [Int64] = []
      let total = try #require(stream.lag.first { $0.partition == zero }).records + 30
      while Int64(seen.count) < total, case .batch(let batch)? = try await stream.next() {
        #expect(batch.partitions == [zero])
        seen += batch.records.map(\.offset)
      }
      #expect(seen == Array(0..<Int64(seen.count)))
      stream.hold([])
      let other = try await stream.batch()
      #expect(other.partitions.contains(one))
      await stream.close()
    }
  }

  @Test func `a partition that gets no records tells its lag all the same`() async throws {
    try await MockKafkaProcess.with(topics: ["clicks": 1]) { cluster in
      let zero = StreamPartition(topic: "clicks", partition: 0)
      _ = try await withProducer(cluster) { try await $0.produce((0..<10).map { numbered($0) }) }
      try await KafkaReader.with(kafka(cluster), positions: [zero: 10]) { reader in
        try await waitUntil("the lag is told") { !reader.stream.lag.isEmpty }
        #expect(reader.stream.lag == [StreamLag(partition: zero, records: 0)])
        #expect(reader.values.isEmpty)
      }
    }
  }

  @Test func `whoever waits for a stream that ends is answered`() async throws {
    try await MockKafkaProcess.with(topics: ["clicks": 1]) { cluster in
      let zero = StreamPartition(topic: "clicks", partition: 0)
      let stream = try KafkaEventStream(kafka(cluster), topics: ["clicks"])
      _ = try await stream.assignment()
      try await stream.begin([zero: nil])
      // A commit that no broker answers keeps the stream ending for a while.
      try cluster.tell("down 1")
      stream.commit([StreamOffset(partition: zero, next: 1)])
      async let closed: Void = stream.close()
      while try await stream.next() != nil {}
      var answers = 0
      while answers < 20 {
        do { try await stream.begin([zero: 0]) } catch { answers += 1 }
        do { try await stream.release([zero]) } catch { answers += 1 }
      }
      await closed
    }
  }

  @Test func `a second member takes half of the partitions and nothing is read twice or missed`()
    async throws
  {
    for strategy in ["range", "cooperative-sticky"] {
      try await MockKafkaProcess.with(brokers: 2, topics: ["clicks": 8]) { cluster in
        let properties = ["partition.assignment.strategy": strategy]
        @Sendable func member(_ name: String) -> KafkaConfiguration {
          kafka(cluster, instance: name, properties: properties)
        }
        _ = try await withProducer(cluster) {
          try await $0.produce((0..<400).map { numbered($0) })
        }
        try await KafkaReader.with(member("a")) { first in
          try await waitUntil("the first has all partitions and records") {
            first.assigned.count == 8 && first.values.count == 400
          }
          try await KafkaReader.with(member("b")) { second in
            try await waitUntil("each has half") {
              first.assigned.count == 4 && second.assigned.count == 4
            }
            #expect(first.assigned.isDisjoint(with: second.assigned))
            _ = try await withProducer(cluster) {
              try await $0.produce((400..<800).map { numbered($0) })
            }
            try await waitUntil("all was delivered") {
              first.values.count + second.values.count >= 800
            }
            let all = first.values + second.values
            #expect(all.count == 800)
            #expect(Set(all).count == 800)
            #expect(!second.values.isEmpty)
          }
        }
      }
    }
  }

  @Test func `a broker that goes away and comes back loses nothing`() async throws {
    try await MockKafkaProcess.with(brokers: 3, topics: ["clicks": 6]) { cluster in
      try spread(cluster, partitions: 6, brokers: 3)
      try await KafkaReader.with(kafka(cluster)) { reader in
        try await withProducer(cluster) { producer in
          _ = try await producer.produce((0..<300).map { numbered($0) })
          try await waitUntil("the first were delivered") { reader.values.count == 300 }
          try cluster.tell("down 2")
          async let late = producer.produce((300..<600).map { numbered($0) })
          try await waitUntil("the living brokers' records came") { reader.values.count > 300 }
          try cluster.tell("up 2")
          #expect(try await late.count == 300)
        }
        try await waitUntil("all was delivered") { reader.values.count >= 600 }
        #expect(Set(reader.values).count == 600)
        #expect(reader.values.count == 600)
      }
    }
  }

  @Test func `a producer waits where its buffer is full and an idempotent one writes once`()
    async throws
  {
    try await MockKafkaProcess.with(topics: ["clicks": 1]) { cluster in
      let produced = try await withProducer(cluster, capacity: 10) { producer in
        // Produce requests fail and are sent again: NOT_ENOUGH_REPLICAS.
        try cluster.tell("errors 0 19 3")
        return try await producer.produce((0..<200).map { numbered($0) })
      }
      #expect(produced.map(\.next) == Array(1...200))
      try await KafkaReader.with(kafka(cluster)) { reader in
        try await waitUntil("all was delivered") { reader.values.count >= 200 }
        #expect(reader.values == (0..<200).map { "\($0)" })
      }
    }
  }

  @Test func `a record that no broker takes fails with what to do`() async throws {
    try await MockKafkaProcess.with(topics: ["clicks": 1]) { cluster in
      try await withProducer(
        cluster, properties: ["message.timeout.ms": "2000", "message.max.bytes": "2000"]
      ) { producer in
        let large = ProducedRecord(
          topic: "clicks", key: nil, value: [UInt8](repeating: 32, count: 5_000))
        let error = await #expect(throws: PlatformError.self) {
          _ = try await producer.produce([large])
        }
        #expect(error?.code == .invalidArgument)
        #expect(error?.message.contains("clicks") == true)
        try cluster.tell("down 1")
        let away = await #expect(throws: PlatformError.self) {
          _ = try await producer.produce([numbered(1)])
        }
        #expect(away?.code == .unavailable)
        #expect(away?.retryable == true)
      }
    }
  }

  @Test func `a wrong property is named and a secret is not`() throws {
    var configuration = KafkaConfiguration(
      brokers: "127.0.0.1:1", groupID: "g",
      properties: ["sasl.password": "hunter2", "security.protocl": "ssl"])
    #expect(!"\(configuration)".contains("hunter2"))
    #expect(!String(reflecting: configuration).contains("hunter2"))
    var dumped = ""
    dump(configuration, to: &dumped)
    #expect(!dumped.contains("hunter2"))
    let unknown = #expect(throws: PlatformError.self) {
      _ = try KafkaEventStream(configuration, topics: ["t"])
    }
    #expect(unknown?.message.contains("'security.protocl'") == true)
    configuration.properties = ["security.protocol": "hunter2"]
    let wrong = #expect(throws: PlatformError.self) {
      _ = try KafkaEventStream(configuration, topics: ["t"])
    }
    #expect(wrong?.code == .invalidArgument)
    #expect(wrong?.message.contains("'security.protocol'") == true)
    #expect(wrong?.message.contains("hunter2") == false)
    configuration.properties = ["enable.auto.commit": "true"]
    let own = #expect(throws: PlatformError.self) {
      _ = try KafkaEventStream(configuration, topics: ["t"])
    }
    #expect(own?.message.contains("committed when both stores have the events") == true)
  }

  @Test func `a full producer refuses who does not wait, and lets go of who no longer does`()
    async throws
  {
    try await MockKafkaProcess.with(topics: ["clicks": 1]) { cluster in
      try cluster.tell("down 1")
      try await withProducer(cluster, capacity: 2) { producer in
        let record = ProducedRecord(topic: "clicks", key: "k", value: [1])
        /// The outcome of a call whose caller is gone before it begins.
        func leave(_ waits: Bool) async -> (any Error)? {
          await withTaskGroup(of: (any Error)?.self) { group in
            group.cancelAll()
            group.addTask {
              do { _ = try await producer.produce([record], waits: waits) } catch { return error }
              return nil
            }
            return await group.next() ?? nil
          }
        }
        #expect(await leave(true) is CancellationError)
        #expect(await leave(true) is CancellationError)
        let refused = await #expect(throws: PlatformError.self) {
          _ = try await producer.produce([record], waits: false)
        }
        #expect(refused?.code == .overloaded && refused?.retryAfter != nil)
        #expect(await leave(true) is CancellationError)
        try cluster.tell("up 1")
        // The two that were left are delivered, the others never began.
        let places = try await producer.produce([record, record], waits: true)
        #expect(places.map(\.next) == [3, 4])
      }
    }
  }

  @Test func `more callers than a producer may have are refused`() async throws {
    try await MockKafkaProcess.with(topics: ["clicks": 1]) { cluster in
      try cluster.tell("down 1")
      let producer = try KafkaEventProducer(
        kafka(cluster, properties: [:]), capacity: 100, calls: 1)
      let record = ProducedRecord(topic: "clicks", key: "k", value: [1])
      async let first = producer.produce([record], waits: true)
      try await waitUntil("a second caller was refused") {
        await withTaskGroup(of: Bool.self) { group in
          group.cancelAll()
          group.addTask {
            do { _ = try await producer.produce([record], waits: false) } catch {
              return (error as? PlatformError)?.code == .overloaded
            }
            return false
          }
          return await group.next() ?? false
        }
      }
      try cluster.tell("up 1")
      #expect(try await first.count == 1)
      await producer.close()
    }
  }

  @Test func `sasl and tls options reach the client`() async throws {
    // The mock speaks neither: what can be shown is that librdkafka takes them and makes such a client.
    let configuration = KafkaConfiguration(
      brokers: "127.0.0.1:1", groupID: "g",
      properties: [
        "security.protocol": "sasl_ssl", "sasl.mechanism": "SCRAM-SHA-512",
        "sasl.username": "martlet", "sasl.password": "hunter2",
        "ssl.endpoint.identification.algorithm": "https",
      ])
    let stream = try KafkaEventStream(configuration, topics: ["t"])
    await stream.close()
    if let event = try await stream.next() { Issue.record("after the end came \(event)") }
    let producer = try KafkaEventProducer(configuration)
    await producer.close()
  }
}
