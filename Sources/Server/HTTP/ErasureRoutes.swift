import Core
import Features
import Hummingbird

/// Erasing entity keys.
struct ErasureRoutes {
  let services: PlatformServices

  func add(to router: RouterGroup<HTTPRouter.Context>) {
    router.delete("entities/:entity/keys") { request, context in
      let body = try await request.json()
      guard let key = body["key"] else {
        throw PlatformError(
          .invalidArgument,
          "send {\"key\": [value, …]} or {\"key\": {\"column\": value, …}}; a key in the address would be logged"
        )
      }
      let receipt = try await services.erasure.run(
        entity: context.name("entity"), key: key,
        withoutAbsent: body["without_absent"] == .bool(true))
      return JSONResponse.ok(receipt.json)
    }
    router.get("erasures") { request, _ in
      let receipts = try await services.erasure.receipts(limit: try request.limit(default: 50))
      return JSONResponse.ok(.object(["erasures": .array(receipts.map(\.json))]))
    }
  }
}
