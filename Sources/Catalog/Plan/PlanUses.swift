import Core

/// Who uses what a plan would change: the graph of the old definitions beside that of the new.
struct PlanUses {
  private let old: ProjectDefinition
  private let new: ProjectDefinition
  private let graph: LineageGraph
  private let before: LineageBuilder.Drawn

  init(from old: ProjectDefinition, to new: ProjectDefinition) {
    self.old = old
    self.new = new
    var builder = LineageBuilder()
    // What the old definitions say in other words, or over other things, gets nodes of its own.
    builder.add(new, version: 2)
    before = builder.add(old, version: 1)
    graph = builder.graph
  }

  // MARK: Versions

  /// What makes a change possible that breaks a version: one in production is not archived while it serves.
  private static func way(out version: ModelVersion) -> String {
    version.stage == .production
      ? "promote a version that does not, which archives this one (martlet models promote \(version.model) VERSION), or remove the model too"
      : "archive that version (martlet models archive \(version.model) \(version.version)), or remove the model too"
  }

  /// What a version could not live with.
  func breakages(of version: ModelVersion) -> [DefinitionPlan.Breakage] {
    let user = Self.name(version)
    let way = PlanUses.way(out: version)
    return Self.reads(version.features).compactMap { read in
      breakage(read.name, read.type, user: user, verb: "reads it", way: way)
    }
  }

  /// What has changed beneath a version that goes on.
  func notes(on version: ModelVersion) -> [String] {
    let user = Self.name(version)
    return Self.reads(version.features).compactMap { read in
      guard breakage(read.name, read.type, user: "", verb: "", way: "") == nil,
        old.view(read.name.view)?.feature(read.name.feature) != nil,
        let id = before.feature(read.name), graph[id]?["in_force"] == "false"
      else { return nil }
      let causes = changed(beneath: id)
      let why =
        causes.isEmpty
        ? "was trained on the old feature '\(read.name)'"
        : "reads feature '\(read.name)' and was trained on the old \(causes.joined(separator: ", "))"
      return "\(user) \(why); train it again after this"
    }
  }

  func notesOnRemovedModels(_ models: [String: [ModelVersion]]) -> [String] {
    old.models.filter { new.model($0.name) == nil }.compactMap { model in
      guard let version = models[model.name]?.first(where: { $0.stage == .production }) else {
        return nil
      }
      return "\(Self.name(version)) is archived and stops serving, as its model is removed"
    }
  }

  /// The stored features that a version is hydrated from, with the type that it knows where it is in its vector.
  private static func reads(
    _ features: [ModelFeature]
  ) -> [(name: FeatureName, type: ColumnType?)] {
    var found: [(name: FeatureName, type: ColumnType?)] = []
    for feature in features {
      if case .view(let name) = feature.origin { found.append((name, feature.type)) }
    }
    for feature in features {
      guard case .derived(let expression) = feature.origin else { continue }
      for name in expression.names.compactMap({ FeatureName($0) })
      where !found.contains(where: { $0.name == name }) {
        found.append((name, nil))
      }
    }
    return found
  }

  private static func name(_ version: ModelVersion) -> String {
    "model '\(version.model)' version \(version.version) (\(version.stage.rawValue))"
  }

  private func breakage(
    _ name: FeatureName, _ known: ColumnType?, user: String, verb: String, way: String
  ) -> DefinitionPlan.Breakage? {
    let subject = "feature '\(name)'"
    guard let view = new.view(name.view), let feature = view.feature(name.feature) else {
      return DefinitionPlan.Breakage(
        subject: subject, breaks: user,
        message: "\(subject) is removed, but \(user) \(verb); \(way)")
    }
    let type = known ?? old.view(name.view)?.feature(name.feature)?.type
    if let type, feature.type != type {
      return DefinitionPlan.Breakage(
        subject: subject, breaks: user,
        message:
          "\(subject) changes from \(type.rawValue) to \(feature.type.rawValue), but \(user) \(verb); \(way)"
      )
    }
    let oldKey = old.view(name.view).flatMap { old.entity($0.entity)?.key }
    if let oldKey, let newKey = new.entity(view.entity)?.key, oldKey != newKey {
      return DefinitionPlan.Breakage(
        subject: "view '\(view.name)'", breaks: user,
        message:
          "the key of view '\(view.name)' changes from (\(oldKey.joined(separator: ", "))) to "
          + "(\(newKey.joined(separator: ", "))), but \(user) is asked by the old one; \(way)")
    }
    return nil
  }

  /// What was written otherwise beneath an old node that reads as before itself.
  private func changed(beneath id: String) -> [String] {
    let upstream = graph.closure(of: id, .upstream)
    let gone = graph.nodes.filter { upstream.contains($0.id) && $0["in_force"] == "false" }
    // The first ones: all that they were made from is as it was.
    let first = gone.filter { node in
      graph.sources(of: node.id).allSatisfy { graph[$0.from]?["in_force"] != "false" }
    }
    return first.map { "\($0.kind.rawValue) '\($0.name)'" }
  }

  // MARK: Jobs

  /// What a job that is not over could not live with.
  func breakages(of job: LineageJob) -> [DefinitionPlan.Breakage] {
    guard job.kind == "train", let model = old.model(job.model) else { return [] }
    let user = "job \(job.id) (\(job.state))"
    let way = "wait for its end, or end it with `martlet jobs cancel \(job.id)`"
    guard new.model(job.model)?.train != nil else {
      let what = new.model(job.model) == nil ? "model" : "section `train` of model"
      return [
        DefinitionPlan.Breakage(
          subject: "model '\(job.model)'", breaks: user,
          message: "\(what) '\(job.model)' is removed, but \(user) trains it; \(way)")
      ]
    }
    // A job that waits will train by the new definitions.
    guard job.state == "RUNNING" else { return [] }
    return Self.reads(model.features).compactMap { read in
      breakage(read.name, read.type, user: user, verb: "trains '\(job.model)' on it", way: way)
    }
  }

  // MARK: Columns

  /// The features and models that use a column now.
  func users(ofColumn name: String) -> [String] {
    guard let id = before.id(.column, name) else { return [] }
    let downstream = graph.closure(of: id, .downstream)
    return graph.nodes.filter {
      downstream.contains($0.id) && [.feature, .derived, .model].contains($0.kind)
    }.map { "\($0.kind == .model ? "model" : "feature") '\($0.name)'" }
  }
}
