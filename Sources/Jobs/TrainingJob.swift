import Core
import Foundation
import Logging

/// Rows to learn from, sorted by time, and how they were made.
package struct TrainingData: Sendable {
  /// The model's vector, in order.
  package var features: ColumnBatch
  package var label: [Double]
  package var times: [Int64]
  package var record: TrainingSetRecord

  package init(features: ColumnBatch, label: [Double], times: [Int64], record: TrainingSetRecord) {
    self.features = features
    self.label = label
    self.times = times
    self.record = record
  }
}

/// What a training job takes from other rooms; the composition root fills it in.
package struct TrainingSteps: Sendable {
  package var buildSet:
    @Sendable (ModelDefinition, Timestamp, Snapshot) async throws -> TrainingData
  package var baseline: @Sendable (String, ColumnBatch, [Double]) throws -> [UInt8]
  /// Predictions of the production version for these rows; nil where none serves.
  package var scoreProduction: @Sendable (String, ColumnBatch) async throws -> [Double]?
  /// The native form in a file beside what the model's own library predicted for these rows.
  package var compareNative: @Sendable (String, ColumnBatch, [Double]) async throws -> NativeForm

  package init(
    buildSet:
      @escaping @Sendable (ModelDefinition, Timestamp, Snapshot) async throws ->
      TrainingData,
    baseline: @escaping @Sendable (String, ColumnBatch, [Double]) throws -> [UInt8],
    scoreProduction: @escaping @Sendable (String, ColumnBatch) async throws -> [Double]?,
    compareNative:
      @escaping @Sendable (String, ColumnBatch, [Double]) async throws -> NativeForm
  ) {
    self.buildSet = buildSet
    self.baseline = baseline
    self.scoreProduction = scoreProduction
    self.compareNative = compareNative
  }
}

