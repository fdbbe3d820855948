import Catalog
import Core
import Foundation
import HTTPTypes
import Hummingbird

/// MLflow's model-registry REST API over our registry, so that `MLFLOW_TRACKING_URI` may point here.
///
/// Paths, fields, error codes and messages are MLflow's; what it means for serving is ours: see `StageChange`.
struct MLflowRoutes {
  static let prefix = "/api/2.0/mlflow"

  let services: PlatformServices

  private var catalog: CatalogStore { services.catalog }

  func add(to router: Router<HTTPRouter.Context>) {
    addModels(to: router.group("\(Self.prefix)/registered-models"))
    addVersions(to: router.group("\(Self.prefix)/model-versions"))
  }

  private typealias Answer = @Sendable (MLflowCall) async throws -> JSON

  private func on(
    _ method: HTTPRequest.Method, _ path: String, _ group: RouterGroup<HTTPRouter.Context>,
    _ answer: @escaping Answer
  ) {
    group.on(RouterPath(path), method: method) { request, _ in
      do {
        return JSONResponse.ok(try await answer(try await MLflowCall(request)))
      } catch {
        return MLflowError(error).response
      }
    }
  }

  // MARK: Models

  private func addModels(to group: RouterGroup<HTTPRouter.Context>) {
    on(.post, "create", group) { call in
      let name = try call.required("name")
      let model = try await catalog.register(
        model: name, description: call.has("description") ? call.text("description") : nil,
        tags: call.tags())
      return .object(["registered_model": MLflowJSON.model(model)])
    }
    on(.get, "get", group) { call in
      .object(["registered_model": MLflowJSON.model(try await model(call))])
    }
    on(.patch, "update", group) { call in
      let name = try await model(call).name
      let model = try await catalog.describe(model: name, call.text("description"))
      return .object(["registered_model": MLflowJSON.model(model)])
    }
    on(.post, "rename", group) { call in
      let name = try await model(call).name
      let renamed = try await catalog.rename(
        model: name, to: call.required("new_name"), who: call.who)
      return .object(["registered_model": MLflowJSON.model(renamed)])
    }
    on(.delete, "delete", group) { call in
      try await catalog.delete(model: try await model(call).name, who: call.who)
      return .object([])
    }
    on(.get, "search", group) { call in try await searchModels(call) }
    for method in [HTTPRequest.Method.get, .post] {
      on(method, "get-latest-versions", group) { call in try await latestVersions(call) }
    }
    on(.post, "set-tag", group) { call in
      let place = TagPlace(model: try await model(call).name)
      try await catalog.change(tags: [call.required("key"): call.text("value")], on: place)
      return .object([])
    }
    on(.delete, "delete-tag", group) { call in
      let place = TagPlace(model: try await model(call).name)
      try await catalog.change(tags: [call.required("key"): nil], on: place)
      return .object([])
    }
    addAliases(to: group)
  }

  private func addAliases(to group: RouterGroup<HTTPRouter.Context>) {
    on(.post, "alias", group) { call in
      let alias = try call.required("alias")
      let version = try await version(call)
      _ = try await catalog.set(
        alias: alias, of: version.model, to: version.version, who: call.who, why: "")
      return .object([])
    }
    on(.delete, "alias", group) { call in
      let name = try await model(call).name
      try await catalog.delete(alias: call.required("alias"), of: name, who: call.who, why: "")
      return .object([])
    }
    on(.get, "alias", group) { call in
      let model = try await model(call)
      let alias = try call.required("alias")
      if let problem = RegistryNames.problem(ofAlias: alias, isNew: false) {
        throw MLflowError.invalid(problem)
      }
      if alias.lowercased() == "latest" {
        guard let newest = model.versions.first else {
          throw MLflowError(
            code: .resourceDoesNotExist,
            message: "Latest version not found for model \(model.name).")
        }
        return .object(["model_version": MLflowJSON.version(newest)])
      }
      guard let number = model.aliases[alias],
        let version = model.versions.first(where: { $0.version == number })
      else { throw MLflowError.invalid("Registered model alias \(alias) not found.") }
      return .object(["model_version": MLflowJSON.version(version)])
    }
  }

  // MARK: Versions

