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

  init(services: PlatformServices) { self.services = services }

  func add(to router: RouterGroup<HTTPRouter.Context>) {
    router.get("features") { _, _ in list() }
    router.post("features/online") { request, _ in
      let start = DispatchTime.now().uptimeNanoseconds
      let body = try await request.json()
      let names = try FeatureJSON.names(body["features"], field: "features")
      let rows = try FeatureJSON.rows(body["entities"] ?? .null, field: "entities")
      let answer = try await services.hydrator.hydrate(
        HydrateRequest(features: try FeatureNames.parse(names), rows: rows))
      let response = JSONResponse.bytes(FeatureJSON.answer(features: names, rows: answer.vectors))
      readTimer.recordNanoseconds(Int64(DispatchTime.now().uptimeNanoseconds - start))
      return response
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
          let bytes = try Data(contentsOf: URL(fileURLWithPath: output), options: .alwaysMapped)
          var headers: HTTPFields = [
            .contentType: call.format == .csv ? "text/csv" : "application/vnd.apache.parquet"
          ]
          report.add(to: &headers)
          return Response(
            status: .ok, headers: headers,
            body: ResponseBody(byteBuffer: ByteBuffer(bytes: bytes)))
        }
      }
    }
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
