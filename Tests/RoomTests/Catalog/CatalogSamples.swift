import Catalog
import Core
import Foundation
import Synchronization

/// Values and stores for the tests of the catalog.
enum CatalogSamples {
  static func version(model: String, stage: ModelStage) throws -> ModelVersion {
    let features = try DefinitionFixtures.good("shop").model(model)?.features ?? []
    return ModelVersion(
      model: model, version: 1, stage: stage, artifact: BlobDigest(hex: "aa"),
      baseline: BlobDigest(hex: "bb"), format: "pickle", features: features, definitionsVersion: 1,
      trainingSet: trainingSet, metrics: ["roc_auc": 0.8], libraries: ["sklearn": "1.5"],
      jobID: "job-1", createdAt: Timestamp(microseconds: 0))
  }

  static let trainingSet = TrainingSetRecord(
    definitionsVersion: 1, asOf: Timestamp(microseconds: 1_000_000), rows: 100, evaluationFrom: 80,
    hash: "cc")

  static func newVersion(job: String, model: String = "churn") throws -> NewModelVersion {
    NewModelVersion(
      model: model, artifact: BlobDigest(hex: "aa"), baseline: BlobDigest(hex: "bb"),
      format: "pickle", features: try version(model: "churn", stage: .registered).features,
      trainingSet: trainingSet, metrics: ["roc_auc": 0.8], libraries: [:], jobID: job)
  }
}

/// A folder with the Python files that the fixtures name; removed with the value.
final class ProjectFolder: Sendable {
  let path: String

  init() throws {
    path =
      FileManager.default.temporaryDirectory
      .appendingPathComponent("catalog-\(UUID().uuidString)").path
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    for (file, function) in [("train.py", "train"), ("transforms.py", "enrich")] {
      try Data("def \(function)(given, context=None): ...\n".utf8).write(
        to: URL(fileURLWithPath: path + "/" + file))
    }
  }

  deinit { try? FileManager.default.removeItem(atPath: path) }

  var catalog: String { path + "/catalog.sqlite" }
}

/// A clock that tests set.
final class SetClock: WallClock {
  private let time: Mutex<Timestamp>

  init(_ microseconds: Int64) { time = Mutex(Timestamp(microseconds: microseconds)) }

  var now: Timestamp { time.withLock { $0 } }
  func set(_ microseconds: Int64) { time.withLock { $0 = Timestamp(microseconds: microseconds) } }
}
