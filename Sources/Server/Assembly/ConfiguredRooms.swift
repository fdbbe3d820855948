import Core
import Features
import Jobs
import Serving

extension Configuration.PredictionLog {
  var room: Serving.PredictionLog.Room {
    Serving.PredictionLog.Room(
      bufferRows: bufferRows, flushInterval: flushInterval, flushRows: flushRows)
  }
}

extension ModelTrainingSet {
  /// The same rows, as the training job takes them.
  var trainingData: TrainingData {
    TrainingData(features: features, label: label, times: times, record: record)
  }
}
