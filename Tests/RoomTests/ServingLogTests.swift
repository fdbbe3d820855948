import Core
import Logging
import ServiceLifecycle
import Serving
import Synchronization
import TestKit
import Testing
import Workers

@Suite("Prediction log")
struct ServingLogTests {
  @Test("a full buffer sheds the oldest and says how many")
  func sheds() {
    var buffer = PredictionBuffer<Int>(capacity: 5)
    #expect(buffer.append([1, 2, 3]) == 0)
    #expect(buffer.append([4, 5, 6, 7]) == 2)
    #expect(buffer.take(10) == [3, 4, 5, 6, 7])
  }

  @Test("what could not be written returns to the front, the newest of it where room is short")
  func putsBack() {
    var buffer = PredictionBuffer<Int>(capacity: 5)
    _ = buffer.append([1, 2, 3])
    let taken = buffer.take(3)
    #expect(buffer.count == 3)
    _ = buffer.append([4, 5, 6])
    #expect(buffer.putBack(taken) == 1)
    #expect(buffer.count == 5)
    #expect(buffer.take(9) == [2, 3, 4, 5, 6])
    buffer.finish(5)
    #expect(buffer.count == 0)
  }

  @Test("the buffer agrees with a plain array over random operations")
  func agrees() {
    var random = SystemRandomNumberGenerator()
    for _ in 0..<50 {
      let capacity = Int.random(in: 1...200, using: &random)
      var buffer = PredictionBuffer<Int>(capacity: capacity)
      var plain: [Int] = []
      var next = 0
      for _ in 0..<100 {
        if Bool.random(using: &random) {
          let added = Array(next..<(next + Int.random(in: 0...90, using: &random)))
          next += added.count
          plain += added
          let surplus = max(0, plain.count - capacity)
          plain.removeFirst(surplus)
          #expect(buffer.append(added) == surplus)
        } else {
          let taken = buffer.take(Int.random(in: 0...90, using: &random))
          #expect(taken == Array(plain.prefix(taken.count)))
          plain.removeFirst(taken.count)
          buffer.finish(taken.count)
        }
      }
    }
  }

  @Test("a failed write keeps the rows and a later one stores them once")
  func retries() async throws {
    let broken = Atomic(true)
    let stored = MemoryWarehouse()
    let warehouse = FaultyWarehouse(stored) {
      if broken.load(ordering: .relaxed) { throw PlatformError(.storage, "the disk is full") }
    }
    let log = PredictionLog(warehouse: warehouse)
    log.record([Self.record("a"), Self.record("b")])
    await #expect(throws: PlatformError.self) { try await log.flush() }
    #expect(log.waiting == 2)
    broken.store(false, ordering: .relaxed)
    try await log.flush()
    #expect(log.waiting == 0)
    #expect(stored.contents.rows.map(\.batch.count) == [2])
  }

  @Test("a clean stop writes what waits")
  func stops() async throws {
    let warehouse = MemoryWarehouse()
    let log = PredictionLog(warehouse: warehouse, room: .init(flushInterval: .hours(1)))
    let services = ServiceGroup(
      configuration: .init(services: [log], logger: Logger(label: "test")))
    try await withThrowingTaskGroup(of: Void.self) { group in
      group.addTask { try await services.run() }
      log.record([Self.record("a")])
      await services.triggerGracefulShutdown()
      try await group.waitForAll()
    }
    #expect(warehouse.contents.rows.map(\.batch.count) == [1])
  }

  private static func record(_ id: String) -> PredictionRecord {
    PredictionRecord(
      requestID: id, model: ServingSample.model(), entities: [],
      version: ServedModel(ServingSample.version(1), metrics: ModelMetrics(model: "churn")),
      route: .noCanary, row: [:], vector: nil, value: 1, error: nil,
      time: Timestamp(microseconds: 0), latency: PredictLatency())
  }
}
