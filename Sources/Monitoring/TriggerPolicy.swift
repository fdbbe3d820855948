import Core

/// Why a model should be trained again.
package struct Trigger: Sendable, Equatable {
  package var model: String
  package var version: Int64
  package var score: Double
  package var feature: String
  package var reason: String
}

/// When drift files a retrain job: a pure rule over the last report and what was filed before.
package struct TriggerPolicy: Sendable {
  /// What was decided, and why not where nothing was filed.
  package enum Decision: Sendable, Equatable {
    case fire(Trigger)
    case watchOnly
    case tooFewRows(Int, needed: Int)
    case belowThreshold(Double)
    case inFlight
    case coolingDown(until: Timestamp)
  }

  /// - Parameters:
  ///   - lastTriggered: when the last retrain job of this model was filed by drift.
  ///   - inFlight: whether a training job of the model is pending or running.
  package static func evaluate(
    _ report: DriftReport, _ rule: DriftDefinition, lastTriggered: Timestamp?, inFlight: Bool,
    now: Timestamp
  ) -> Decision {
    guard let threshold = rule.retrainAbove else { return .watchOnly }
    guard report.rows >= rule.minimumRows else {
      return .tooFewRows(report.rows, needed: rule.minimumRows)
    }
    guard let worst = report.features.max(by: { $0.psi < $1.psi }), worst.psi > threshold else {
      return .belowThreshold(report.score)
    }
    if inFlight { return .inFlight }
    if let last = lastTriggered, now < last + rule.coolDown {
      return .coolingDown(until: last + rule.coolDown)
    }
    let score = (worst.psi * 1000).rounded() / 1000
    return .fire(
      Trigger(
        model: report.model, version: report.version, score: worst.psi, feature: worst.feature,
        reason: "drift: PSI \(score) of \(worst.feature) is above \(threshold)"))
  }
}
