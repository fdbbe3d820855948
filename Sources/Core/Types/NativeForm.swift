/// The form of a model version that this process scores itself, and how it compares with the model's own library.
package struct NativeForm: Sendable, Equatable, Codable {
  /// `lightgbm`, `xgboost`, `linear`; `none` where the model has no such form.
  package var kind: String
  /// The model's own library and class: `sklearn.Ridge`.
  package var modelClass: String
  /// The file that the native engine reads; nil where a worker serves the version.
  package var artifact: BlobDigest?
  /// Rows of the training set on which both were asked.
  package var comparedRows: Int
  /// The largest difference between the two, over those rows.
  package var largestDifference: Double
  /// Why a worker serves the version; nil where the native engine does.
  package var refusal: String?

  package init(
    kind: String, modelClass: String, artifact: BlobDigest? = nil, comparedRows: Int = 0,
    largestDifference: Double = 0, refusal: String? = nil
  ) {
    self.kind = kind
    self.modelClass = modelClass
    self.artifact = artifact
    self.comparedRows = comparedRows
    self.largestDifference = largestDifference
    self.refusal = refusal
  }
}
