import Core
import Features
import GRPCCore
import Wire

extension FeatureStoreService {
  func verifyFeatures(
    request: Martlet_V1_VerifyFeaturesRequest, context: ServerContext
  ) async throws -> Martlet_V1_VerifyFeaturesResponse {
    let outcome = try await FeatureVerification(services: services).run(
      VerificationCall(
        isLive: request.live, model: request.model, window: request.window, views: request.views,
        vectors: request.sample == 0 ? nil : Int64(request.sample), threshold: request.threshold))
    var response = Martlet_V1_VerifyFeaturesResponse()
    response.passed = outcome.isPassed
    response.vectors = UInt64(outcome.report.vectors)
    response.compared = UInt64(outcome.report.comparedValues)
    response.mismatches = UInt64(outcome.report.wrong.count)
    response.inFlight = UInt64(outcome.report.count(.inFlight))
    response.pastRetention = UInt64(outcome.report.count(.pastRetention))
    response.mismatchShare = outcome.report.mismatchShare
    response.ofFormerDefinitions = UInt64(outcome.ofFormerDefinitions)
    response.features = outcome.features.map { feature in
      var wire = Martlet_V1_VerifiedFeature()
      wire.feature = feature.name.description
      wire.compared = UInt64(feature.compared)
      for cause in feature.causes { wire.causes[cause.cause.rawValue] = UInt64(cause.count) }
      return wire
    }
    response.examples = outcome.report.mismatches.prefix(VerificationOutcome.examples).map(\.wire)
    return response
  }
}

extension FeatureStoreService {
  func backfill(
    request: Martlet_V1_BackfillRequest, context: ServerContext
  ) async throws -> Martlet_V1_Job {
    Martlet_V1_Job(
      try await services.backfill(
        BackfillCall(
          request.source.isEmpty ? request.view : "source:\(request.source)",
          reason: request.reason,
          rowsPerSecond: request.rowsPerSecond == 0 ? nil : Int64(clamping: request.rowsPerSecond),
          from: request.hasFrom ? try Timestamp(request.from) : nil,
          to: request.hasTo ? try Timestamp(request.to) : nil)))
  }
}

extension ParityCheck.Mismatch {
  fileprivate var wire: Martlet_V1_FeatureMismatch {
    var wire = Martlet_V1_FeatureMismatch()
    wire.request = id
    wire.feature = feature.description
    wire.time = time.wire
    wire.cause = cause.rawValue
    wire.served = served.wire
    wire.recomputed = recomputed.wire
    return wire
  }
}
