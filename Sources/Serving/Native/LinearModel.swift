import Core
import Foundation

/// Linear and logistic models behind scalers, as scikit-learn computes them.
///
/// Scalers do what NumPy does, operation by operation, and so agree to the bit. The sum of the products is computed in about twice
/// the precision of a double and rounded once (Ogita, Rump and Oishi, "Accurate sum and dot product", 2005, algorithm 5.3), because
/// the order in which NumPy's BLAS adds depends on the processor: its own answer lies within `tolerances` of the exact one.
struct LinearModel: NativeModel {
  private enum Scaler {
    case standard(mean: [Double]?, scale: [Double]?)
    case minMax(scale: [Double], minimum: [Double], clip: ClosedRange<Double>?)
  }

  /// Half a unit in the last place of 1.
  private static let unit = Double.ulpOfOne / 2

  private let features: [String]
  private let modelClass: String
  private let scalers: [Scaler]
  private let coefficients: [Double]
  private let intercept: Double
  private let isLogistic: Bool

  init(_ header: NativeFile.Header) throws {
    let features = header.features ?? []
    guard let coefficients = header.coefficients, coefficients.count == features.count,
      let intercept = header.intercept
    else { throw NativeFile.broken("its coefficients are not as many as its features") }
    switch header.link {
    case "identity": isLogistic = false
    case "logistic": isLogistic = true
    default: throw NativeFile.broken("its link is '\(header.link ?? "")'")
    }
    scalers = try (header.steps ?? []).map { try Self.scaler($0, features.count) }
    self.features = features
    self.coefficients = coefficients
    self.intercept = intercept
    modelClass = header.class
  }

  private static func scaler(_ step: NativeFile.Header.Scaler, _ width: Int) throws -> Scaler {
    for list in [step.mean, step.scale, step.minimum] where (list?.count ?? width) != width {
      throw NativeFile.broken("a scaler is for \(list?.count ?? 0) of \(width) features")
    }
    switch (step.scaler, step.scale, step.minimum) {
    case ("standard", _, _): return .standard(mean: step.mean, scale: step.scale)
    case ("min_max", let scale?, let minimum?):
      guard let bounds = step.clip else {
        return .minMax(scale: scale, minimum: minimum, clip: nil)
      }
      guard bounds.count == 2, bounds[0] <= bounds[1] else {
        throw NativeFile.broken("a scaler clips to \(bounds)")
      }
      return .minMax(scale: scale, minimum: minimum, clip: bounds[0]...bounds[1])
    default: throw NativeFile.broken("it has a scaler '\(step.scaler)'")
    }
  }

  func score(_ rows: FeatureMatrix) throws -> [Double] {
    try (0..<rows.rows).map { row in
      let inputs = scaled(rows, row)
      try check(inputs, rows, row)
      let sum = dot(inputs) + intercept
      return isLogistic ? 1 / (1 + exp(-sum)) : sum
    }
  }

  /// The forward error of a sum of products in any order, which both sides may have, and the last operations.
  func tolerances(_ rows: FeatureMatrix) -> [Double]? {
    let terms = Double(coefficients.count + 2)
    return (0..<rows.rows).map { row in
      let inputs = scaled(rows, row)
      let size = zip(inputs, coefficients).reduce(abs(intercept)) { $0 + abs($1.0 * $1.1) }
      let sum = 2 * terms * Self.unit * size
      guard isLogistic else { return sum }
      // The logistic function is nowhere steeper than p (1 - p) with p near the answer; its own rounding is relative to it.
      let answer = 1 / (1 + exp(-(dot(inputs) + intercept)))
      return 2 * sum * answer * (1 - answer) + 8 * Self.unit * answer
    }
  }

  private func scaled(_ rows: FeatureMatrix, _ row: Int) -> [Double] {
    var values = Array(rows.values[row * rows.width..<(row + 1) * rows.width])
    for scaler in scalers {
      switch scaler {
      case .standard(let mean, let scale):
        if let mean { for place in values.indices { values[place] -= mean[place] } }
        if let scale { for place in values.indices { values[place] /= scale[place] } }
      case .minMax(let scale, let minimum, let clip):
        for place in values.indices {
          values[place] *= scale[place]
          values[place] += minimum[place]
          if let clip, values[place].isFinite {
            values[place] = min(max(values[place], clip.lowerBound), clip.upperBound)
          }
        }
      }
    }
    return values
  }

  /// scikit-learn refuses what is missing or infinite, before the scalers or after them.
  private func check(_ inputs: [Double], _ rows: FeatureMatrix, _ row: Int) throws {
    let given = rows.values[row * rows.width..<(row + 1) * rows.width]
    guard
      let place = inputs.indices.first(where: {
        !inputs[$0].isFinite || !given[given.startIndex + $0].isFinite
      })
    else { return }
    let value = given[given.startIndex + place]
    throw PlatformError(
      .userCode,
      "\(modelClass) takes no \(value.isNaN ? "missing" : "infinite") value, but feature "
        + "'\(features[place])' has one in row \(row + 1); give the feature a value under `missing`, or train a model that takes nulls"
    )
  }

  private func dot(_ inputs: [Double]) -> Double {
    var sum = 0.0
    var rest = 0.0
    for place in coefficients.indices {
      let product = inputs[place] * coefficients[place]
      let productRest = (-product).addingProduct(inputs[place], coefficients[place])
      let next = sum + product
      let part = next - sum
      rest += ((sum - (next - part)) + (product - part)) + productRest
      sum = next
    }
    // An overflow on the way leaves no number in the rest.
    return rest.isFinite ? sum + rest : sum
  }
}
