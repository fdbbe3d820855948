import Core
import Hummingbird

/// The query parameters of every route that takes some; a query is as strict as a body.
enum QueryParameters {
  private static let spine = [
    "features", "time", "mode", "spine_format", "spine_name", "definitions",
  ]
  private static let quarantine = ["source", "reason", "since", "status"]

  /// By method and path, as the router writes it.
  static let known: [String: [String]] = [
    "POST /api/v1/sources/{source}/events": ["client", "sequence", "wait", "timeout_ms"],
    "POST /api/v1/sources/{source}/files": ["name", "format", "strict"],
    "POST /api/v1/sources/{source}/test-transform": ["name", "format", "rows"],
    "GET /api/v1/features/freshness": ["views"],
    "POST /api/v1/features/history": spine + ["format"],
    "GET /api/v1/datasets": ["limit"],
    "POST /api/v1/datasets": spine + ["name", "as_of", "model"],
    "GET /api/v1/datasets/{name}/file": ["format"],
    "GET /api/v1/erasures": ["limit"],
    "GET /api/v1/quarantine": quarantine + ["limit"],
    "GET /api/v1/quarantine/export": quarantine,
    "GET /api/v1/jobs": ["limit"],
    "GET /api/v1/jobs/{id}": ["wait", "seen"],
    "GET /api/v1/lineage/{name}": ["direction", "format"],
    "POST /api/v1/models/{model}/drift": ["window"],
  ]
}

/// Refuses query parameters that a route of the API does not know, with the nearest one that it does.
struct QueryCheck<Context: RequestContext>: RouterMiddleware {
  func handle(
    _ request: Request, context: Context, next: (Request, Context) async throws -> Response
  ) async throws -> Response {
    // Health and metrics answer to whatever a probe adds.
    if request.uri.query?.isEmpty ?? true { return try await next(request, context) }
    guard let path = context.endpointPath, path.hasPrefix("/api/") else {
      return try await next(request, context)
    }
    let route = "\(request.method) \(path)"
    let known = QueryParameters.known[route] ?? []
    for (name, _) in request.uri.queryParameters where !known.contains(String(name)) {
      let near =
        known.isEmpty ? "; it takes none" : suggestion(for: String(name), among: known)
      throw PlatformError(
        .invalidArgument, "there is no query parameter '\(name)' at \(route)\(near)")
    }
    return try await next(request, context)
  }
}
