import Core
import HTTPTypes
import Hummingbird
import NIOCore

/// `/invocations` and `/ping`: the scoring contract of MLflow and SageMaker.
struct ScoringRoutes {
  private static let model = HTTPField.Name("X-Martlet-Model")
  private static let version = HTTPField.Name("X-Martlet-Model-Version")

  let services: PlatformServices
  private var inference: InferenceService { InferenceService(services: services) }

  func add(to router: Router<HTTPRouter.Context>) {
    router.get("ping") { _, _ in
      Response(status: inference.isReady ? .ok : .serviceUnavailable)
    }
    router.post("invocations") { request, _ in
      let name = try modelName(request)
      let version = Self.version.flatMap { request.headers[$0] }
      let body = ScoringBody(try inference.signature(of: name, version))
      let call = try read(try await request.inflated(), Self.mediaType(request), body)
      let answer = try await inference.infer(call, model: name, version: version)
      return try Self.answer(answer, to: request)
    }
  }

  /// That of the header, of the configuration, or the only one there is.
  private func modelName(_ request: Request) throws -> String {
    if let name = Self.model.flatMap({ request.headers[$0] }), !name.isEmpty { return name }
    if let name = services.configuration.serving.defaultModel { return name }
    let models = services.online.visible.current.project.models.map(\.name)
    if models.count == 1 { return models[0] }
    throw PlatformError(
      .invalidArgument,
      "say which model is meant: send the header X-Martlet-Model, or set serving.default_model"
        + suggestion(for: "", among: models))
  }

  /// The type alone, without its parameters; JSON where none is given.
  private static func mediaType(_ request: Request) -> String {
    let type = request.headers[.contentType]?.prefix { $0 != ";" && $0 != " " }.lowercased()
    return type ?? "application/json"
  }

  private func read(
    _ bytes: ByteBuffer, _ type: String, _ body: ScoringBody
  ) throws -> InferenceCall {
    try bytes.withUnsafeReadableBytes { bytes in
      let bytes = bytes.bindMemory(to: UInt8.self)
      switch type {
      case "application/json": return try body.call(json: bytes)
      case "text/csv": return try body.call(csv: bytes)
      default:
        throw PlatformError(
          .invalidArgument,
          "/invocations takes the content types application/json and text/csv, not '\(type)'")
      }
    }
  }

  /// `{"predictions": […]}`; one a line where the caller accepts nothing but CSV.
  private static func answer(_ answer: InferenceAnswer, to request: Request) throws -> Response {
    guard case .double(let values)? = answer.outputs.first?.tensor.elements else {
      throw PlatformError(.internalError, "a model's predictions are no numbers")
    }
    if request.headers[.accept]?.lowercased().hasPrefix("text/csv") ?? false {
      return JSONResponse.text(
        values.map { "\($0)\n" }.joined(), contentType: "text/csv; charset=utf-8")
    }
    var json = Array("{\"predictions\":[".utf8)
    FeatureJSON.separated(values, into: &json) { JSON.write($0, into: &$1) }
    json += Array("]}".utf8)
    return JSONResponse.bytes(json)
  }
}
