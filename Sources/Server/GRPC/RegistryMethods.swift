import Catalog
import Core
import GRPCCore
import Wire

/// Stages, aliases, tags and the audit of registered models, over gRPC.
extension RegistryService {
  func listRegistered(
    request: Martlet_V1_ListRegisteredRequest, context: ServerContext
  ) async throws -> Martlet_V1_ListRegisteredResponse {
    var response = Martlet_V1_ListRegisteredResponse()
    let models =
      request.model.isEmpty
      ? try await services.catalog.registeredModels()
      : [try await services.registeredModel(request.model)]
    response.models = models.map(Martlet_V1_RegisteredModel.init)
    return response
  }

  func setStage(
    request: Martlet_V1_SetStageRequest, context: ServerContext
  ) async throws -> Martlet_V1_RegisteredVersion {
    Martlet_V1_RegisteredVersion(
      try await services.catalog.transition(
        request.model, version: request.version, to: services.stage(request.stage),
        who: caller(request.who), why: request.why))
  }

  func setAlias(
    request: Martlet_V1_SetAliasRequest, context: ServerContext
  ) async throws -> Martlet_V1_RegisteredVersion {
    Martlet_V1_RegisteredVersion(
      try await services.catalog.set(
        alias: request.alias, of: request.model, to: request.version, who: caller(request.who),
        why: request.why))
  }

  func deleteAlias(
    request: Martlet_V1_DeleteAliasRequest, context: ServerContext
  ) async throws -> Martlet_V1_DeleteAliasResponse {
    try await services.catalog.delete(
      alias: request.alias, of: request.model, who: caller(request.who), why: request.why)
    return Martlet_V1_DeleteAliasResponse()
  }

  func changeTags(
    request: Martlet_V1_ChangeTagsRequest, context: ServerContext
  ) async throws -> Martlet_V1_ChangeTagsResponse {
    var changes: [String: String?] = request.set.mapValues { $0 }
    for key in request.delete { changes.updateValue(nil, forKey: key) }
    let version = request.version == 0 ? nil : request.version
    try await services.catalog.change(
      tags: changes, on: TagPlace(model: request.model, version: version))
    return Martlet_V1_ChangeTagsResponse()
  }

  func listTransitions(
    request: Martlet_V1_ListTransitionsRequest, context: ServerContext
  ) async throws -> Martlet_V1_ListTransitionsResponse {
    let found = try await services.catalog.transitions(of: request.model)
    if found.isEmpty { _ = try await services.registeredModel(request.model) }
    var response = Martlet_V1_ListTransitionsResponse()
    response.transitions = found.map(Martlet_V1_Transition.init)
    return response
  }

  private func caller(_ who: String) -> String { who.isEmpty ? "api" : who }
}

extension Martlet_V1_RegisteredModel {
  init(_ model: RegisteredModel) {
    self.init()
    name = model.name
    defined = model.isDefined
    description_p = model.description ?? ""
    tags = model.tags
    aliases = model.aliases
    versions = model.versions.map(Martlet_V1_RegisteredVersion.init)
  }
}

extension Martlet_V1_RegisteredVersion {
  init(_ version: RegisteredVersion) {
    self.init()
    model = version.model
    self.version = version.version
    stage = version.stage.rawValue
    canServe = version.canServe
    description_p = version.description ?? ""
    aliases = version.aliases
    tags = version.tags
    source = version.source
    runID = version.runID
    artifact = version.trained?.artifact.hex ?? ""
  }
}

extension Martlet_V1_Transition {
  init(_ transition: ModelTransition) {
    self.init()
    version = transition.version
    (event, detail) = transition.event.words
    from = transition.from?.rawValue ?? ""
    to = transition.to.rawValue
    who = transition.who
    why = transition.why
    at = transition.at.wire
  }
}
