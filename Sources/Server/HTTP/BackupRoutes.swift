import Core
import Hummingbird

/// Copies of what the platform keeps.
struct BackupRoutes {
  let services: PlatformServices

  func add(to router: RouterGroup<HTTPRouter.Context>) {
    router.post("backups") { request, _ in
      guard let name = try await request.json()["name"]?.string else {
        throw PlatformError(.invalidArgument, "send {\"name\": \"…\"}")
      }
      return JSONResponse.ok(try await services.backUp(name).json)
    }
  }
}
