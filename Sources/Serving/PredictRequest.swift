import Core

/// What a caller wants predicted.
package struct PredictRequest: Sendable {
  package var model: String
  /// Nil asks the version in production.
  package var version: Int64?
  /// Each names key columns of entities and the model's inputs.
  package var rows: [RequestRow]
  /// The model's vector itself, a column for each feature under its name, in place of rows to hydrate; nil hydrates.
  package var vectors: ColumnBatch?
  /// Made up where the caller gives none.
  package var requestID: String?
  /// Nil takes the predictor's own limit, which bounds this one.
  package var timeout: Span?

  package init(
    model: String, version: Int64? = nil, rows: [RequestRow], vectors: ColumnBatch? = nil,
    requestID: String? = nil, timeout: Span? = nil
  ) {
    self.model = model
    self.version = version
    self.rows = rows
    self.vectors = vectors
    self.requestID = requestID
    self.timeout = timeout
  }
}

/// One row's answer, with everything that it was made of.
package struct Prediction: Sendable {
  package var value: Double
  /// As it was read, before the model's policy for missing values; in the order of
  /// `PredictAnswer.featureNames`.
  package var vector: FeatureVector
}

package struct PredictAnswer: Sendable {
  package var requestID: String
  package var model: String
  package var version: Int64
  package var stage: ModelStage
  /// Why this version answered: `production`, or `version` where the caller named one.
  package var route: String
  /// In the order of the request's rows.
  package var predictions: [Prediction]
  package var featureNames: [String]
  package var latency: PredictLatency
}

/// Where the time of a prediction went, in microseconds.
package struct PredictLatency: Sendable, Equatable {
  package var hydrate: Int = 0
  package var queue: Int = 0
  package var compute: Int = 0
  package var total: Int = 0

  package init() {}
}
