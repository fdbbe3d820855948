/// The whole of what the platform knows about definitions and models at one moment; replaced as a whole, never changed.
package struct Snapshot: Sendable {
  /// Grows with every change of definitions or registry.
  package var version: Int64
  /// Grows when states of a view that were computed anew take the place of the old ones.
  package var build: Int64 = 0
  /// The version of the applied definitions; 0 before the first apply.
  package var definitionsVersion: Int64
  /// SHA-256 of the definitions' canonical form.
  package var definitionsDigest: String
  /// The folder that Python files are found in.
  package var projectDirectory: String
  package var project: ProjectDefinition
  /// By view name.
  package var layouts: [String: ViewLayout]
  /// By model name, newest version first.
  package var models: [String: [ModelVersion]]
  /// The canaries that run, by model name.
  package var canaries: [String: CanaryState] = [:]

  package init(
    version: Int64, definitionsVersion: Int64, definitionsDigest: String, projectDirectory: String,
    project: ProjectDefinition, models: [String: [ModelVersion]],
    canaries: [String: CanaryState] = [:]
  ) {
    self.version = version
    self.definitionsVersion = definitionsVersion
    self.definitionsDigest = definitionsDigest
    self.projectDirectory = projectDirectory
    self.project = project
    self.models = models
    self.canaries = canaries
    layouts = [:]
    for view in project.views {
      guard let entity = project.entity(view.entity), let source = project.source(view.source)
      else {
        continue
      }
      layouts[view.name] = ViewLayout(view: view, entity: entity, source: source)
    }
  }

  package static let empty = Snapshot(
    version: 0, definitionsVersion: 0, definitionsDigest: "", projectDirectory: ".",
    project: ProjectDefinition(name: ""), models: [:])

  /// Which snapshot it is: nothing that was worked out by another one holds.
  package struct Edition: Hashable, Sendable {
    package var version: Int64
    package var build: Int64

    package init(version: Int64, build: Int64) {
      self.version = version
      self.build = build
    }
  }

  package var edition: Edition { Edition(version: version, build: build) }

  /// The same with another layout of one view.
  package func with(_ layout: ViewLayout) -> Snapshot {
    var snapshot = self
    snapshot.layouts[layout.view] = layout
    snapshot.build += 1
    return snapshot
  }

  /// The same with the generations of views' states that are read.
  package func with(generations: [String: Int64], build: Int64) -> Snapshot {
    var snapshot = self
    for (view, generation) in generations { snapshot.layouts[view]?.generation = generation }
    snapshot.build = build
    return snapshot
  }

  package func production(of model: String) -> ModelVersion? {
    models[model]?.first { $0.stage == .production }
  }

  /// The newest version that is in a stage; a stage other than registered and archived holds few.
  package func version(of model: String, in stage: ModelStage) -> ModelVersion? {
    models[model]?.first { $0.stage == stage }
  }
}
