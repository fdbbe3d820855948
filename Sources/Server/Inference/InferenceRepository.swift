import Core

/// The registry as the protocol's model repository: which versions there are, which answer, and taking models in and out of
/// service.
extension InferenceService {
  struct IndexEntry: Sendable {
    var model: String
    /// Empty where the model has none.
    var version: String
    var isReady: Bool
    var reason: String
  }

  /// - Parameter ready: only those that answer.
  func index(ready: Bool) -> [IndexEntry] {
    let snapshot = services.online.visible.current
    var entries: [IndexEntry] = []
    for model in snapshot.project.models.map(\.name) {
      let versions = snapshot.models[model] ?? []
      if versions.isEmpty {
        entries.append(
          IndexEntry(model: model, version: "", isReady: false, reason: "no version was trained"))
      }
      for version in versions {
        let isReady = services.served.isLoaded(version.version, of: model)
        entries.append(
          IndexEntry(
            model: model, version: String(version.version), isReady: isReady,
            reason: isReady ? "" : reason(version)))
      }
    }
    return ready ? entries.filter(\.isReady) : entries
  }

  private func reason(_ version: ModelVersion) -> String {
    if services.served.isUnloaded(version.model) { return "unloaded" }
    guard version.stage == .production else { return version.stage.rawValue }
    return services.served.failure(of: version.model) ?? "loading"
  }

  /// Puts the model back in service, and returns once its production version is loaded.
  func load(_ name: String) async throws {
    let snapshot = services.online.visible.current
    _ = try signature(of: name, nil)
    try await services.served.load(
      name, in: snapshot, timeout: services.configuration.workers.startTimeout)
  }

  /// Takes the model out of service in this process, until it is loaded again or the process starts anew; the registry does not
  /// change.
  func unload(_ name: String) throws {
    _ = try signature(of: name, nil)
    services.served.unload(name)
  }
}

extension InferenceService {
  /// Triton's clients may bring a configuration or files with a load; here versions come from the registry alone.
  static func checkLoad(_ parameters: JSON?) throws(PlatformError) {
    guard case .object(let members)? = parameters, let first = members.first else { return }
    throw PlatformError(
      .invalidArgument,
      "a model is loaded as the registry has it; leave out the parameter '\(first.key)'")
  }
}
