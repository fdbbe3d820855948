import Core
import Foundation
import Workers

/// Training on the local worker pool: the dataset as a file, the user's function in a Python process.
package struct WorkerCompute: ComputeBackend {
  private let pool: WorkerPool
  private let scratch: String
  /// What `martlet_worker.native` calls its file.
  private static let nativeName = "model.native"

  /// - Parameter scratch: a folder for datasets and artifacts of running jobs.
  package init(pool: WorkerPool, scratch: String) {
    self.pool = pool
    self.scratch = scratch
  }

  /// Empties the scratch folder of what former processes left.
  package func cleanUp() throws {
    try? FileManager.default.removeItem(atPath: scratch)
    try FileManager.default.createDirectory(atPath: scratch, withIntermediateDirectories: true)
  }

  package func train(_ request: TrainingRequest, timeout: Span) async throws -> TrainingOutcome {
    let folder = "\(scratch)/\(request.jobID)-\(UUID().uuidString.prefix(8))"
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    do {
      return try await train(request, in: folder, timeout: timeout)
    } catch {
      try? FileManager.default.removeItem(atPath: folder)
      throw error
    }
  }

  private func train(
    _ request: TrainingRequest, in folder: String, timeout: Span
  ) async throws -> TrainingOutcome {
    let dataset = folder + "/dataset"
    var file = try DatasetFile(creatingAt: dataset)
    try file.append(request.dataset)
    try file.close()
    let result = try await pool.run(
      .train(
        TrainingTask(
          runPath: request.run.file, function: request.run.function,
          workingDirectory: request.projectDirectory, datasetPath: dataset,
          features: request.features, label: request.label, options: request.parameters,
          outputDirectory: folder, evaluationFrom: request.evaluationFrom)), timeout: timeout,
      say: { [say = request.say] line in say?(TaskLine(line)) })
    try FileManager.default.removeItem(atPath: dataset)
    guard case .trained(let model) = result.payload else {
      throw PlatformError(.internalError, "a training task was answered with something else")
    }
    var outcome = TrainingOutcome(
      artifactPath: model.artifactPath, format: model.format,
      predictions: model.trainingPredictions + model.evaluationPredictions, metrics: model.metrics,
      libraries: model.libraries)
    let native = folder + "/" + Self.nativeName
    if FileManager.default.fileExists(atPath: native) { outcome.nativePath = native }
    return outcome
  }
}

extension TaskLine {
  package init(_ line: WorkerLogLine) {
    self.init(level: line.level.rawValue, logger: line.logger, message: line.message)
  }
}
