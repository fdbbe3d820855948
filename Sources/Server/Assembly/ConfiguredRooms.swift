import Core
import Features
import Foundation
import Jobs
import Logging
import Serving

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

extension ModelTrainingSet {
  /// The same rows, as the training job takes them.
  var trainingData: TrainingData {
    TrainingData(features: features, label: label, times: times, record: record)
  }
}
