import Core
import Hummingbird

/// Health, metrics, status and the simulated clock.
struct PlatformRoutes {
  let services: PlatformServices

  func add(to router: Router<HTTPRouter.Context>) {
    router.get("health/live") { _, _ in JSONResponse.ok(.object(["live": .bool(true)])) }
    router.get("health/ready") { _, _ in
      let fault = services.onlineWatch.fault
      let answer = JSON.object([
        "ready": .bool(fault == nil), "reason": fault.map { .string("\($0)") } ?? .null,
      ])
      return JSONResponse.bytes(answer.utf8, status: fault == nil ? .ok : .serviceUnavailable)
    }
    router.get("metrics") { _, _ in
      JSONResponse.text(
        services.exposition(), contentType: "text/plain; version=0.0.4; charset=utf-8")
    }
    router.get("api/v1/status") { _, _ in JSONResponse.ok(try await services.status()) }
    router.post("api/v1/clock") { request, _ in
      let body = try await request.json()
      guard let text = body["now"]?.string else {
        throw PlatformError(.invalidArgument, "send {\"now\": \"2026-01-31T12:00:00Z\"}")
      }
      let now = try services.moveClock(to: Timestamp(iso8601: text))
      return JSONResponse.ok(.object(["now": .string(now.description)]))
    }
    if services.configuration.server.echo {
      router.post("api/v1/echo") { request, _ in JSONResponse.bytes(try await request.bytes()) }
    }
  }
}
