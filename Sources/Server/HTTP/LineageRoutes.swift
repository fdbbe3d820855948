import Core
import Hummingbird

/// What was made from what.
struct LineageRoutes {
  let services: PlatformServices

  func add(to router: RouterGroup<HTTPRouter.Context>) {
    router.get("lineage/:name") { request, context in
      let direction = try LineageDirection.named(request.query("direction") ?? "both")
      let format = try LineageFormat.named(request.query("format") ?? "json")
      let selection = try await services.lineage(of: context.name("name"), direction)
      return switch format {
      case .json: JSONResponse.ok(selection.json)
      case .text: JSONResponse.text(selection.text + "\n", contentType: "text/plain; charset=utf-8")
      case .dot: JSONResponse.text(selection.dot + "\n", contentType: "text/vnd.graphviz")
      }
    }
  }
}
