import Core
import Foundation
import Hummingbird

/// Planning and applying definitions, and what is in force.
struct DefinitionRoutes {
  let services: PlatformServices

  func add(to router: RouterGroup<HTTPRouter.Context>) {
    router.post("definitions/plan") { request, _ in
      let body = try await request.json()
      let plan = try await services.plan(
        yaml: try yaml(body),
        directory: body["directory"]?.string ?? services.configuration.project)
      return JSONResponse.ok(
        .object([
          "text": .string(plan.text), "empty": .bool(plan.isEmpty),
          "plan": try JSON(parsing: [UInt8](JSONEncoder().encode(plan))),
        ]))
    }
    router.post("definitions/apply") { request, _ in
      let body = try await request.json()
      let yaml = try yaml(body)
      let directory = body["directory"]?.string ?? services.configuration.project
      let plan = try await services.plan(yaml: yaml, directory: directory)
      let snapshot = try await services.apply(
        yaml: yaml, directory: directory, author: body["author"]?.string ?? "unknown")
      return JSONResponse.ok(
        .object([
          "text": .string("\(plan.text)\nversion \(snapshot.definitionsVersion) is in force"),
          "version": .int(snapshot.definitionsVersion),
          "digest": .string(snapshot.definitionsDigest),
        ]))
    }
    router.get("definitions") { _, _ in
      let snapshot = services.catalog.changes.current
      return JSONResponse.ok(
        .object([
          "version": .int(snapshot.definitionsVersion),
          "digest": .string(snapshot.definitionsDigest),
          "project": try JSON(parsing: [UInt8](JSONEncoder().encode(snapshot.project))),
        ]))
    }
  }

  private func yaml(_ body: JSON) throws -> [UInt8] {
    guard let text = body["yaml"]?.string else {
      throw PlatformError(.invalidArgument, "send {\"yaml\": \"…\"} with the text of martlet.yaml")
    }
    return Array(text.utf8)
  }
}
