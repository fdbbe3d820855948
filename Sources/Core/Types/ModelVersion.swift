package enum ModelStage: String, Sendable, Codable, CaseIterable {
  case registered, staging, canary, shadow, production, archived
}

/// One published version of a model: what serves, and what it was made of.
package struct ModelVersion: Sendable, Equatable, Codable {
  package var model: String
  /// 1, 2, 3, … within the model.
  package var version: Int64
  package var stage: ModelStage
  package var artifact: BlobDigest
  package var baseline: BlobDigest
  /// `pickle`, later `lightgbm`, `onnx`, …
  package var format: String
  /// The input vector, in order.
  package var features: [ModelFeature]
  package var definitionsVersion: Int64
  /// Rows, as-of time and hash of the training set.
  package var trainingSet: TrainingSetRecord
  package var metrics: [String: Double]
  /// Library versions that it was trained with.
  package var libraries: [String: String]
  package var jobID: String
  package var createdAt: Timestamp

  package init(
    model: String, version: Int64, stage: ModelStage, artifact: BlobDigest, baseline: BlobDigest,
    format: String, features: [ModelFeature], definitionsVersion: Int64,
    trainingSet: TrainingSetRecord, metrics: [String: Double], libraries: [String: String],
    jobID: String, createdAt: Timestamp
  ) {
    self.model = model
    self.version = version
    self.stage = stage
    self.artifact = artifact
    self.baseline = baseline
    self.format = format
    self.features = features
    self.definitionsVersion = definitionsVersion
    self.trainingSet = trainingSet
    self.metrics = metrics
    self.libraries = libraries
    self.jobID = jobID
    self.createdAt = createdAt
  }
}

/// How a training set was made; the same record over the same data gives the same bytes.
package struct TrainingSetRecord: Sendable, Equatable, Codable {
  package var definitionsVersion: Int64
  package var asOf: Timestamp
  package var rows: Int
  /// Rows before this one train, the rest (later in time) evaluate.
  package var evaluationFrom: Int
  /// SHA-256 over names, types and cells.
  package var hash: String

  package init(
    definitionsVersion: Int64, asOf: Timestamp, rows: Int, evaluationFrom: Int, hash: String
  ) {
    self.definitionsVersion = definitionsVersion
    self.asOf = asOf
    self.rows = rows
    self.evaluationFrom = evaluationFrom
    self.hash = hash
  }
}

/// One more version, before it has a number; see `ModelVersion` for the fields.
package struct NewModelVersion: Sendable {
  package var model: String
  package var artifact: BlobDigest
  package var baseline: BlobDigest
  package var format: String
  package var features: [ModelFeature]
  package var trainingSet: TrainingSetRecord
  package var metrics: [String: Double]
  package var libraries: [String: String]
  package var jobID: String

  package init(
    model: String, artifact: BlobDigest, baseline: BlobDigest, format: String,
    features: [ModelFeature], trainingSet: TrainingSetRecord, metrics: [String: Double],
    libraries: [String: String], jobID: String
  ) {
    self.model = model
    self.artifact = artifact
    self.baseline = baseline
    self.format = format
    self.features = features
    self.trainingSet = trainingSet
    self.metrics = metrics
    self.libraries = libraries
    self.jobID = jobID
  }
}