  private func addVersions(to group: RouterGroup<HTTPRouter.Context>) {
    on(.post, "create", group) { call in
      let name = try await model(call).name
      let version = try await catalog.register(
        NewRegisteredVersion(
          model: name, source: try call.required("source"), runID: try call.text("run_id"),
          runLink: try call.text("run_link"),
          description: call.has("description") ? try call.text("description") : nil,
          tags: try call.tags(), who: call.who))
      return .object(["model_version": MLflowJSON.version(version)])
    }
    on(.get, "get", group) { call in
      .object(["model_version": MLflowJSON.version(try await version(call))])
    }
    on(.patch, "update", group) { call in
      let found = try await version(call)
      let described = try await catalog.describe(
        found.model, version: found.version,
        call.has("description") ? call.text("description") : nil)
      return .object(["model_version": MLflowJSON.version(described)])
    }
    on(.delete, "delete", group) { call in
      let found = try await version(call)
      try await catalog.delete(found.model, version: found.version, who: call.who)
      return .object([])
    }
    on(.get, "search", group) { call in try await searchVersions(call) }
    on(.post, "transition-stage", group) { call in try await transition(call) }
    on(.get, "get-download-uri", group) { call in
      .object(["artifact_uri": .string(try await downloadURI(of: try await version(call)))])
    }
    on(.post, "set-tag", group) { call in
      let found = try await version(call)
      let place = TagPlace(model: found.model, version: found.version)
      try await catalog.change(tags: [call.required("key"): call.text("value")], on: place)
      return .object([])
    }
    on(.delete, "delete-tag", group) { call in
      let found = try await version(call)
      let place = TagPlace(model: found.model, version: found.version)
      try await catalog.change(tags: [call.required("key"): nil], on: place)
      return .object([])
    }
  }

  private func transition(_ call: MLflowCall) async throws -> JSON {
    let stage = try MLflowStage(parsing: call.required("stage"))
    let archive = try call.flag("archive_existing_versions")
    guard !archive || stage == .staging || stage == .production else {
      throw MLflowError.invalid(
        "Model version transition cannot archive existing model versions because '\(stage.rawValue)' is not an "
          + "Active stage. Valid stages are ['Staging', 'Production']")
    }
    let found = try await version(call)
    // A canary is shown as Staging: to be asked for what is shown changes nothing.
    if MLflowStage(found.stage) == stage, !archive {
      return .object(["model_version": MLflowJSON.version(found)])
    }
    let moved = try await catalog.transition(
      found.model, version: found.version, to: stage.stage, who: call.who,
      why: "transition to \(stage.rawValue)", archivingOthers: archive)
    return .object(["model_version": MLflowJSON.version(moved)])
  }

  /// A version that was registered from another one of this registry is where that one is.
  private func downloadURI(of version: RegisteredVersion) async throws -> String {
    var version = version
    for _ in 0..<Limits.registryCopies {
      guard version.trained == nil, let origin = Self.origin(version.source) else { break }
      version = try await catalog.registeredVersion(origin.model, origin.version)
    }
    return MLflowJSON.source(of: version)
  }

  /// `models:/NAME/VERSION`
  private static func origin(_ source: String) -> (model: String, version: Int64)? {
    guard source.hasPrefix("models:/") else { return nil }
    let parts = source.dropFirst("models:/".count).split(separator: "/")
    guard parts.count == 2, let version = Int64(parts[1]) else { return nil }
    return (parts[0].removingPercentEncoding ?? String(parts[0]), version)
  }

  // MARK: Finding

  private func model(_ call: MLflowCall) async throws -> RegisteredModel {
    let name = try call.required("name")
    if let problem = RegistryNames.problem(ofModel: name) { throw MLflowError.invalid(problem) }
    do {
      return try await catalog.registeredModel(name)
    } catch let error as PlatformError where RegistryMissing(error) == .model {
      throw MLflowError(
        code: .resourceDoesNotExist, message: "Registered Model with name=\(name) not found")
    }
  }

  private func version(_ call: MLflowCall) async throws -> RegisteredVersion {
    let name = try call.required("name")
    let number = try call.version()
    if let problem = RegistryNames.problem(ofModel: name) { throw MLflowError.invalid(problem) }
    do {
      return try await catalog.registeredVersion(name, number)
    } catch let error as PlatformError where RegistryMissing(error) != nil {
      throw MLflowError(
        code: .resourceDoesNotExist,
        message: "Model Version (name=\(name), version=\(number)) not found")
    }
  }

