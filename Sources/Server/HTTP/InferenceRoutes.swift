import Core
import HTTPTypes
import Hummingbird
import NIOCore

/// The Open Inference Protocol v2 over HTTP, with Triton's extensions.
struct InferenceRoutes {
  static let headerLength = HTTPField.Name("Inference-Header-Content-Length")

  let services: PlatformServices
  private var inference: InferenceService { InferenceService(services: services) }

  func add(to router: Router<HTTPRouter.Context>) {
    router.get("v2") { _, _ in JSONResponse.ok(ModelFacts.server) }
    router.get("v2/health/live") { _, _ in JSONResponse.ok(.object(["live": .bool(true)])) }
    router.get("v2/health/ready") { _, _ in
      readiness(inference.isReady, .object(["ready": .bool(inference.isReady)]))
    }
    addStatistics(to: router.group("v2"))
    addRepository(to: router.group("v2/repository"))
    addModel(to: router.group("v2/models/:model"))
    addModel(to: router.group("v2/models/:model/versions/:version"))
  }

  private func readiness(_ isReady: Bool, _ body: JSON) -> Response {
    var response = JSONResponse.ok(body)
    if !isReady { response.status = .serviceUnavailable }
    return response
  }

  // MARK: A model

  private func addModel(to router: RouterGroup<HTTPRouter.Context>) {
    router.get { _, context in
      JSONResponse.ok(
        try inference.facts(of: context.name("model"), version: version(context)).metadata)
    }
    router.get("ready") { _, context in
      let name = try context.name("model")
      let isReady = try inference.isReady(name, version: version(context))
      return readiness(isReady, .object(["name": .string(name), "ready": .bool(isReady)]))
    }
    router.get("config") { _, context in
      JSONResponse.ok(
        try inference.facts(of: context.name("model"), version: version(context)).configuration)
    }
    router.get("stats") { _, context in
      statistics(try inference.statistics(of: context.name("model"), version: version(context)))
    }
    router.post("infer") { request, context in
      let name = try context.name("model")
      let version = try version(context)
      let header = try Self.header(of: request)
      let body = try await request.inflated()
      let call = try read(body, header: header, model: name, version: version)
      return try Self.answer(
        try await inference.infer(call, model: name, version: version), to: request)
    }
  }

  private func version(_ context: HTTPRouter.Context) throws -> String? {
    try context.parameters.get("version").map { _ in try context.name("version") }
  }

  /// The bytes of JSON that the request states; nil is all of them, 0 none.
  private static func header(of request: Request) throws -> Int? {
    guard let name = headerLength, let text = request.headers[name] else { return nil }
    guard let length = Int(text), length >= 0 else {
      throw PlatformError(
        .invalidArgument,
        "Inference-Header-Content-Length must be the number of bytes of JSON, not '\(text)'")
    }
    return length
  }

  private func read(
    _ body: ByteBuffer, header: Int?, model: String, version: String?
  ) throws -> InferenceCall {
    try body.withUnsafeReadableBytes { bytes in
      header == 0
        ? try inference.rawCall(bytes, model: model, version: version)
        : try InferenceReader.read(bytes, header: header)
    }
  }

  private static func answer(_ answer: InferenceAnswer, to request: Request) throws -> Response {
    let (bytes, header) = answer.body()
    let (body, coding) = try BodyCoding.deflated(bytes, accepted: request.headers[.acceptEncoding])
    var response = JSONResponse.buffer(body)
    if let coding { response.headers[.contentEncoding] = coding }
    if let header, let name = headerLength {
      response.headers[.contentType] = "application/octet-stream"
      response.headers[name] = String(header)
    }
    return response
  }

  // MARK: Statistics and repository

  private func addStatistics(to router: RouterGroup<HTTPRouter.Context>) {
    router.get("models/stats") { _, _ in
      statistics(try inference.statistics(of: nil, version: nil))
    }
  }

  private func statistics(_ entries: [InferenceStatistics.Entry]) -> Response {
    JSONResponse.ok(.object(["model_stats": .array(entries.map(\.json))]))
  }

  private func addRepository(to router: RouterGroup<HTTPRouter.Context>) {
    router.post("index") { request, _ in
      let body = try await request.json()
      let entries = inference.index(ready: body["ready"]?.bool ?? false)
      return JSONResponse.ok(
        .array(
          entries.map { entry in
            .object([
              "name": .string(entry.model), "version": .string(entry.version),
              "state": .string(entry.isReady ? "READY" : "UNAVAILABLE"),
              "reason": .string(entry.reason),
            ])
          }))
    }
    router.post("models/:model/load") { request, context in
      try InferenceService.checkLoad(try await request.json()["parameters"])
      try await inference.load(context.name("model"))
      return JSONResponse.ok(.object([JSON.Member]()))
    }
    router.post("models/:model/unload") { _, context in
      try inference.unload(context.name("model"))
      return JSONResponse.ok(.object([JSON.Member]()))
    }
  }
}
