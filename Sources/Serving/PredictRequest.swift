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
  /// Whether all rows are to be answered by the version that the key of the first one leads to, for protocols whose answer
  /// names one version. Otherwise each row goes by its own key.
  package var wantsOneVersion: Bool
  /// Whether the answer is to say what each value was made of.
  package var wantsExplanation: Bool

  package init(
    model: String, version: Int64? = nil, rows: [RequestRow], vectors: ColumnBatch? = nil,
    requestID: String? = nil, timeout: Span? = nil, wantsOneVersion: Bool = false,
    wantsExplanation: Bool = false
  ) {
    self.model = model
    self.version = version
    self.rows = rows
    self.vectors = vectors
    self.requestID = requestID
    self.timeout = timeout
    self.wantsOneVersion = wantsOneVersion
    self.wantsExplanation = wantsExplanation
  }
}

/// One row's answer, with everything that it was made of.
package struct Prediction: Sendable {
  package var value: Double
  /// As it was read, before the model's policy for missing values; in the order of
  /// `featureNames`.
  package var vector: FeatureVector
  /// Which version gave it.
  package var version: Int64
  package var stage: ModelStage
  package var route: Route
  package var featureNames: [String]
  /// Nil where the caller did not ask for it.
  package var explanation: Explanation?
}

/// What a value was made of, beside the vector as it was read.
package struct Explanation: Sendable, Equatable {
  /// Where the row's key lies in [0, 1): a canary has those below its share.
  package var position: Double
  /// What the model was given, after its policy for missing values, in the order of `featureNames`.
  package var given: [Value]
}

package struct PredictAnswer: Sendable {
  package var requestID: String
  package var model: String
  /// In the order of the request's rows; at least one.
  package var predictions: [Prediction]
  /// Of the slowest part, where several versions answered.
  package var latency: PredictLatency
  /// Of the first row; see `isMixed`.
  package var version: Int64
  package var stage: ModelStage
  package var featureNames: [String]

  /// Whether rows were answered by different versions or by different ways: then only each row tells which.
  package var isMixed: Bool {
    predictions.contains { $0.version != version || $0.route.kind != predictions[0].route.kind }
  }

  /// The way of all rows, `mixed` where they differ.
  package var route: String { isMixed ? "mixed" : predictions[0].route.kind.rawValue }

  /// Why it went that way; of the first row, where they differ.
  package var why: String { predictions[0].route.why }
}

/// Where the time of a prediction went, in microseconds.
package struct PredictLatency: Sendable, Equatable {
  package var hydrate: Int = 0
  package var queue: Int = 0
  package var compute: Int = 0
  package var total: Int = 0

  package init() {}
}
