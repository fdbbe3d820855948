import Core
import Features
import Foundation
import HTTPTypes
import Hummingbird
import Metrics
import NIOCore

/// Feature values: the list, online reads, history.
struct FeatureRoutes {
  let services: PlatformServices
  private let readTimer = Metrics.Timer(
    label: "martlet_online_read_seconds", dimensions: [("transport", "rest")])

  private let lists = FeatureLists()

  init(services: PlatformServices) { self.services = services }

  func add(to router: RouterGroup<HTTPRouter.Context>) {
    router.get("features") { _, _ in list() }
    router.post("features/online") { request, _ in
      let start = DispatchTime.now().uptimeNanoseconds
      let question = try OnlineReadJSON.question(
        try await request.collected(), lists: lists, snapshot: services.online.visible.current)
      let answer = try await services.answer(question)
      let response = JSONResponse.buffer(OnlineReadJSON.answer(question.list, answer))
      readTimer.recordNanoseconds(Int64(DispatchTime.now().uptimeNanoseconds - start))
      return response
    }
    router.get("features/sets") { _, _ in sets() }
    router.post("features/rebuild") { request, _ in
      JSONResponse.ok(try await rebuild(try await request.json()))
    }
    router.get("features/freshness") { request, _ in
      let views = request.query("views")?.split(separator: ",").map(String.init) ?? []
      return JSONResponse.ok(try freshness(of: views))
    }
    router.post("features/history") { request, _ in
      let call = try HistoryCall(
        features: request.requiredQuery("features").split(separator: ",").map(String.init),
        time: request.query("time"), mode: request.query("mode"),
        spineFormat: request.query("spine_format"), spineName: request.query("spine_name"),
        format: request.query("format"), definitions: request.wholeQuery("definitions"))
      return try await services.spool.withFile { spine in
        try await services.spool.write(request.body, to: spine)
        return try await services.spool.withFile { output in
          let report = try await services.history(call, spine: spine, output: output)
          var headers = HTTPFields()
          report.add(to: &headers)
          return try FileResponse.make(path: output, format: call.format, headers: headers)
        }
      }
    }
  }

  private func rebuild(_ body: JSON) async throws -> JSON {
    let views = try body["views"].map { (views: JSON) -> [String] in
      guard let items = views.array else {
        throw PlatformError(.invalidArgument, "'views' must be a list of names; without it all are")
      }
      return try items.isEmpty ? [] : FeatureJSON.names(views, field: "views")
    }
    guard let limit = (body["limit"] ?? .int(100)).int, 0...10_000 ~= limit else {
      throw PlatformError(.invalidArgument, "'limit' must be a number from 0 to 10000")
    }
    guard let verifies = (body["verify"] ?? .bool(false)).bool else {
      throw PlatformError(.invalidArgument, "'verify' must be true or false")
    }
    let reports = try await services.online.rebuild(
      views ?? [], verifiesOnly: verifies, limit: Int(limit))
    return .object(["views": .array(reports.map(\.json))])
  }

  private func sets() -> Response {
    let sets = services.featureSets.map { model in
      JSON.object([
        "name": .string(model.name),
        "features": .array(model.features.map { .string($0.name) }),
        "entities": .array(model.entities.map(JSON.string)),
        "inputs": .object(model.inputs.map { .init($0.name, .string($0.type.rawValue)) }),
      ])
    }
    return JSONResponse.ok(.object(["sets": .array(sets)]))
  }

  private func freshness(of views: [String]) throws -> JSON {
    let now = services.clock.now
    let all = try services.freshness(of: views).map { $0.json(at: now) }
    return .object(["time": .string(now.description), "views": .array(all)])
  }

  private func list() -> Response {
    let snapshot = services.catalog.changes.current
    let (project, layouts) = (snapshot.project, snapshot.layouts)
    let features = project.views.flatMap { view in
      view.features.map { feature in
        JSON.object([
          "name": .string("\(view.name).\(feature.name)"), "type": .string(feature.type.rawValue),
          "entity": .string(view.entity), "source": .string(view.source),
          "key": .object(
            zip(layouts[view.name]?.keyColumns ?? [], layouts[view.name]?.keyTypes ?? [])
              .map { JSON.Member($0, .string($1.rawValue)) }),
          "what": .string(feature.kind.summary),
        ])
      }
    }
    return JSONResponse.ok(.object(["features": .array(features)]))
  }
}

extension ViewFreshness {
  func json(at now: Timestamp) -> JSON {
    .object([
      "view": .string(view), "source": .string(source),
      "newest_event": newest.map { .string($0.description) } ?? .null,
      "age_seconds": age(at: now).map { .double($0.inSeconds) } ?? .null,
      "newest_future_event": furthestAhead.map { .string($0.description) } ?? .null,
    ])
  }
}

extension RebuildReport {
  fileprivate var json: JSON {
    .object([
      "view": .string(view), "keys": .int(Int64(keys)), "differing": .int(Int64(differing)),
      "mended": .int(Int64(mended)),
      "differences": .array(
        differences.map { one in
          .object([
            "key": .string(one.key), "feature": .string(one.feature), "stored": .string(one.stored),
            "expected": .string(one.expected),
          ])
        }),
    ])
  }
}

extension TrainingSet.Report {
  /// Rows of the spine, those with a null key or time, and the events that were looked at.
  fileprivate func add(to headers: inout HTTPFields) {
    for (name, count) in [
      ("martlet-rows", rows), ("martlet-incomplete-rows", nullKeyOrTime),
      ("martlet-events-read", eventsRead),
    ] {
      if let name = HTTPField.Name(name) { headers[name] = "\(count)" }
    }
  }
}

/// `view.feature` texts of requests.
enum FeatureNames {
  static func parse(_ texts: [String]) throws -> [FeatureName] {
    guard !texts.isEmpty else {
      throw PlatformError(
        .invalidArgument, "no features are asked for; name at least one, as view.feature")
    }
    return try texts.map { text in
      guard let name = FeatureName(text) else {
        throw PlatformError(.invalidArgument, "'\(text)' is not a feature; write view.feature")
      }
      return name
    }
  }
}

extension FeatureKind {
  /// The feature in a few words, as in a list.
  var summary: String {
    switch self {
    case .latest(let column, let ttl): "latest \(column)" + (ttl.map { ", ttl \($0)" } ?? "")
    case .window(let window):
      "\(window.function.rawValue) \(window.column ?? "*") over \(window.length)"
        + (window.filter.map { " where \($0.text)" } ?? "")
    case .derived(let expression): "= \(expression.text)"
    }
  }
}
