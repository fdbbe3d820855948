import HTTPTypes
import Hummingbird

/// Which methods there are at a path.
struct KnownRoutes: Sendable {
  private struct Route: Sendable {
    /// Nil matches any part.
    var parts: [String?]
    var method: HTTPRequest.Method
  }

  private let routes: [Route]

  init(_ router: Router<HTTPRouter.Context>) {
    routes = router.routes.map { route in
      let parts = route.path.description.split(separator: "/").map { part in
        part.hasPrefix("{") ? nil : String(part)
      }
      return Route(parts: parts, method: route.method)
    }
  }

  /// Sorted; empty where nothing is at the path.
  func methods(at path: String) -> [HTTPRequest.Method] {
    let asked = path.split(separator: "/")
    return routes.filter { route in
      route.parts.count == asked.count
        && zip(route.parts, asked).allSatisfy { part, word in part == nil || part == String(word) }
    }.map(\.method).sorted { $0.rawValue < $1.rawValue }
  }
}
