/// One line that user code printed or logged.
package struct TaskLine: Sendable, Equatable {
  /// `debug`, `info`, `warning` or `error`.
  package var level: String
  /// `stdout`, `stderr`, `context`, or the name of a Python logger.
  package var logger: String
  package var message: String

  package init(level: String, logger: String, message: String) {
    self.level = level
    self.logger = logger
    self.message = message
  }
}

/// One run of a user's training function.
package struct TrainingRequest: Sendable {
  package var jobID: String
  package var run: CodeReference
  package var projectDirectory: String
  /// The features in the model's order, the label, and `event_timestamp`; sorted by time.
  package var dataset: ColumnBatch
  package var features: [String]
  package var label: String
  /// JSON object text for the user's function.
  package var parameters: String
  /// Rows from here on are the evaluation slice, which the user's function never sees.
  package var evaluationFrom: Int
  /// Told what the function prints and logs.
  package var say: (@Sendable (TaskLine) -> Void)?

  package init(
    jobID: String, run: CodeReference, projectDirectory: String, dataset: ColumnBatch,
    features: [String], label: String, parameters: String, evaluationFrom: Int
  ) {
    self.jobID = jobID
    self.run = run
    self.projectDirectory = projectDirectory
    self.dataset = dataset
    self.features = features
    self.label = label
    self.parameters = parameters
    self.evaluationFrom = evaluationFrom
  }
}

/// What a training function left behind.
package struct TrainingOutcome: Sendable {
  /// A file in a folder of its own; the caller stores the file and removes the folder.
  package var artifactPath: String
  /// The file beside it that says how the model is scored without Python; nil where the backend wrote none.
  package var nativePath: String?
  package var format: String
  /// One prediction per row of the dataset, training rows first.
  package var predictions: [Double]
  /// What the user's function reported.
  package var metrics: [String: Double]
  package var libraries: [String: String]

  package init(
    artifactPath: String, format: String, predictions: [Double], metrics: [String: Double],
    libraries: [String: String]
  ) {
    self.artifactPath = artifactPath
    self.format = format
    self.predictions = predictions
    self.metrics = metrics
    self.libraries = libraries
  }
}

/// Where training runs: the local worker pool, or a cluster.
package protocol ComputeBackend: Sendable {
  /// Runs a training task to its end; cancelling the caller ends the work.
  func train(_ task: TrainingRequest, timeout: Span) async throws -> TrainingOutcome
}
