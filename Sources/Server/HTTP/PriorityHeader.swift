import Core
import HTTPTypes
import Hummingbird

/// Takes the priority of a call's work from the header `priority`: high, normal or low.
///
/// Browsers send the urgency of RFC 9218 in the same header (`u=1, i`), which says nothing about the work here and is passed over.
struct PriorityHeader<Context: RequestContext>: RouterMiddleware {
  func handle(
    _ request: Request, context: Context, next: (Request, Context) async throws -> Response
  ) async throws -> Response {
    guard let name = HTTPField.Name("priority"), let text = request.headers[name],
      !Self.isUrgency(text),
      let priority = try CallPriority(named: text, in: "the header 'priority'")
    else { return try await next(request, context) }
    return try await CallPriority.$current.withValue(priority) {
      try await next(request, context)
    }
  }

  private static func isUrgency(_ text: String) -> Bool {
    text.contains("=") || text.trimmingBlanks == "i"
  }
}
