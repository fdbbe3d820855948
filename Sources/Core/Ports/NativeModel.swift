/// A model that is scored inside this process.
///
/// Guarantees: may be asked from any number of threads at once; a row's number does not depend on the rows beside it.
package protocol NativeModel: Sendable {
  /// One number a row, in order, computed on the calling thread alone.
  ///
  /// - Throws: `user_code` for rows that the model's own library refuses too.
  func score(_ rows: FeatureMatrix) throws -> [Double]

  /// By row, how far the library's own answer may be away; nil where both are the same to the bit.
  func tolerances(_ rows: FeatureMatrix) -> [Double]?
}

/// A model whose library tells what each feature adds to a prediction.
package protocol ContributingModel: NativeModel {
  func contributions(_ rows: FeatureMatrix) throws -> [FeatureContributions]
}

/// What each feature adds to one prediction before the model's last step: SHAP values as the model's own library computes them.
///
/// The base and the contributions sum up to the model's raw score; for a classifier those are log odds.
package struct FeatureContributions: Sendable, Equatable {
  /// What the model answers when it knows no feature.
  package var base: Double
  /// In the order of the model's features.
  package var values: [Double]

  package init(base: Double, values: [Double]) {
    self.base = base
    self.values = values
  }
}

/// The library of a kind of tree models, which may or may not be on this machine.
package protocol NativeLibrary: Sendable {
  /// Reads a model; the library itself is loaded at the first call.
  ///
  /// - Throws: `unavailable` where the library is not there, with what to do about it; `internal` for bytes that it cannot read.
  func open(_ model: NativeModelFile) throws -> any NativeModel
}

/// A model in its library's own format, and what there is to know about it.
package struct NativeModelFile: Sendable {
  /// The number of features.
  package var width: Int
  /// The version of the library that wrote it; empty where it is not known.
  package var library: String
  /// The first iteration and the one after the last, 0 for all; nil where the format itself says it.
  package var iterations: Range<Int>?
  package var bytes: [UInt8]

  package init(width: Int, library: String, iterations: Range<Int>?, bytes: [UInt8]) {
    self.width = width
    self.library = library
    self.iterations = iterations
    self.bytes = bytes
  }
}