/// Training of one model: build the set → train → evaluate → baseline → store → publish → perhaps canary or promote.
package struct TrainingJob: Sendable {
  private let steps: TrainingSteps
  private let compute: any ComputeBackend
  private let blobs: any BlobStore
  private let registry: any ModelRegistry
  private let snapshot: Published<Snapshot>
  private let clock: any WallClock
  private let timeout: Span

  package static let labelName = "label"

  package init(
    steps: TrainingSteps, compute: any ComputeBackend, blobs: any BlobStore,
    registry: any ModelRegistry, snapshot: Published<Snapshot>, clock: any WallClock,
    timeout: Span
  ) {
    self.steps = steps
    self.compute = compute
    self.blobs = blobs
    self.registry = registry
    self.snapshot = snapshot
    self.clock = clock
    self.timeout = timeout
  }

  /// Runs the job; running it again after a crash publishes nothing twice.
  package func run(
    _ job: JobRun, _ report: JobReport
  ) async throws -> ModelVersion {
    let progress = report.progress
    let snapshot = snapshot.current
    let (model, train) = try definition(of: job.model, in: snapshot)
    if let published = try await registry.versions(of: job.model).first(where: {
      $0.jobID == job.id
    }) {
      return try await putForward(published, job, model, evaluation: nil)
    }
    try await progress("building the training set")
    let data = try await steps.buildSet(model, job.parameters.asOf ?? clock.now, snapshot)
    try check(data, of: model)
    try await progress("training on \(data.record.evaluationFrom) of \(data.record.rows) rows")
    var task = task(job, model, train, data, snapshot)
    task.say = report.say
    let outcome = try await compute.train(task, timeout: timeout)
    defer {
      let folder = URL(fileURLWithPath: outcome.artifactPath).deletingLastPathComponent().path
      try? FileManager.default.removeItem(atPath: folder)
    }
    try await progress("evaluating and publishing")
    let version = try await publish(job, model, train, data, outcome)
    if let native = version.native {
      report.say(TaskLine(level: "info", logger: "martlet", message: native.summary))
    }
    return try await putForward(version, job, model, evaluation: data)
  }

  private func definition(
    of name: String, in snapshot: Snapshot
  ) throws -> (ModelDefinition, TrainingDefinition) {
    guard let model = snapshot.project.model(name) else {
      throw PlatformError(
        .notFound,
        "there is no model '\(name)'\(suggestion(for: name, among: snapshot.project.models.map(\.name)))",
        retryable: false)
    }
    guard let train = model.train else {
      throw PlatformError(
        .failedPrecondition,
        "model '\(name)' has no `train` section; add `train: {run: train.py:train}` and apply")
    }
    return (model, train)
  }

  private func check(_ data: TrainingData, of model: ModelDefinition) throws {
    guard data.record.evaluationFrom > 0, data.record.evaluationFrom < data.record.rows else {
      throw PlatformError(
        .failedPrecondition,
        "the training set of '\(model.name)' has \(data.record.rows) rows, too few to train on and to evaluate; ingest events and labels, or widen `train.data`"
      )
    }
  }

  private func task(
    _ job: JobRun, _ model: ModelDefinition, _ train: TrainingDefinition, _ data: TrainingData,
    _ snapshot: Snapshot
  ) -> TrainingRequest {
    var columns = data.features.flattened(as: model.features, missing: model.missing).columns
    columns.append(Column(name: Self.labelName, values: .double(data.label)))
    columns.append(Column(name: "event_timestamp", values: .timestamp(data.times)))
    return TrainingRequest(
      jobID: job.id, run: train.run, projectDirectory: snapshot.projectDirectory,
      dataset: ColumnBatch(columns: columns, count: data.record.rows),
      features: model.features.flatMap(\.columnNames), label: Self.labelName,
      parameters: train.parameters,
      evaluationFrom: data.record.evaluationFrom)
  }

  private func publish(
    _ job: JobRun, _ model: ModelDefinition, _ train: TrainingDefinition, _ data: TrainingData,
    _ outcome: TrainingOutcome
  ) async throws -> ModelVersion {
    let from = data.record.evaluationFrom
    let evaluated = Array(outcome.predictions[from...])
    var metrics = outcome.metrics
    metrics[train.metric.rawValue] = Evaluation.score(
      train.metric, predictions: evaluated, labels: Array(data.label[from...]))
    let baseline = try steps.baseline(model.name, data.features, outcome.predictions)
    var version = NewModelVersion(
      model: model.name, artifact: try await blobs.put(fileAt: outcome.artifactPath),
      baseline: try await blobs.put(baseline), format: outcome.format, features: model.features,
      trainingSet: data.record, metrics: metrics, libraries: outcome.libraries, jobID: job.id)
    version.native = try await native(model, data, outcome)
    return try await registry.publish(version)
  }

  /// Stores the native form where it answers as the library does; says why not where it does not.
  private func native(
    _ model: ModelDefinition, _ data: TrainingData, _ outcome: TrainingOutcome
  ) async throws -> NativeForm? {
    guard let path = outcome.nativePath else { return nil }
    let rows = data.features.flattened(as: model.features, missing: model.missing)
    var form = try await steps.compareNative(path, rows, outcome.predictions)
    if form.refusal == nil { form.artifact = try await blobs.put(fileAt: path) }
    return form
  }

  /// Makes the version the canary where the model has a rollout rule and something is in production; otherwise promotes it
  /// when the job asks for it. Either way only one that is no worse than production on the same slice of time.
  private func putForward(
    _ version: ModelVersion, _ job: JobRun, _ model: ModelDefinition,
    evaluation data: TrainingData?
  ) async throws -> ModelVersion {
    let hasProduction = try await registry.versions(of: job.model)
      .contains { $0.stage == .production }
    let isCanary = model.rollout != nil && hasProduction
    guard isCanary || job.parameters.promote, version.stage == .registered else { return version }
    var why = job.reason
    if let data, let train = model.train {
      let rows = Array(data.record.evaluationFrom..<data.record.rows)
      let labels = rows.map { data.label[$0] }
      if let new = version.metrics[train.metric.rawValue],
        let current = try await steps.scoreProduction(job.model, data.features.gather(rows)),
        let old = Evaluation.score(train.metric, predictions: current, labels: labels)
      {
        guard Evaluation.isAtLeast(new, asGoodAs: old, by: train.metric) else { return version }
        why += "; \(train.metric.rawValue) \(new) against \(old) of production"
      }
    }
    if isCanary {
      return try await registry.startCanary(
        model: version.model, version: version.version, share: nil, who: "orchestrator", why: why)
    }
    return try await registry.promote(
      model: version.model, version: version.version, who: "orchestrator", why: why)
  }
}
