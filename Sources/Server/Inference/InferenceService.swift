import Core
import Serving

/// The Open Inference Protocol over the platform's services; REST and gRPC call this and translate.
struct InferenceService: Sendable {
  let services: PlatformServices

  /// - Parameters:
  ///   - version: as the caller wrote it; nil and empty is the one in production.
  ///   - deadline: what is left of the call's own; the request's parameter `timeout` bounds it too.
  func infer(
    _ call: InferenceCall, model name: String, version: String?, deadline: Span? = nil
  ) async throws -> InferenceAnswer {
    let signature = try signature(of: name, version)
    try call.checkParameters()
    try check(call.outputs, signature.features)
    var request = PredictRequest(
      model: name, version: signature.number, rows: [], requestID: call.id)
    // The protocol's answers name one version.
    request.wantsOneVersion = true
    request.timeout = [try call.timeout(), deadline].compactMap { $0 }.min()
    try InferenceRows(signature).fill(&request, from: call)
    let priority = try call.priority() ?? CallPriority.current
    let answer = try await CallPriority.$current.withValue(priority) { [request] in
      try await services.predict(request)
    }
    return try InferenceAnswer(answer, to: call)
  }

  /// Before anything is computed; the answering version may still differ.
  private func check(_ outputs: [InferenceCall.Output], _ features: [ModelFeature]) throws {
    for output in outputs where output.name != InferenceAnswer.prediction {
      guard features.contains(where: { $0.name == output.name }) else {
        throw InferenceAnswer.noOutput(output.name, features: features.map(\.name))
      }
    }
  }

  /// - Throws: `not_found` for a model or version that there is not.
  func signature(of model: String, _ version: String?) throws -> InferenceSignature {
    try services.signatures.signature(
      of: model, version ?? "", in: services.online.visible.current)
  }
}

/// How callers name versions: `3`, `v3`, or a stage that a version is in.
enum ModelVersionName {
  /// Nil where the caller leaves the choice to the platform.
  ///
  /// - Throws: `not_found` where the model has no such version.
  static func number(
    _ text: String?, of model: String, in snapshot: Snapshot
  ) throws -> Int64? {
    guard let text, !text.isEmpty else { return nil }
    let versions = snapshot.models[model] ?? []
    let digits = text.first == "v" || text.first == "V" ? text.dropFirst() : text[...]
    if let number = Int64(digits), versions.contains(where: { $0.version == number }) {
      return number
    }
    if let stage = ModelStage(rawValue: text.lowercased()) {
      if let found = versions.first(where: { $0.stage == stage }) { return found.version }
      throw PlatformError(
        .notFound, "no version of model '\(model)' is in stage '\(stage.rawValue)'")
    }
    throw PlatformError(
      .notFound,
      "model '\(model)' has no version '\(text)'"
        + suggestion(for: text, among: versions.map { String($0.version) }))
  }
}
