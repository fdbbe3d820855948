import Core
import Synchronization

/// A booster of LightGBM.
///
/// A row's configuration (`FastConfig`) has buffers of its own and is used by one thread at a time; each shares the booster, which
/// never changes. So there are as many as threads that ever scored at once.
final class LightGBMModel: ContributingModel {
  /// Up to here rows are scored one by one: preparing a call for many costs more than it saves.
  private static let fewRows = 8

  private let functions: LightGBMFunctions
  private let booster: ForeignHandle
  private let width: Int
  private let idle = Mutex<[ForeignHandle]>([])

  init(_ functions: LightGBMFunctions, _ model: NativeModelFile) throws {
    self.functions = functions
    width = model.width
    var handle: UnsafeMutableRawPointer?
    var iterations: CInt = 0
    let status = (model.bytes + [0]).withUnsafeBufferPointer { bytes in
      bytes.withMemoryRebound(to: CChar.self) { text in
        text.baseAddress.map { functions.load($0, &iterations, &handle) } ?? -1
      }
    }
    try functions.check(status, "read the model")
    guard let handle else { throw PlatformError(.internalError, "LightGBM read no model") }
    booster = ForeignHandle(pointer: handle)
    let found = (
      features: try functions.count(functions.featureCount, of: handle),
      outputs: try functions.count(functions.classCount, of: handle)
    )
    guard found.features == width, found.outputs == 1 else {
      throw PlatformError(
        .internalError,
        "the LightGBM model takes \(found.features) features for \(found.outputs) numbers, expected \(width) for one"
      )
    }
    // The first is made now, so that the first request finds it.
    let first = try prepared()
    idle.withLock { $0.append(first) }
  }

  deinit {
    for row in idle.withLock({ $0 }) { _ = functions.freeRow(row.pointer) }
    _ = functions.free(booster.pointer)
  }

  func tolerances(_ rows: FeatureMatrix) -> [Double]? { nil }

  func score(_ rows: FeatureMatrix) throws -> [Double] {
    var answers = [Double](repeating: 0, count: rows.rows)
    guard rows.rows > Self.fewRows else {
      try scoreFew(rows, into: &answers)
      return answers
    }
    try predict(rows, LightGBMFunctions.normal, into: &answers)
    return answers
  }

  private func scoreFew(_ rows: FeatureMatrix, into answers: inout [Double]) throws {
    let config = try idle.withLock { $0.popLast() } ?? prepared()
    defer { idle.withLock { $0.append(config) } }
    var length: Int64 = 0
    for row in 0..<rows.rows {
      let status = rows.values.withUnsafeBufferPointer { values in
        values.baseAddress.map {
          functions.predictRow(config.pointer, $0 + row * width, &length, &answers[row])
        } ?? -1
      }
      try functions.check(status, "score a row")
    }
  }

  private func prepared() throws -> ForeignHandle {
    var handle: UnsafeMutableRawPointer?
    try functions.check(
      functions.prepareRow(
        booster.pointer, LightGBMFunctions.normal, 0, -1, LightGBMFunctions.float64, Int32(width),
        LightGBMFunctions.parameters, &handle), "prepare for single rows")
    guard let handle else { throw PlatformError(.internalError, "LightGBM prepared nothing") }
    return ForeignHandle(pointer: handle)
  }

  private func predict(
    _ rows: FeatureMatrix, _ kind: CInt, into answers: inout [Double]
  ) throws {
    var length: Int64 = 0
    let status = rows.values.withUnsafeBufferPointer { values in
      values.baseAddress.map {
        functions.predictRows(
          booster.pointer, $0, LightGBMFunctions.float64, Int32(rows.rows), Int32(width), 1, kind,
          0, -1, LightGBMFunctions.parameters, &length, &answers)
      } ?? -1
    }
    try functions.check(status, "score \(rows.rows) rows")
    guard length == answers.count else {
      throw PlatformError(
        .internalError, "LightGBM answered \(length) numbers, expected \(answers.count)")
    }
  }

  /// LightGBM's own SHAP values (`pred_contrib`): the last column is the base.
  func contributions(_ rows: FeatureMatrix) throws -> [FeatureContributions] {
    guard rows.rows > 0 else { return [] }
    var answers = [Double](repeating: 0, count: rows.rows * (width + 1))
    try predict(rows, LightGBMFunctions.contribution, into: &answers)
    return (0..<rows.rows).map { row in
      let start = row * (width + 1)
      return FeatureContributions(
        base: answers[start + width], values: Array(answers[start..<start + width]))
    }
  }
}
