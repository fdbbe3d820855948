import Core
import Serving
import TestKit
import Testing

@Suite("Shadow")
struct ServingShadowTests {
  private static let versions = [
    ServingSample.version(2, .shadow), ServingSample.version(1),
  ]

  private func loaded(_ room: ServingRoom, _ body: () async throws -> Void) async throws {
    try await room.follow {
      while room.reload.routes(of: "churn")?.shadow == nil || room.reload.current["churn"] == nil {
        await Task.yield()
      }
      try await body()
    }
  }

  /// Runs the mirror until so many rows are in the log.
  private func mirrored(_ room: ServingRoom, rows: Int) async throws -> ColumnBatch {
    await withTaskGroup(of: Void.self) { group in
      group.addTask { try? await room.mirror.run() }
      while room.log.waiting < rows { await Task.yield() }
      group.cancelAll()
    }
    return try await room.logged()
  }

  @Test("what production answers goes to the shadow as well, and the difference to the log")
  func differs() async throws {
    let room = ServingRoom(Self.versions)
    try await loaded(room) { () async throws in
      let answer = try await room.predict()
      #expect(answer.version == 1 && answer.route == "production")
      let log = try await mirrored(room, rows: 2)
      #expect(log["route"]?.values == .string(["production", "shadow"]))
      #expect(log["request_id"]?[1] == log["request_id"]?[0])
      #expect(log["model_version"]?[1] == .string("2"))
      #expect(log["stage"]?[1] == .string("shadow"))
      #expect(log["model_result"]?[1] == .double(2_020))
      #expect(log["other_version"]?[1] == .string("1"))
      #expect(log["difference"]?[1] == .double(1_000))
      #expect(log["difference"]?[0] == .null)
      #expect(log["route_why"]?[1] == .string("mirrored from version 1"))
    }
  }

  @Test("a shadow that fails is in the log and fails nobody")
  func fails() async throws {
    let room = ServingRoom(Self.versions)
    try await loaded(room) { () async throws in
      room.host.takeDown(2)
      #expect(try await room.predict().version == 1)
      let log = try await mirrored(room, rows: 2)
      #expect(log["route"]?[1] == .string("shadow"))
      #expect(log["model_error"]?[1] == .string("worker 3 of version 2 was lost"))
      #expect(log["version_fault"]?[1] == .bool(true))
    }
  }

  @Test("a version that the caller names is not mirrored")
  func named() async throws {
    let room = ServingRoom(Self.versions)
    try await loaded(room) { () async throws in
      _ = try await room.predict(version: 1)
      _ = try await room.predict()
      let log = try await mirrored(room, rows: 3)
      #expect(log["route"]?.values == .string(["version", "production", "shadow"]))
    }
  }

  @Test("what finds no room is dropped, and every answer is given all the same")
  func bounded() async throws {
    let room = ServingRoom(Self.versions)
    try await loaded(room) { () async throws in
      let rows = [RequestRow](
        repeating: ["customer_id": .int64(7), "basket": .double(2)], count: Limits.shadowRows - 1)
      let many = try await room.predictor.predict(
        PredictRequest(model: "churn", rows: rows, requestID: "many"))
      #expect(many.predictions.count == rows.count)
      // One row fits beside them, a second one does not.
      _ = try await room.predict()
      _ = try await room.predict()
      let log = try await mirrored(room, rows: 2 * (rows.count + 1) + 1)
      guard case .string(let routes)? = log["route"]?.values else { return }
      #expect(routes.count { $0 == "shadow" } == rows.count + 1)
      #expect(routes.count { $0 == "production" } == rows.count + 2)
    }
  }
}
