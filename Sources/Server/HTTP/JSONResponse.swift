import Core
import HTTPTypes
import Hummingbird
import NIOCore

/// Answers and errors as HTTP: the only place that knows status codes and headers.
enum JSONResponse {
  static func ok(_ json: JSON) -> Response { bytes(json.utf8 + [UInt8(ascii: "\n")]) }

  /// An answer that is JSON text already.
  static func bytes(_ bytes: [UInt8], status: HTTPResponse.Status = .ok) -> Response {
    buffer(ByteBuffer(bytes: bytes), status: status)
  }

  static func buffer(_ bytes: ByteBuffer, status: HTTPResponse.Status = .ok) -> Response {
    Response(
      status: status, headers: [.contentType: "application/json"],
      body: ResponseBody(byteBuffer: bytes))
  }

  static func text(_ text: String, contentType: String) -> Response {
    Response(
      status: .ok, headers: [.contentType: contentType],
      body: ResponseBody(byteBuffer: ByteBuffer(string: text)))
  }

  /// - Parameter path: of the request; protocols of others have errors of their own form.
  static func failure(_ error: any Error, at path: String = "") -> Response {
    let error = platformError(error)
    let body = ForeignErrors.body(error, at: path) ?? errorBody(error)
    var response = bytes(
      body.utf8 + [UInt8(ascii: "\n")],
      status: HTTPResponse.Status(code: error.code.mapping.http))
    if let retryAfter = error.retryAfter {
      response.headers[.retryAfter] = String(max(1, Int(retryAfter.inSeconds.rounded(.up))))
    }
    return response
  }

  static func errorBody(_ error: PlatformError) -> JSON {
    var members: [JSON.Member] = [
      .init("code", .string(error.code.rawValue)), .init("message", .string(error.description)),
      .init("retryable", .bool(error.retryable)),
    ]
    if let retryAfter = error.retryAfter {
      members.append(.init("retry_after_seconds", .double(retryAfter.inSeconds)))
    }
    return .object([.init("error", .object(members))])
  }

  static func platformError(_ error: any Error) -> PlatformError {
    switch error {
    case let error as PlatformError: error
    case let error as HTTPError:
      PlatformError(
        error.status.code == 404 ? .notFound : .invalidArgument,
        error.body ?? "the request was refused with \(error.status)")
    case is CancellationError: PlatformError(.cancelled, "the request was cancelled")
    default: PlatformError(.internalError, "an unexpected failure", cause: error)
    }
  }
}

/// Turns every error of a route into its answer; unknown routes get one too.
struct ErrorTranslation<Context: RequestContext>: RouterMiddleware {
  let routes: KnownRoutes

  func handle(
    _ request: Request, context: Context, next: (Request, Context) async throws -> Response
  ) async throws -> Response {
    do {
      return try await next(request, context)
    } catch let error as HTTPError where error.status == .notFound {
      if request.uri.path.hasPrefix(MLflowRoutes.prefix) {
        return MLflowError.noEndpoint(request).response
      }
      let methods = routes.methods(at: request.uri.path)
      if !methods.isEmpty { return Self.wrongMethod(request, methods) }
      return JSONResponse.failure(
        PlatformError(
          .notFound,
          "there is nothing at \(request.method) \(request.uri.path); the API begins at /api/v1"),
        at: request.uri.path)
    } catch {
      return JSONResponse.failure(error, at: request.uri.path)
    }
  }
}

extension ErrorTranslation {
  private static func wrongMethod(
    _ request: Request, _ methods: [HTTPRequest.Method]
  ) -> Response {
    let allowed = methods.map(\.rawValue).joined(separator: ", ")
    let error = PlatformError(
      .invalidArgument, "\(request.uri.path) takes \(allowed), not \(request.method)")
    let body = ForeignErrors.body(error, at: request.uri.path) ?? JSONResponse.errorBody(error)
    var response = JSONResponse.bytes(
      body.utf8 + [UInt8(ascii: "\n")], status: .methodNotAllowed)
    response.headers[.allow] = allowed
    return response
  }
}

/// Refuses calls without the configured bearer token; health and metrics stay open.
struct TokenCheck<Context: RequestContext>: RouterMiddleware {
  let token: String

  func handle(
    _ request: Request, context: Context, next: (Request, Context) async throws -> Response
  ) async throws -> Response {
    let path = request.uri.path
    if path.hasPrefix("/health") || path.hasPrefix("/v2/health") || path == "/ping"
      || path == "/metrics"
    {
      return try await next(request, context)
    }
    guard equalInConstantTime(request.headers[.authorization] ?? "", "Bearer \(token)") else {
      return JSONResponse.bytes(
        JSONResponse.errorBody(
          PlatformError(.failedPrecondition, "send the header Authorization: Bearer TOKEN")
        ).utf8, status: .unauthorized)
    }
    return try await next(request, context)
  }
}

/// Compares without telling by its time how much was right.
func equalInConstantTime(_ a: String, _ b: String) -> Bool {
  let a = Array(a.utf8)
  let b = Array(b.utf8)
  guard a.count == b.count else { return false }
  return zip(a, b).reduce(UInt8(0)) { $0 | ($1.0 ^ $1.1) } == 0
}

extension JSON {
  /// Throws where a body has a member that a call does not know, with the nearest one that it does.
  func refuseMembers(except known: [String]) throws {
    guard case .object(let members) = self else { return }
    for member in members where !known.contains(member.key) {
      throw PlatformError(
        .invalidArgument,
        "there is no member '\(member.key)' in the body of this call\(suggestion(for: member.key, among: known))"
      )
    }
  }
}
