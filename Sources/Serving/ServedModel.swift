import Core
import Metrics
import Synchronization
import Workers

/// A model version that is loaded and answers; a value that never changes.
package struct ServedModel: Sendable {
  package let artifact: ModelVersion
  package let key: ModelKey
  package let featureNames: [String]
  package let metrics: ModelMetrics

  package var version: Int64 { artifact.version }

  package init(_ artifact: ModelVersion, metrics: ModelMetrics) {
    self.artifact = artifact
    self.metrics = metrics
    key = ModelKey(model: artifact.model, version: artifact.version)
    featureNames = artifact.features.map(\.name)
  }
}

/// The metrics of one model, looked up once.
package final class ModelMetrics: Sendable {
  private struct Outcome: Hashable {
    var version: Int64?
    var name: String
  }

  private let model: String
  package let latencies: LatencyBook
  private let outcomes = Mutex<[Outcome: Counter]>([:])

  package init(model: String) {
    self.model = model
    latencies = LatencyBook(model: model)
  }

  /// - Parameters:
  ///   - outcome: `ok`, or the code of the error.
  ///   - version: nil where none was found.
  func count(_ outcome: String, version: Int64?, rows: Int) {
    let counter = outcomes.withLock { outcomes in
      let key = Outcome(version: version, name: outcome)
      if let known = outcomes[key] { return known }
      let counter = Counter(
        label: "martlet_predictions_total",
        dimensions: [
          ("model", model), ("version", version.map { String($0) } ?? "none"), ("outcome", outcome),
        ])
      outcomes[key] = counter
      return counter
    }
    counter.increment(by: rows)
  }
}
