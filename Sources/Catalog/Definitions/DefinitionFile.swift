import Core
import Foundation

/// `martlet.yaml`: reads it into a `ProjectDefinition`, or tells everything that is wrong with it.
package struct DefinitionFile {
  package static let name = "martlet.yaml"

  /// The bytes of the file in a project's folder.
  package static func bytes(in directory: String) throws(PlatformError) -> [UInt8] {
    let path = directory + "/" + name
    do {
      return Array(try Data(contentsOf: URL(fileURLWithPath: path)))
    } catch {
      throw PlatformError(
        .notFound,
        "there is no readable \(name) in '\(directory)'; go to the project's folder, or make a project with `martlet init`",
        cause: error)
    }
  }

  /// Reads definitions whose Python files are in `directory`.
  package static func parse(
    _ bytes: [UInt8], directory: String
  ) throws(DefinitionErrors) -> ProjectDefinition {
    try parse(bytes, ProjectFiles(directory: directory))
  }

  /// Reads definitions of a project with these files.
  package static func parse(
    _ bytes: [UInt8], _ files: ProjectFiles
  ) throws(DefinitionErrors) -> ProjectDefinition {
    let diagnostics = Diagnostics(file: name)
    let project = YAMLDocument.read(bytes, diagnostics).map { root in
      read(NodeReader(root, "the file", diagnostics), files)
    }
    if project == nil, diagnostics.isEmpty {
      diagnostics.report("the file is empty; begin with 'project: <name>'", at: .start)
    }
    guard let project = project ?? nil, diagnostics.isEmpty else {
      throw DefinitionErrors(diagnostics.all)
    }
    return project
  }

  /// The whole path: each section is read with the ones before it, so that names are resolved at once.
  private static func read(
    _ root: NodeReader, _ files: ProjectFiles
  ) -> ProjectDefinition? {
    let diagnostics = root.diagnostics
    let sections = ["project", "entities", "sources", "views", "models"]
    guard let file = root.mapping(of: "the file", known: sections) else { return nil }
    let name = file.required("project", "the project's name")?.name("project")
    let entities = EntitySection(diagnostics: diagnostics).read(file.section("entities"))
    let sources = SourceSection(diagnostics: diagnostics, files: files)
      .read(file.section("sources"))
    let views = ViewSection(entities: entities, sources: sources, diagnostics: diagnostics)
      .read(file.section("views"))
    let graph = FeatureGraph(views, diagnostics)
    let definitions = graph.definitions
    let models = ModelSection(
      entities: entities, sources: sources, views: definitions, featureTypes: graph.types,
      diagnostics: diagnostics, files: files
    ).read(file.section("models"))
    return ProjectDefinition(
      name: name?.value ?? "", entities: entities, sources: sources.map(\.definition),
      views: definitions, models: models)
  }
}

extension MappingReader {
  /// A part of the file that may be left out or empty.
  fileprivate func section(_ name: String) -> MappingReader? {
    guard let reader = self[name] else { return nil }
    if case .scalar(let scalar) = reader.node, scalar.isNull { return nil }
    return NodeReader(reader.node, "'\(name)'", diagnostics).mapping(of: "'\(name)'", known: nil)
  }
}
