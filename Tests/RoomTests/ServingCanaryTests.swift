import Core
import Serving
import TestKit
import Testing
import Workers

@Suite("Canary")
struct ServingCanaryTests {
  private static let versions = [
    ServingSample.version(2, .canary), ServingSample.version(1),
  ]

  private func row(_ customer: Int64) -> RequestRow {
    ["customer_id": .int64(customer), "basket": .double(2)]
  }

  /// Which of the first customers the canary answers.
  private func customers(of room: ServingRoom, _ count: Int64 = 200) async throws -> Set<Int64> {
    var found: Set<Int64> = []
    for customer in 0..<count {
      let answer = try await room.predict(row(customer))
      // The value tells which version worked it out.
      #expect(answer.predictions[0].value == Double(answer.version * 1_000 + 20))
      #expect(answer.predictions[0].version == answer.version)
      #expect(answer.stage == (answer.version == 2 ? .canary : .production))
      #expect(answer.route == answer.stage.rawValue)
      if answer.version == 2 { found.insert(customer) }
    }
    return found
  }

  private func loaded(_ room: ServingRoom, _ body: () async throws -> Void) async throws {
    try await room.follow {
      while room.reload.routes(of: "churn")?.canary?.served == nil
        || room.reload.current["churn"] == nil
      {
        await Task.yield()
      }
      try await body()
    }
  }

  @Test("a canary answers its keys and no others, the same ones after a restart")
  func sticky() async throws {
    var runs: [Set<Int64>] = []
    for _ in 0..<2 {
      let room = ServingRoom(Self.versions, canary: 0.2)
      try await loaded(room) { runs.append(try await customers(of: room)) }
    }
    #expect((20...60).contains(runs[0].count))
    #expect(runs[0] == runs[1])
  }

  @Test("a greater share keeps the keys that the canary had; nothing is loaded again for it")
  func grows() async throws {
    let room = ServingRoom(Self.versions, canary: 0.1)
    try await loaded(room) {
      let few = try await customers(of: room)
      room.publish(Self.versions, number: 2, canary: 0.5)
      while room.reload.routes(of: "churn")?.canary?.share != 0.5 { await Task.yield() }
      let many = try await customers(of: room)
      #expect(few.isSubset(of: many) && many.count > few.count)
    }
  }

  @Test("the rows of one request go each by its own key, and each says by which version")
  func mixed() async throws {
    let room = ServingRoom(Self.versions, canary: 0.5)
    try await loaded(room) {
      let alone = try await customers(of: room, 40)
      let rows = (0..<40).map { row($0) }
      let answer = try await room.predictor.predict(
        PredictRequest(model: "churn", rows: rows, requestID: "many"))
      #expect(answer.isMixed && answer.route == "mixed")
      for (customer, prediction) in answer.predictions.enumerated() {
        #expect(prediction.version == (alone.contains(Int64(customer)) ? 2 : 1))
        #expect(prediction.value == Double(prediction.version * 1_000 + 20))
      }
      let whole = try await room.predictor.predict(
        PredictRequest(model: "churn", rows: rows, wantsOneVersion: true))
      #expect(!whole.isMixed && Set(whole.predictions.map(\.version)).count == 1)
    }
    let log = try await room.logged()
    let ids = (0..<log.count).filter { log["request_id"]?[$0] == .string("many#7") }
    #expect(ids.count == 1)
  }

  @Test("where the canary's engine is down its keys fall back to production, which says so")
  func fallsBack() async throws {
    let room = ServingRoom(Self.versions, canary: 0.5)
    try await loaded(room) {
      let keys = try await customers(of: room, 40)
      room.host.takeDown(2)
      for customer in Int64(0)..<40 {
        let answer = try await room.predict(row(customer))
        #expect(answer.version == 1)
        #expect(answer.route == (keys.contains(customer) ? "fallback" : "production"))
        if keys.contains(customer) {
          #expect(answer.why.contains("version 2 did not answer: worker 3"), "\(answer.why)")
        }
      }
      let log = try await room.logged()
      let fallbacks = (0..<log.count).filter { log["route"]?[$0] == .string("fallback") }
      #expect(fallbacks.count == keys.count)
      for row in fallbacks {
        #expect(log["other_version"]?[row] == .string("2"))
        #expect(log["model_version"]?[row] == .string("1"))
      }
    }
  }

  @Test("a canary that refuses a row has answered: its error is the caller's, and its own fault")
  func refuses() async throws {
    let room = ServingRoom(Self.versions, canary: 0.999999)
    try await loaded(room) {
      await #expect(throws: PlatformError.self) {
        _ = try await room.predict(["customer_id": .int64(7), "basket": .double(13)])
      }
      await #expect(throws: PlatformError.self) {
        _ = try await room.predict(["customer_id": .int64(7)])
      }
    }
    let log = try await room.logged()
    #expect(log["version_fault"]?.values == .bool([true, false]))
    #expect(log["route"]?[0] == .string("canary"))
  }

  @Test("while a canary is loaded its keys fall back; then it answers them")
  func loading() async throws {
    let room = ServingRoom(Self.versions, canary: 0.999999)
    let release = room.host.hold(2)
    try await room.follow { () async throws in
      while room.reload.current["churn"] == nil { await Task.yield() }
      let answer = try await room.predict()
      #expect(answer.version == 1 && answer.route == "fallback")
      #expect(answer.why == "version 2 is still being loaded")
      release()
      while room.reload.routes(of: "churn")?.canary?.served == nil { await Task.yield() }
      #expect(try await room.predict().version == 2)
    }
  }

  @Test("a canary that is promoted is not loaded a second time, and answers at once")
  func promoted() async throws {
    let room = ServingRoom(Self.versions, canary: 0.1)
    try await loaded(room) {
      room.publish([ServingSample.version(2), ServingSample.version(1, .archived)], number: 2)
      await room.host.wait(for: "unloaded 1")
      let answer = try await room.predict()
      #expect(answer.version == 2 && answer.stage == .production)
      #expect(answer.route == "production" && answer.why == "no canary runs")
      #expect(room.host.loads(of: 2) == 1)
    }
  }

  @Test("a canary that is rolled back is let go, and its keys go to production")
  func rolledBack() async throws {
    let room = ServingRoom(Self.versions, canary: 0.999999)
    try await loaded(room) {
      room.publish([ServingSample.version(2, .archived), ServingSample.version(1)], number: 2)
      await room.host.wait(for: "unloaded 2")
      let answer = try await room.predict()
      #expect(answer.version == 1 && answer.route == "production")
      #expect(room.host.holds(ModelKey(model: "churn", version: 1)))
    }
  }

  @Test("a canary that its engines lost is loaded again without anybody asking for it")
  func lost() async throws {
    let room = ServingRoom(Self.versions, canary: 0.999999)
    try await loaded(room) { () async throws in
      room.host.unload(ModelKey(model: "churn", version: 2))
      #expect(try await room.predict().route == "fallback")
      while room.reload.routes(of: "churn")?.canary?.served == nil { await Task.yield() }
      #expect(try await room.predict().version == 2)
    }
  }
}
