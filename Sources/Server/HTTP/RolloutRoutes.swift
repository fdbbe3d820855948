import Catalog
import Core
import Foundation
import Hummingbird
import Serving

/// Canaries, shadows and what was decided about them.
struct RolloutRoutes {
  let services: PlatformServices

  func add(to router: RouterGroup<HTTPRouter.Context>) {
    router.post("models/:model/versions/:version/canary") { request, context in
      let body = try await request.json()
      let found = try services.version(context.name("model"), context.name("version"))
      let canary = try await services.catalog.startCanary(
        model: found.model, version: found.version, share: try share(body["share"]),
        who: body["who"]?.string ?? "api", why: body["why"]?.string ?? "")
      return JSONResponse.ok(ModelRoutes(services: services).version(canary))
    }
    router.post("models/:model/versions/:version/shadow") { request, context in
      let body = try await request.json()
      let found = try services.version(context.name("model"), context.name("version"))
      let shadow = try await services.catalog.startShadow(
        model: found.model, version: found.version, who: body["who"]?.string ?? "api",
        why: body["why"]?.string ?? "")
      return JSONResponse.ok(ModelRoutes(services: services).version(shadow))
    }
    router.post("models/:model/rollback") { request, context in
      let body = try await request.json()
      let model = try context.name("model")
      try services.requireModel(model)
      let production = try await services.catalog.rollBack(
        model: model, who: body["who"]?.string ?? "api", why: body["why"]?.string ?? "")
      return JSONResponse.ok(ModelRoutes(services: services).version(production))
    }
    router.get("models/:model/rollout") { _, context in
      let model = try context.name("model")
      try services.requireModel(model)
      return JSONResponse.ok(try await rollout(model))
    }
    router.get("models/:model/latency") { _, context in
      let model = try context.name("model")
      try services.requireModel(model)
      return JSONResponse.ok(
        LatencyJSON.reports(services.served.metrics(of: model).latencies, model))
    }
    router.post("models/:model/labels") { request, context in
      let model = try context.name("model")
      try services.requireModel(model)
      let count = try await services.push(labels: try await request.json(), of: model)
      return JSONResponse.ok(.object(["stored": .int(Int64(count))]))
    }
  }

  /// `0.1` or `"10%"`.
  private func share(_ json: JSON?) throws -> Double? {
    guard let json, json != .null else { return nil }
    if let number = json.number { return number }
    if let text = json.string, text.hasSuffix("%"), let percent = Double(text.dropLast()) {
      return percent / 100
    }
    throw PlatformError(
      .invalidArgument, "'share' must be a share of the keys like 0.1 or \"10%\", not \(json.text)")
  }

  private func rollout(_ model: String) async throws -> JSON {
    let snapshot = services.catalog.changes.current
    let decisions = try await services.catalog.rolloutDecisions(of: model)
    let definition = snapshot.project.model(model)
    var standing: RolloutWatch.Standing?
    if let definition { standing = try await services.rollouts.standing(of: definition) }
    return .object([
      "model": .string(model),
      "production": snapshot.production(of: model).map { .int($0.version) } ?? .null,
      "shadow": snapshot.version(of: model, in: .shadow).map { .int($0.version) } ?? .null,
      "canary": snapshot.canaries[model].map(canary) ?? .null,
      "load_error": services.served.failure(of: model, in: .canary).map { .string($0) } ?? .null,
      "standing": try standing.map(Self.json) ?? .null,
      "decisions": .array(try decisions.map(decision)),
    ])
  }

  private static func json(_ standing: RolloutWatch.Standing) throws -> JSON {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys]
    return try JSON(parsing: Array(try encoder.encode(standing)))
  }

  private func canary(_ canary: CanaryState) -> JSON {
    .object([
      "version": .int(canary.version), "share": .double(canary.share),
      "since": .string(canary.since.description),
    ])
  }

  private func decision(_ decision: RolloutDecisionRecord) throws -> JSON {
    .object([
      "version": .int(decision.version), "decision": .string(decision.kind.rawValue),
      "share": decision.share.map { .double($0) } ?? .null, "who": .string(decision.who),
      "why": .string(decision.why), "at": .string(decision.at.description),
      "evidence": try decision.evidence.map { try JSON(parsing: Array($0.utf8)) } ?? .null,
    ])
  }
}
