import Core
import Features
import Hummingbird

/// Parity of served features with the warehouse.
struct VerificationRoutes {
  let services: PlatformServices

  func add(to router: RouterGroup<HTTPRouter.Context>) {
    router.post("features/verify") { request, _ in
      let body = try await request.json()
      let call = try VerificationCall(
        isLive: body["live"]?.bool ?? false, model: body["model"]?.string,
        window: body["window"]?.string,
        views: (body["views"]?.array ?? []).map { $0.string ?? $0.text },
        vectors: try whole(body["sample"]), threshold: try share(body["threshold"]))
      return JSONResponse.ok(try await FeatureVerification(services: services).run(call).json)
    }
  }

  private func whole(_ json: JSON?) throws -> Int64? {
    guard let json, json != .null else { return nil }
    guard let number = json.int else {
      throw PlatformError(.invalidArgument, "'sample' must be a whole number, not \(json.text)")
    }
    return number
  }

  private func share(_ json: JSON?) throws -> Double? {
    guard let json, json != .null else { return nil }
    guard let number = json.number else {
      throw PlatformError(.invalidArgument, "'threshold' must be a number, not \(json.text)")
    }
    return number
  }
}

extension VerificationOutcome {
  /// Mismatches that are shown one by one.
  static let examples = 20

  var json: JSON {
    .object([
      "passed": .bool(isPassed), "vectors": .int(Int64(report.vectors)),
      "compared": .int(Int64(report.comparedValues)),
      "mismatches": .int(Int64(report.wrong.count)),
      "in_flight": .int(Int64(report.count(.inFlight))),
      "past_retention": .int(Int64(report.count(.pastRetention))),
      "mismatch_share": .double(report.mismatchShare), "threshold": .double(threshold),
      "of_former_definitions": .int(Int64(ofFormerDefinitions)),
      "features": .array(features.map(\.json)),
      "examples": .array(report.mismatches.prefix(Self.examples).map(\.json)),
    ])
  }

  struct Feature {
    var name: FeatureName
    var compared: Int
    /// How often each cause was found; only those that were.
    var causes: [(cause: ParityCheck.Cause, count: Int)]

    fileprivate var json: JSON {
      .object([
        "feature": .string(name.description), "compared": .int(Int64(compared)),
        "causes": .object(
          causes.map { JSON.Member($0.cause.rawValue, .int(Int64($0.count))) }),
      ])
    }
  }

  /// By name.
  var features: [Feature] {
    let found = Dictionary(grouping: report.mismatches, by: \.feature)
    return report.compared.sorted { $0.key.description < $1.key.description }.map { name, count in
      let causes = ParityCheck.Cause.allCases.map { cause in
        (cause: cause, count: (found[name] ?? []).count { $0.cause == cause })
      }
      return Feature(name: name, compared: count, causes: causes.filter { $0.count > 0 })
    }
  }
}

extension ParityCheck.Mismatch {
  fileprivate var json: JSON {
    .object([
      "request": .string(id), "feature": .string(feature.description),
      "time": .string(time.description), "cause": .string(cause.rawValue),
      "served": JSON(served.value), "served_status": .string(served.status.rawValue),
      "recomputed": JSON(recomputed.value),
      "recomputed_status": .string(recomputed.status.rawValue),
    ])
  }
}
