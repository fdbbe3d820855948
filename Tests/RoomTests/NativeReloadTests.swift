import Core
import Features
import Foundation
import Serving
import Synchronization
import TestKit
import Testing
import Workers

@Suite("Native reload", .enabled(if: PythonWorkers.python != nil, PythonWorkers.absent))
struct NativeReloadTests {
  /// Gives the same vector to every request.
  private struct OneVector: FeatureHydrating {
    let columns: [Column]

    func hydrate(_ request: HydrateRequest) async throws -> HydratedRows {
      let values = columns.map { column in
        FeatureValue(value: column[0], status: column.isPresent(0) ? .present : .null)
      }
      return HydratedRows(
        features: columns.map { ColumnDefinition(name: $0.name, type: $0.type) },
        vectors: request.rows.map { _ in FeatureVector(values: values) }, time: FakeHydrator.time)
    }
  }

  /// The address of a blob is its path.
  private struct Paths: BlobStore {
    func put(_ bytes: [UInt8]) async throws -> BlobDigest { BlobDigest(hex: "") }
    func put(fileAt path: String) async throws -> BlobDigest { BlobDigest(hex: path) }
    func get(_ digest: BlobDigest) async throws -> [UInt8] { [] }
    func localPath(of digest: BlobDigest) async throws -> String { digest.hex }
    func contains(_ digest: BlobDigest) async throws -> Bool { true }
    func remove(_ digest: BlobDigest) async throws {}
  }

  /// What the callers of a test share.
  private final class Storm: Sendable {
    let isOver = Atomic(false)
    let answered = Atomic(0)
  }

  private static func version(
    _ number: Int64, _ stage: ModelStage, _ trained: NativeProject.Trained
  ) -> ModelVersion {
    let features = trained.rows.columns.map {
      ModelFeature(name: $0.name, origin: .input, type: $0.type)
    }
    var version = ServingSample.version(
      number, stage, artifact: trained.artifact, features: features)
    version.native = NativeForm(
      kind: "", modelClass: "", artifact: BlobDigest(hex: trained.native))
    return version
  }

  @Test(
    "fifty promotions under the load of 64 callers: none fails, and value and version belong together"
  )
  func storm() async throws {
    try await NativeProject.with { project in
      let trained = [
        try await project.train("lightgbm_regressor"), try await project.train("xgboost_regressor"),
      ]
      func snapshot(_ production: Int64, _ number: Int64) -> Snapshot {
        ServingSample.snapshot(
          [1, 2].map { one in
            Self.version(one, one == production ? .production : .archived, trained[Int(one) - 1])
          }, number: number)
      }
      let definitions = Published(snapshot(1, 1))
      let reload = ModelReload(
        snapshot: definitions, blobs: Paths(), workers: project.engine)
      let predictor = Predictor(
        served: reload, hydrator: OneVector(columns: trained[0].rows.gather([0]).columns),
        engine: project.engine, log: PredictionLog(warehouse: MemoryWarehouse()),
        definitions: definitions, clock: TestClock(), timeout: .minutes(10))
      let expected = trained.map { $0.predictions[0] }
      try #require(expected[0] != expected[1])
      @Sendable func ask() async throws -> Int64 {
        let answer = try await predictor.predict(
          PredictRequest(
            model: "churn", rows: [["customer_id": .int64(1), "basket": .double(1)]]))
        let value = answer.predictions[0].value
        #expect(value == expected[Int(answer.version) - 1])
        return answer.version
      }
      let storm = Storm()
      try await withThrowingTaskGroup(of: Void.self) { group in
        group.addTask { try await reload.run() }
        try await withThrowingTaskGroup(of: Void.self) { callers in
          for _ in 0..<64 {
            callers.addTask {
              while !storm.isOver.load(ordering: .relaxed) {
                _ = try await ask()
                storm.answered.wrappingAdd(1, ordering: .relaxed)
                await Task.yield()
              }
            }
          }
          for promotion in 1...50 {
            let next = Int64(promotion % 2 + 1)
            definitions.publish(snapshot(next, Int64(promotion + 1)))
            while try await ask() != next { await Task.yield() }
          }
          storm.isOver.store(true, ordering: .relaxed)
          try await callers.waitForAll()
        }
        group.cancelAll()
      }
      #expect(storm.answered.load(ordering: .relaxed) > 500)
    }
  }
}
