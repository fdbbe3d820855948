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
  /// Nil in records of versions from before there were native engines; workers serve them.
  package var native: NativeForm?
  /// By `ArtifactSigner`; nil where there was no key when it was published.
  package var artifactSignature: String?

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
  /// Nil in records of versions that did not keep it.
  package var origin: TrainingSetOrigin?
  /// The id of the dataset that it was saved as; nil in records of versions from before sets were saved.
  package var dataset: String?

  package init(
    definitionsVersion: Int64, asOf: Timestamp, rows: Int, evaluationFrom: Int, hash: String,
    origin: TrainingSetOrigin? = nil
  ) {
    self.definitionsVersion = definitionsVersion
    self.asOf = asOf
    self.rows = rows
    self.evaluationFrom = evaluationFrom
    self.hash = hash
    self.origin = origin
  }
}

/// What a training set was made from, beside its definitions.
package struct TrainingSetOrigin: Sendable, Equatable, Codable {
  /// What was in a source when the set had been built: every event that was read lies within.
  package struct Events: Sendable, Equatable, Codable, CustomStringConvertible {
    package var source: String
    /// `spine`, `label` or `features`.
    package var use: String
    package var count: Int64
    /// Event times, nil where there is no event.
    package var first: Timestamp?
    package var last: Timestamp?
    /// Arrival sequences.
    package var firstSequence: Int64?
    package var lastSequence: Int64?

    package init(
      source: String, use: String, count: Int64, first: Timestamp?, last: Timestamp?,
      firstSequence: Int64?, lastSequence: Int64?
    ) {
      self.source = source
      self.use = use
      self.count = count
      self.first = first
      self.last = last
      self.firstSequence = firstSequence
      self.lastSequence = lastSequence
    }

    package var description: String {
      guard let first, let last, let firstSequence, let lastSequence else { return "no events" }
      return
        "\(count) events of \(first) to \(last), sequences \(firstSequence) to \(lastSequence)"
    }
  }

  /// A Python file as it was then.
  package struct Code: Sendable, Equatable, Codable {
    package var reference: CodeReference
    /// SHA-256 of the file; nil where it could not be read.
    package var digest: String?

    package init(reference: CodeReference, digest: String?) {
      self.reference = reference
      self.digest = digest
    }
  }

  package var events: [Events]
  /// Transforms of the sources, and the training function.
  package var code: [Code]

  package init(events: [Events], code: [Code]) {
    self.events = events
    self.code = code
  }

  package func digest(of reference: CodeReference) -> String? {
    code.first { $0.reference == reference }?.digest
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
  package var native: NativeForm?

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
