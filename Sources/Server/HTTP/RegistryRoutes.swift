import Catalog
import Core
import Hummingbird

/// Stages, aliases, tags and the audit of registered models, also of those that no definition serves.
struct RegistryRoutes {
  let services: PlatformServices

  private var catalog: CatalogStore { services.catalog }

  func add(to router: RouterGroup<HTTPRouter.Context>) {
    router.get("registry/models") { _, _ in
      let models = try await catalog.registeredModels()
      return JSONResponse.ok(.object(["models": .array(models.map(RegistryJSON.model))]))
    }
    router.get("registry/models/:model") { _, context in
      JSONResponse.ok(RegistryJSON.model(try await model(context)))
    }
    router.get("models/:model/transitions") { _, context in
      let found = try await catalog.transitions(of: context.name("model"))
      // What was deleted still has its audit; a name that never was is a mistake.
      if found.isEmpty { _ = try await model(context) }
      return JSONResponse.ok(
        .object(["transitions": .array(found.map(RegistryJSON.transition))]))
    }
    router.post("models/:model/versions/:version/stage") { request, context in
      let body = try await request.json()
      let moved = try await catalog.transition(
        context.name("model"), version: services.versionNumber(context.name("version")),
        to: services.stage(body["stage"]?.string), who: body["who"]?.string ?? "api",
        why: body["why"]?.string ?? "")
      return JSONResponse.ok(RegistryJSON.version(moved))
    }
    addAliases(to: router)
    addTags(to: router)
  }

  private func addAliases(to router: RouterGroup<HTTPRouter.Context>) {
    router.put("models/:model/aliases/:alias") { request, context in
      let body = try await request.json()
      guard let version = body["version"]?.int else {
        throw PlatformError(.invalidArgument, "send {\"version\": 2}: what the alias is to name")
      }
      let named = try await catalog.set(
        alias: context.name("alias"), of: context.name("model"), to: version,
        who: body["who"]?.string ?? "api", why: body["why"]?.string ?? "")
      return JSONResponse.ok(RegistryJSON.version(named))
    }
    router.delete("models/:model/aliases/:alias") { request, context in
      let body = try await request.json()
      try await catalog.delete(
        alias: context.name("alias"), of: context.name("model"),
        who: body["who"]?.string ?? "api", why: body["why"]?.string ?? "")
      return JSONResponse.ok(RegistryJSON.model(try await model(context)))
    }
  }

  private func addTags(to router: RouterGroup<HTTPRouter.Context>) {
    router.patch("models/:model/tags") { request, context in
      try await change(
        try await request.json(), on: TagPlace(model: context.name("model")))
      return JSONResponse.ok(RegistryJSON.model(try await model(context)))
    }
    router.patch("models/:model/versions/:version/tags") { request, context in
      let name = try context.name("model")
      let number = try services.versionNumber(context.name("version"))
      try await change(
        try await request.json(), on: TagPlace(model: name, version: number))
      return JSONResponse.ok(
        RegistryJSON.version(try await catalog.registeredVersion(name, number)))
    }
  }

  /// Tags by name; null takes one away.
  private func change(_ body: JSON, on place: TagPlace) async throws {
    guard case .object(let members) = body, !members.isEmpty else {
      throw PlatformError(
        .invalidArgument, "send {\"team\": \"growth\", \"old\": null}: null takes a tag away")
    }
    var changes: [String: String?] = [:]
    for member in members {
      guard member.value == .null || member.value.string != nil else {
        throw PlatformError(
          .invalidArgument, "tag '\(member.key)' must be a text or null, not \(member.value.text)")
      }
      changes.updateValue(member.value.string, forKey: member.key)
    }
    try await catalog.change(tags: changes, on: place)
  }

  private func model(_ context: HTTPRouter.Context) async throws -> RegisteredModel {
    try await services.registeredModel(context.name("model"))
  }
}
