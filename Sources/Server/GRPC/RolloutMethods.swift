import Catalog
import Core
import GRPCCore
import Serving
import Wire

/// Canaries and shadows over gRPC.
extension RegistryService {
  func startCanary(
    request: Martlet_V1_StartCanaryRequest, context: ServerContext
  ) async throws -> Martlet_V1_ModelVersion {
    let found = try services.version(request.model, String(request.version))
    return Martlet_V1_ModelVersion(
      try await services.catalog.startCanary(
        model: found.model, version: found.version,
        share: request.share == 0 ? nil : request.share, who: "api", why: request.why))
  }

  func startShadow(
    request: Martlet_V1_ArchiveRequest, context: ServerContext
  ) async throws -> Martlet_V1_ModelVersion {
    let found = try services.version(request.model, String(request.version))
    return Martlet_V1_ModelVersion(
      try await services.catalog.startShadow(
        model: found.model, version: found.version, who: "api", why: request.why))
  }

  func rollback(
    request: Martlet_V1_RollbackRequest, context: ServerContext
  ) async throws -> Martlet_V1_ModelVersion {
    try services.requireModel(request.model)
    return Martlet_V1_ModelVersion(
      try await services.catalog.rollBack(model: request.model, who: "api", why: request.why))
  }

  func getRollout(
    request: Martlet_V1_RollbackRequest, context: ServerContext
  ) async throws -> Martlet_V1_Rollout {
    try services.requireModel(request.model)
    let snapshot = services.catalog.changes.current
    var rollout = Martlet_V1_Rollout()
    rollout.model = request.model
    rollout.production = snapshot.production(of: request.model)?.version ?? 0
    rollout.shadow = snapshot.version(of: request.model, in: .shadow)?.version ?? 0
    if let canary = snapshot.canaries[request.model] {
      rollout.canary = canary.version
      rollout.share = canary.share
      rollout.since = canary.since.wire
    }
    rollout.decisions = try await services.catalog.rolloutDecisions(of: request.model)
      .map(Martlet_V1_RolloutDecision.init)
    return rollout
  }
}

extension Martlet_V1_RolloutDecision {
  fileprivate init(_ decision: RolloutDecisionRecord) {
    self.init()
    version = decision.version
    self.decision = decision.kind.rawValue
    share = decision.share ?? 0
    who = decision.who
    why = decision.why
    evidence = decision.evidence ?? ""
    at = decision.at.wire
  }
}

extension Martlet_V1_Explanation {
  init(_ prediction: Prediction) {
    self.init()
    stage = prediction.stage.rawValue
    why = prediction.route.why
    guard let explanation = prediction.explanation else { return }
    position = explanation.position
    for (name, value) in zip(prediction.featureNames, explanation.given) {
      given[name] = value.wire
    }
  }
}
