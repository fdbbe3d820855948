import Core

/// A model version, as workers know it.
package struct ModelKey: Hashable, Sendable, CustomStringConvertible {
  package var model: String
  package var version: Int64

  package init(model: String, version: Int64) {
    self.model = model
    self.version = version
  }

  package var description: String { "\(model) version \(version)" }
}

/// What a worker needs in order to load a model version.
package struct ModelArtifact: Sendable, Equatable {
  package var key: ModelKey
  /// A file on this machine, readable by the worker.
  package var path: String
  /// Lower-case hexadecimal; the worker does not open a file with another digest.
  package var sha256: String
  package var format: String
  package var features: [String]
  /// The file that the native engine reads; nil where only workers can serve the version.
  package var nativePath: String?
  /// The size of the file; 0 where it is not known.
  package var bytes = 0

  package init(key: ModelKey, path: String, sha256: String, format: String, features: [String]) {
    self.key = key
    self.path = path
    self.sha256 = sha256
    self.format = format
    self.features = features
  }
}

/// How far the versions of libraries may differ from those that a model was trained with.
package enum LibraryVersions: String, Sendable, CaseIterable {
  /// Not at all.
  case exact
  /// In what comes after the second number.
  case minor
  /// As they like; differences are logged.
  case off
}

/// One piece of work for a Python process.
package enum WorkerTask: Sendable {
  /// Scores rows; goes to a worker that has the version loaded, together with others that wait for
  /// the same version.
  case predict(ModelKey, rows: ColumnBatch)
  case train(TrainingTask)
  case transform(TransformTask)
}

/// One run of a user's training function.
package struct TrainingTask: Sendable {
  /// The user's file, relative to `workingDirectory` or absolute.
  package var runPath: String
  package var function: String
  package var workingDirectory: String
  /// Written by `DatasetFile`.
  package var datasetPath: String
  package var features: [String]
  package var label: String
  /// A JSON object.
  package var options: String
  package var outputDirectory: String
  /// Rows before this one train, the rest evaluate.
  package var evaluationFrom: Int

  package init(
    runPath: String, function: String, workingDirectory: String, datasetPath: String,
    features: [String], label: String, options: String, outputDirectory: String,
    evaluationFrom: Int
  ) {
    self.runPath = runPath
    self.function = function
    self.workingDirectory = workingDirectory
    self.datasetPath = datasetPath
    self.features = features
    self.label = label
    self.options = options
    self.outputDirectory = outputDirectory
    self.evaluationFrom = evaluationFrom
  }
}

/// One batch of events for a user's transform function.
package struct TransformTask: Sendable {
  package var codePath: String
  package var function: String
  package var rows: ColumnBatch
  /// The text of a requirements file: a worker that has other versions refuses. Empty where nothing is pinned.
  package var requirements: String
  /// Whether every row that fails is answered with its whole traceback.
  package var explain: Bool

  package init(
    codePath: String, function: String, rows: ColumnBatch, requirements: String = "",
    explain: Bool = false
  ) {
    self.codePath = codePath
    self.function = function
    self.rows = rows
    self.requirements = requirements
    self.explain = explain
  }
}

/// What a worker made of a task, and how long it took.
package struct WorkerResult: Sendable {
  package enum Payload: Sendable {
    /// One number a row, in the order of the rows.
    case predicted([Double])
    case trained(TrainedModel)
    case transformed(TransformOutcome)
  }

  package var payload: Payload
  /// From the call until a worker took the task (the last time, where it was retried).
  package var queue: Span
  /// In the task itself, as the worker measured it.
  package var compute: Span
  package var workerID: String

  package init(payload: Payload, queue: Span, compute: Span, workerID: String) {
    self.payload = payload
    self.queue = queue
    self.compute = compute
    self.workerID = workerID
  }
}

/// A stored artifact and what it predicts on both slices of its training set.
package struct TrainedModel: Sendable {
  package var artifactPath: String
  package var format: String
  package var sha256: String
  package var evaluationPredictions: [Double]
  package var trainingPredictions: [Double]
  package var metrics: [String: Double]
  package var libraries: [String: String]
}

/// As many rows as were sent; a row with an error has null in every column.
package struct TransformOutcome: Sendable {
  package var rows: ColumnBatch
  /// By row: the traceback's last line.
  package var errors: [Int: String]
  /// By row: the whole traceback, where it was asked for.
  package var tracebacks: [Int: String]

  package init(rows: ColumnBatch, errors: [Int: String], tracebacks: [Int: String] = [:]) {
    self.rows = rows
    self.errors = errors
    self.tracebacks = tracebacks
  }
}

/// One line that a worker said while it ran a task.
package struct WorkerLogLine: Sendable {
  package enum Level: String, Sendable {
    case debug, info, warning, error
  }

  package var level: Level
  /// `stdout`, `stderr`, `context`, or the name of a Python logger.
  package var logger: String
  package var message: String
}
