import Core
import Features
import Foundation
import Jobs
import Logging
import NativeModelsBackend
import Serving
import Workers

extension Configuration.PredictionLog {
  var room: Serving.PredictionLog.Room {
    Serving.PredictionLog.Room(
      bufferRows: bufferRows, flushInterval: flushInterval, flushRows: flushRows)
  }
}

extension Configuration.Jobs {
  func queue(in folder: String) throws -> JobQueue {
    try JobQueue(path: folder + "/jobs.sqlite", clock: SystemClock(), maxAttempts: maxAttempts)
  }

  /// What runs the jobs of a queue, under a name of its own.
  func runner(
    _ queue: JobQueue, _ training: TrainingJob, backfill: BackfillSteps,
    announce: @escaping @Sendable (JobRun, JobAttemptNews) -> Void, _ log: Logger
  ) -> Runner {
    Runner(
      queue: queue, training: training, backfill: backfill, clock: SystemClock(),
      owner: UUID().uuidString,
      lease: lease, backOff: BackOff(base: backOff, limit: backOffLimit), log: log,
      announce: announce)
  }
}

extension Configuration {
  /// What scores: this process where a version has a native form, the workers otherwise.
  func nativeEngine(_ pool: WorkerPool, _ log: Logger) -> NativeEngine {
    let python = workers.python
    return NativeEngine(
      libraries: [
        "lightgbm": LightGBMLibrary(.lightGBM(path: serving.lightgbmLibrary, python: python)),
        "xgboost": XGBoostLibrary(.xgboost(path: serving.xgboostLibrary, python: python)),
      ], workers: WorkerEngine(pool: pool), host: pool, isEnabled: serving.native, log: log)
  }
}

extension ModelTrainingSet {
  /// The same rows, as the training job takes them.
  var trainingData: TrainingData {
    TrainingData(features: features, label: label, times: times, record: record)
  }
}
