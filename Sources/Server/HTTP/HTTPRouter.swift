import Core
import Foundation
import Hummingbird
import NIOCore

/// Every REST route of the platform; each group of routes is one file beside this one.
struct HTTPRouter {
  typealias Context = BasicRequestContext

  let services: PlatformServices

  func build() -> Router<Context> {
    // What there is, for who asks with another method.
    let plain = Router(context: Context.self)
    addRoutes(to: plain)
    let router = Router(context: Context.self)
    router.add(middleware: ErrorTranslation(routes: KnownRoutes(plain)))
    if let token = services.configuration.server.token {
      router.add(middleware: TokenCheck(token: token.value))
    }
    router.add(middleware: QueryCheck())
    router.add(middleware: PriorityHeader())
    addRoutes(to: router)
    return router
  }

  private func addRoutes(to router: Router<Context>) {
    PlatformRoutes(services: services).add(to: router)
    InferenceRoutes(services: services).add(to: router)
    ScoringRoutes(services: services).add(to: router)
    let api = router.group("/api/v1")
    DefinitionRoutes(services: services).add(to: api)
    FeatureRoutes(services: services).add(to: api)
    DatasetRoutes(services: services).add(to: api)
    VerificationRoutes(services: services).add(to: api)
    IngestRoutes(services: services).add(to: api)
    QuarantineRoutes(services: services).add(to: api)
    ErasureRoutes(services: services).add(to: api)
    ModelRoutes(services: services).add(to: api)
    RolloutRoutes(services: services).add(to: api)
    RegistryRoutes(services: services).add(to: api)
    JobRoutes(services: services).add(to: api)
    LineageRoutes(services: services).add(to: api)
    WarehouseRoutes(services: services).add(to: api)
    BackupRoutes(services: services).add(to: api)
    MLflowRoutes(services: services).add(to: router)
    MLflowArtifacts(services: services).add(to: router)
    addDocument(to: router)
  }

  /// The description of all routes that are ours to describe, made from them.
  private func addDocument(to router: Router<Context>) {
    let routes =
      router.routes.filter {
        let path = $0.path.description
        return path != "/api/v1/echo" && !path.hasPrefix("/api/2.0/")
      }
      .map { (method: $0.method.rawValue, path: $0.path.description) }
      + APIDocument.paths.map { (method: "GET", path: $0) }
    let document = Result { try APIDocument.make(routes: routes).utf8 }
    for path in APIDocument.paths {
      router.get(RouterPath(path)) { _, _ in JSONResponse.bytes(try document.get()) }
    }
  }
}

extension Request {
  /// The whole body as JSON; an empty one reads as an empty object.
  func json() async throws -> JSON {
    let bytes = try await bytes()
    if bytes.isEmpty { return .object([]) }
    return try JSON(parsing: bytes)
  }

  func bytes() async throws -> [UInt8] { Array(try await collected().readableBytesView) }

  func collected() async throws -> ByteBuffer {
    do {
      return try await body.collect(upTo: Limits.requestBytes)
    } catch is NIOTooManyBytesError {
      throw PlatformError(
        .invalidArgument,
        "the body is larger than \(Limits.requestBytes >> 20) MiB; send it in parts, or as a file")
    }
  }

  func query(_ name: String) -> String? {
    uri.queryParameters[Substring(name)].map(String.init)
  }

  func requiredQuery(_ name: String) throws -> String {
    guard let value = query(name), !value.isEmpty else {
      throw PlatformError(.invalidArgument, "the query parameter '\(name)' is missing")
    }
    return value
  }

  /// A whole number; nil where it is not given.
  func wholeQuery(_ name: String) throws -> Int64? {
    guard let text = query(name), !text.isEmpty else { return nil }
    guard let number = Int64(text) else {
      throw PlatformError(.invalidArgument, "'\(name)' must be a whole number, not '\(text)'")
    }
    return number
  }

  func limit(default value: Int) throws -> Int {
    guard let text = query("limit") else { return value }
    guard let limit = Int(text), (1...10_000).contains(limit) else {
      throw PlatformError(
        .invalidArgument, "'limit' must be a number from 1 to 10000, not '\(text)'")
    }
    return limit
  }
}

extension RequestContext {
  func name(_ parameter: String) throws -> String {
    let raw = try parameters.require(parameter)
    return raw.removingPercentEncoding ?? raw
  }
}