  private func latestVersions(_ call: MLflowCall) async throws -> JSON {
    let stages = try call.texts("stages").map { try MLflowStage(parsing: $0) }
    let latest = MLflowJSON.latest(of: try await model(call)).filter {
      stages.isEmpty || stages.contains(MLflowStage($0.stage))
    }
    return .object(["model_versions": .array(latest.map(MLflowJSON.version))])
  }

  // MARK: Searching

  private func searchModels(_ call: MLflowCall) async throws -> JSON {
    let search = try Search(call, .models, default: 100, most: 1_000)
    let models = try await models(search.filter)
    let page = search.page(of: models) { model in
      RegistryEntry(
        texts: ["name": model.name], numbers: times(model.createdAt, model.updatedAt),
        tags: model.allTags)
    }
    return page.json("registered_models", MLflowJSON.model)
  }

  private func searchVersions(_ call: MLflowCall) async throws -> JSON {
    let search = try Search(call, .versions, default: 10_000, most: 200_000)
    let versions = try await models(search.filter).flatMap(\.versions)
    let page = search.page(of: versions) { version in
      var numbers = times(version.createdAt, version.updatedAt)
      numbers["version_number"] = version.version
      return RegistryEntry(
        texts: [
          "name": version.model, "run_id": version.runID,
          "source_path": MLflowJSON.source(of: version),
        ], numbers: numbers, tags: version.allTags)
    }
    return page.json("model_versions", MLflowJSON.version)
  }

  private func models(_ filter: RegistryFilter) async throws -> [RegisteredModel] {
    guard let only = filter.onlyModel else { return try await catalog.registeredModels() }
    do {
      return [try await catalog.registeredModel(only)]
    } catch let error as PlatformError where RegistryMissing(error) == .model {
      return []
    }
  }

  private func times(_ created: Timestamp, _ updated: Timestamp) -> [String: Int64] {
    [
      "creation_timestamp": created.microseconds, "last_updated_timestamp": updated.microseconds,
    ]
  }

  /// What a search asks for.
  private struct Search {
    let filter: RegistryFilter
    let order: RegistryOrder
    let offset: Int
    let limit: Int

    init(_ call: MLflowCall, _ kind: RegistryKind, default value: Int, most: Int) throws {
      filter = try RegistryFilter(parsing: call.text("filter"), of: kind)
      order = try RegistryOrder(parsing: call.texts("order_by"), of: kind)
      limit = try call.maximum(default: value, most: most)
      offset = try Self.offset(call.text("page_token"))
    }

    func page<Item>(of items: [Item], _ entry: (Item) -> RegistryEntry) -> Page<Item> {
      let found = items.map { (item: $0, entry: entry($0)) }.filter { filter.matches($0.entry) }
        .sorted { order.isBefore($0.entry, $1.entry) }.map(\.item)
      let next = offset + limit
      return Page(
        items: Array(found.dropFirst(offset).prefix(limit)), next: next < found.count ? next : nil)
    }

    /// Tokens are MLflow's: `{"offset": 10}` in base 64.
    private static func offset(_ token: String) throws -> Int {
      if token.isEmpty { return 0 }
      guard let bytes = Data(base64Encoded: token) else {
        throw MLflowError.invalid("Invalid page token, could not base64-decode")
      }
      guard let offset = try? JSON(parsing: Array(bytes))["offset"]?.int, offset > 0,
        offset <= Int64(Int32.max)
      else {
        throw MLflowError.invalid(
          "Invalid page token, decoded value=\(String(decoding: bytes, as: UTF8.self))")
      }
      return Int(offset)
    }
  }

  private struct Page<Item> {
    var items: [Item]
    var next: Int?

    func json(_ name: String, _ write: (Item) -> JSON) -> JSON {
      var members = [JSON.Member(name, .array(items.map(write)))]
      if let next {
        let token = Data(JSON.object(["offset": .int(Int64(next))]).utf8).base64EncodedString()
        members.append(.init("next_page_token", .string(token)))
      }
      return .object(members)
    }
  }
}
