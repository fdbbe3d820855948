import Core
import Hummingbird

/// The query parameters of every route, by method and path as the router writes them: those that the API's description has.
enum QueryParameters {
  static let known: [String: [String]] = {
    var known: [String: [String]] = [:]
    for line in APIOperations.text.split(separator: "\n") {
      let parts = line.split(separator: "|", omittingEmptySubsequences: false)
      guard parts.count > 2 else { continue }
      let names = parts[2].split(separator: ",").compactMap { parameter in
        parameter.split(separator: ":").first?.drop(while: \.isWhitespace).prefix {
          $0 != "?" && !$0.isWhitespace
        }
      }
      let route = parts[0].split(separator: " ").joined(separator: " ")
      known[route] = names.filter { !$0.isEmpty }.map(String.init)
    }
    return known
  }()
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
    guard let known = QueryParameters.known[route] else { return try await next(request, context) }
    for (name, _) in request.uri.queryParameters where !known.contains(String(name)) {
      let near =
        known.isEmpty ? "; it takes none" : suggestion(for: String(name), among: known)
      throw PlatformError(
        .invalidArgument, "there is no query parameter '\(name)' at \(route)\(near)")
    }
    return try await next(request, context)
  }
}
