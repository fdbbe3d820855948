import Core
import Synchronization

/// A booster of XGBoost.
///
/// Prediction in place is lock-free and may be asked from several threads of one booster; the answer lies in memory of the calling
/// thread. Everything else is done by one thread at a time.
final class XGBoostModel: ContributingModel {
  private let functions: XGBoostFunctions
  private let booster: ForeignHandle
  private let width: Int
  private let scoring: String
  private let contributing: String
  private let others = Mutex(())

  init(_ functions: XGBoostFunctions, _ model: NativeModelFile) throws {
    self.functions = functions
    width = model.width
    let range = model.iterations ?? 0..<0
    let common =
      "\"training\":false,\"iteration_begin\":\(range.lowerBound),\"iteration_end\":\(range.upperBound),"
      + "\"missing\":NaN,\"strict_shape\":false"
    scoring = "{\"type\":0,\(common),\"cache_id\":0}"
    contributing = "{\"type\":2,\(common)}"
    var handle: UnsafeMutableRawPointer?
    try functions.check(functions.create(nil, 0, &handle), "make a model")
    guard let handle else { throw PlatformError(.internalError, "XGBoost made no model") }
    booster = ForeignHandle(pointer: handle)
    let status = model.bytes.withUnsafeBytes { bytes in
      bytes.baseAddress.map { functions.load(handle, $0, UInt64(bytes.count)) } ?? -1
    }
    try functions.check(status, "read the model")
    // One row is not worth waking other threads, and many requests keep every core busy anyway.
    try functions.check(functions.set(handle, "nthread", "1"), "set its number of threads")
    var features: UInt64 = 0
    try functions.check(functions.featureCount(handle, &features), "tell its features")
    guard Int(features) == width else {
      throw PlatformError(
        .internalError, "the XGBoost model takes \(features) features, expected \(width)")
    }
    // The first prediction finishes the model; from then on it does not change.
    _ = try score(
      FeatureMatrix(rows: 1, width: width, values: .init(repeating: .nan, count: width)))
  }

  deinit { _ = functions.free(booster.pointer) }

  func tolerances(_ rows: FeatureMatrix) -> [Double]? { nil }

  func score(_ rows: FeatureMatrix) throws -> [Double] {
    guard rows.rows > 0 else { return [] }
    var shape: UnsafePointer<UInt64>?
    var dimensions: UInt64 = 0
    var answer: UnsafePointer<Float>?
    let status = rows.values.withUnsafeBufferPointer { values in
      functions.predictDense(
        booster.pointer, Self.interface(of: values, rows), scoring, nil, &shape, &dimensions,
        &answer)
    }
    try functions.check(status, "score \(rows.rows) rows")
    return try Self.numbers(answer, shape, dimensions, expected: rows.rows)
  }

  /// XGBoost's own SHAP values (`pred_contribs`): the last column is the base.
  func contributions(_ rows: FeatureMatrix) throws -> [FeatureContributions] {
    guard rows.rows > 0 else { return [] }
    let answers = try others.withLock { _ in try shap(rows) }
    return (0..<rows.rows).map { row in
      let start = row * (width + 1)
      return FeatureContributions(
        base: answers[start + width], values: Array(answers[start..<start + width]))
    }
  }

  private func shap(_ rows: FeatureMatrix) throws -> [Double] {
    var matrix: UnsafeMutableRawPointer?
    let made = rows.values.withUnsafeBufferPointer { values in
      functions.createMatrix(
        Self.interface(of: values, rows), "{\"missing\":NaN,\"nthread\":1}", &matrix)
    }
    try functions.check(made, "take \(rows.rows) rows")
    guard let matrix else { throw PlatformError(.internalError, "XGBoost took no rows") }
    defer { _ = functions.freeMatrix(matrix) }
    var shape: UnsafePointer<UInt64>?
    var dimensions: UInt64 = 0
    var answer: UnsafePointer<Float>?
    try functions.check(
      functions.predictMatrix(
        booster.pointer, matrix, contributing, &shape, &dimensions, &answer),
      "tell the contributions of features")
    return try Self.numbers(answer, shape, dimensions, expected: rows.rows * (width + 1))
  }

  /// NumPy's array interface, version 3, of rows that lie one after the other.
  private static func interface(
    of values: UnsafeBufferPointer<Double>, _ rows: FeatureMatrix
  ) -> String {
    let address = UInt(bitPattern: values.baseAddress)
    return
      "{\"data\":[\(address),true],\"shape\":[\(rows.rows),\(rows.width)],\"typestr\":\"<f8\",\"version\":3}"
  }

  private static func numbers(
    _ answer: UnsafePointer<Float>?, _ shape: UnsafePointer<UInt64>?, _ dimensions: UInt64,
    expected: Int
  ) throws -> [Double] {
    let found = (0..<Int(dimensions)).reduce(1) { $0 * Int(shape?[$1] ?? 0) }
    guard let answer, found == expected else {
      throw PlatformError(
        .internalError, "XGBoost answered \(found) numbers, expected \(expected)")
    }
    return UnsafeBufferPointer(start: answer, count: expected).map { Double($0) }
  }
}
