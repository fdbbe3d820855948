import Core
import Foundation

/// How good predictions are on the evaluation slice.
package enum Evaluation {
  /// The metric, nil where it is not defined (an AUC of one class, no rows).
  package static func score(
    _ metric: TrainingDefinition.Metric, predictions: [Double], labels: [Double]
  ) -> Double? {
    guard !labels.isEmpty, predictions.count == labels.count else { return nil }
    switch metric {
    case .rocAUC: return rocAUC(predictions, labels)
    case .logLoss:
      return mean(predictions, labels) { prediction, label in
        let p = min(max(prediction, 1e-15), 1 - 1e-15)
        return label > 0.5 ? -log(p) : -log(1 - p)
      }
    case .accuracy: return mean(predictions, labels) { ($0 > 0.5) == ($1 > 0.5) ? 1 : 0 }
    case .rmse: return mean(predictions, labels) { ($0 - $1) * ($0 - $1) }.squareRoot()
    case .mae: return mean(predictions, labels) { abs($0 - $1) }
    }
  }

  /// Whether `new` is at least as good as `old` by this metric.
  package static func isAtLeast(
    _ new: Double, asGoodAs old: Double, by metric: TrainingDefinition.Metric
  ) -> Bool {
    switch metric {
    case .rocAUC, .accuracy: new >= old
    case .logLoss, .rmse, .mae: new <= old
    }
  }

  private static func mean(
    _ predictions: [Double], _ labels: [Double], _ loss: (Double, Double) -> Double
  ) -> Double {
    zip(predictions, labels).reduce(0) { $0 + loss($1.0, $1.1) } / Double(labels.count)
  }

  /// The area under the ROC curve by the rank-sum (Mann–Whitney) statistic; tied predictions share their mean rank.
  static func rocAUC(_ predictions: [Double], _ labels: [Double]) -> Double? {
    let order = predictions.indices.sorted { predictions[$0] < predictions[$1] }
    let positives = labels.count { $0 > 0.5 }
    let negatives = labels.count - positives
    guard positives > 0, negatives > 0 else { return nil }
    var rankSum = 0.0
    var start = 0
    while start < order.count {
      var end = start
      while end < order.count, predictions[order[end]] == predictions[order[start]] { end += 1 }
      let rank = Double(start + end + 1) / 2
      rankSum += rank * Double(order[start..<end].count { labels[$0] > 0.5 })
      start = end
    }
    let u = rankSum - Double(positives) * Double(positives + 1) / 2
    return u / (Double(positives) * Double(negatives))
  }
}
