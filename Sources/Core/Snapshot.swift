/// The whole of what the platform knows about definitions and models at one moment; replaced as a whole, never changed.
package struct Snapshot: Sendable {
  /// Grows with every change of definitions or registry.
  package var version: Int64
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

  package init(
    version: Int64, definitionsVersion: Int64, definitionsDigest: String, projectDirectory: String,
    project: ProjectDefinition, models: [String: [ModelVersion]]
  ) {
    self.version = version
    self.definitionsVersion = definitionsVersion
    self.definitionsDigest = definitionsDigest
    self.projectDirectory = projectDirectory
    self.project = project
    self.models = models
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

  package func production(of model: String) -> ModelVersion? {
    models[model]?.first { $0.stage == .production }
  }
}
