import Core
import Foundation
import Serving
import Testing
import Workers

@Suite("Reload")
struct ServingReloadTests {
  /// Runs the reload beside a test.
  private func follow(
    _ room: ServingRoom, _ body: () async throws -> Void
  ) async throws {
    try await withThrowingTaskGroup(of: Void.self) { group in
      group.addTask { try await room.reload.run() }
      try await body()
      group.cancelAll()
    }
  }

  @Test("a promoted version serves after it is loaded, and only then the old one goes")
  func swaps() async throws {
    let room = ServingRoom([ServingSample.version(1)])
    try await follow(room) { () async throws in
      await room.host.wait(for: "loaded 1")
      let release = room.host.hold(2)
      room.publish([ServingSample.version(2), ServingSample.version(1, .archived)], number: 2)
      await room.host.wait(for: "loading 2")
      #expect(try await room.predict().version == 1)
      release()
      await room.host.wait(for: "unloaded 1")
      let answer = try await room.predict()
      #expect(answer.version == 2)
      #expect(answer.predictions[0].value == 2_020)
      #expect(room.reload.current["churn"]?.version == 2)
    }
  }

  @Test("a version that does not load leaves the old one serving and is tried again")
  func failsThenLoads() async throws {
    let room = ServingRoom([ServingSample.version(1)])
    try await follow(room) { () async throws in
      await room.host.wait(for: "loaded 1")
      room.host.fail(2, times: 3)
      room.publish([ServingSample.version(2), ServingSample.version(1, .archived)], number: 2)
      for _ in 1...3 { await room.host.wait(for: "loading 2") }
      #expect(try await room.predict().predictions[0].value == 1_020)
      await room.host.wait(for: "unloaded 1")
      #expect(try await room.predict().version == 2)
    }
  }

  @Test("of versions promoted in quick succession the last one serves")
  func lastWins() async throws {
    let room = ServingRoom([ServingSample.version(1)])
    try await follow(room) { () async throws in
      await room.host.wait(for: "loaded 1")
      let release = room.host.hold(2)
      room.publish([ServingSample.version(2)], number: 2)
      await room.host.wait(for: "loading 2")
      room.publish([ServingSample.version(3), ServingSample.version(2, .archived)], number: 3)
      await room.host.wait(for: "unloaded 1")
      release()
      await room.host.wait(for: "unloaded 2")
      #expect(try await room.predict().version == 3)
    }
  }

  @Test("a model that goes out of production is let go")
  func goes() async throws {
    let room = ServingRoom([ServingSample.version(1)])
    try await follow(room) { () async throws in
      await room.host.wait(for: "loaded 1")
      // The table names it a moment after the host holds it.
      _ = try await room.predict()
      room.publish([ServingSample.version(1, .archived)], number: 2)
      await room.host.wait(for: "unloaded 1")
      #expect(room.reload.current.isEmpty)
    }
  }

  @Test("versions that callers named stay loaded up to a bound")
  func extras() async throws {
    let versions = (1...7).map {
      ServingSample.version(Int64($0), $0 == 7 ? .production : .archived)
    }
    let room = ServingRoom(versions.reversed())
    for number in 1...6 {
      #expect(try await room.predict(version: Int64(number)).version == number)
    }
    #expect(!room.host.holds(ModelKey(model: "churn", version: 1)))
    #expect(room.host.holds(ModelKey(model: "churn", version: 6)))
    #expect(try await room.predict(version: 1).version == 1)
  }

  @Test(
    "real workers: a reload under concurrent predictions drops none, and value and version agree",
    .enabled(if: PythonWorkers.python != nil, PythonWorkers.absent))
  func reloadUnderLoad() async throws {
    try await PythonWorkers.withPool { pool, project in
      let artifact = try await project.artifact(pool)
      let feature = ModelFeature(name: "x", origin: .input, type: .double)
      func version(_ number: Int64, _ stage: ModelStage) -> ModelVersion {
        ServingSample.version(
          number, stage, artifact: artifact.sha256, format: artifact.format, model: "doubler",
          features: [feature])
      }
      func snapshot(_ number: Int64) -> Snapshot {
        var snapshot = ServingSample.snapshot([], number: number)
        snapshot.models["doubler"] = (1...number).reversed().map {
          version($0, $0 == number ? .production : .archived)
        }
        return snapshot
      }
      let definitions = Published(snapshot(1))
      let reload = ModelReload(
        snapshot: definitions, blobs: OneBlob(path: artifact.path), workers: pool)
      let engine = WorkerEngine(pool: pool)
      try await withThrowingTaskGroup(of: Set<Int64>.self) { group in
        group.addTask {
          try await reload.run()
          return []
        }
        for caller in 1...16 {
          group.addTask {
            var seen = Set<Int64>()
            var x = Double(caller)
            while !seen.contains(4) {
              let served = try await reload.version(
                nil, of: "doubler", in: definitions.current, timeout: .seconds(30))
              let rows = ColumnBatch(columns: [Column(name: "x", values: .double([x]))])
              do {
                let scored = try await engine.score(served.key, rows, timeout: .seconds(30))
                #expect(scored.values == [2 * x])
                seen.insert(served.version)
              } catch let error as PlatformError where error.context["reason"] == "not_loaded" {
                // What the predictor does: look again.
              }
              x += 16
            }
            return seen
          }
        }
        for number in Int64(2)...4 {
          while reload.current["doubler"]?.version != number - 1 { await Task.yield() }
          definitions.publish(snapshot(number))
        }
        var finished = 0
        for try await seen in group where !seen.isEmpty {
          finished += 1
          if finished == 16 { group.cancelAll() }
        }
        #expect(finished == 16)
      }
    }
  }
}

private struct OneBlob: BlobStore {
  let path: String

  func put(_ bytes: [UInt8]) async throws -> BlobDigest { BlobDigest(hex: "") }
  func put(fileAt path: String) async throws -> BlobDigest { BlobDigest(hex: "") }
  func get(_ digest: BlobDigest) async throws -> [UInt8] { [] }
  func localPath(of digest: BlobDigest) async throws -> String { path }
  func contains(_ digest: BlobDigest) async throws -> Bool { true }
  func remove(_ digest: BlobDigest) async throws {}
}
