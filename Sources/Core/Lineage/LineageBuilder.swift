import Foundation

/// Draws definitions, and what was made under them, into one graph.
///
/// Definitions are added newest first. What an older version of them says in the same words, over the same things, is the
/// same node; what it says otherwise is a node of its own, marked `in_force` false.
package struct LineageBuilder {
  /// The nodes of one version of the definitions, by `kind:name`.
  package struct Drawn: Sendable {
    fileprivate var ids: [String: String] = [:]
    /// By model: what its training rows are made of.
    fileprivate var training: [String: [(id: String, role: String)]] = [:]

    package func id(_ kind: LineageGraph.Kind, _ name: String) -> String? {
      ids["\(kind.rawValue):\(name)"]
    }

    /// The node of a feature, computed or derived.
    package func feature(_ name: FeatureName) -> String? {
      id(.feature, name.description) ?? id(.derived, name.description)
    }
  }

  package internal(set) var graph = LineageGraph()
  /// Ids by what a node says and what it is made from.
  private var known: [String: String] = [:]
  private var newest: Int64?
  private let encoder: JSONEncoder

  package init() {
    encoder = JSONEncoder()
    encoder.outputFormatting = .sortedKeys
  }

  /// Draws a version of the definitions.
  ///
  /// - Parameter digest: of the file that a Python function is in; nil where it is not known.
  @discardableResult
  package mutating func add(
    _ project: ProjectDefinition, version: Int64,
    digest: @escaping (CodeReference) -> String? = { _ in nil }
  ) -> Drawn {
    newest = newest ?? version
    var drawing = Drawing(version: version, digest: digest)
    for entity in project.entities {
      intern(
        .entity, entity.name, entity, [], [.init("key", entity.key.joined(separator: ", "))],
        &drawing)
    }
    for source in project.sources { add(source, &drawing) }
    for view in project.views { add(view, project, &drawing) }
    for view in project.views {
      for feature in view.features { addDerived(feature, of: view, project, &drawing) }
    }
    for model in project.models { add(model, project, &drawing) }
    return drawing.drawn
  }

  private struct Drawing {
    var version: Int64
    var digest: (CodeReference) -> String?
    var drawn = Drawn()

    func id(_ kind: LineageGraph.Kind, _ name: String) -> String? { drawn.id(kind, name) }
  }

  private typealias Parent = (id: String?, role: String)

  /// The node that says `definition` over these parents, made where there is none.
  @discardableResult
  private mutating func intern(
    _ kind: LineageGraph.Kind, _ name: String, _ definition: some Encodable, _ parents: [Parent],
    _ attributes: [LineageGraph.Attribute], _ drawing: inout Drawing
  ) -> String {
    let parents = parents.compactMap { parent in parent.id.map { (id: $0, role: parent.role) } }
    let key = "\(kind.rawValue):\(name)"
    let words = (try? encoder.encode(definition)).map { String(decoding: $0, as: UTF8.self) } ?? ""
    let content =
      ([key, words] + parents.map { "\($0.role) \($0.id)" }.sorted()).joined(separator: "\n")
    if let id = known[content] {
      drawing.drawn.ids[key] = id
      return id
    }
    let isCurrent = drawing.version == newest
    var id = isCurrent || graph[key] == nil ? key : "\(key)#\(drawing.version)"
    var again = 1
    while graph[id] != nil {
      again += 1
      id = "\(key)#\(drawing.version).\(again)"
    }
    var all = attributes
    all.append(.init("definitions_version", "\(drawing.version)"))
    if !isCurrent { all.append(.init("in_force", "false")) }
    graph.add(LineageGraph.Node(id: id, kind: kind, name: name, attributes: all))
    for parent in parents { graph.connect(parent.id, to: id, role: parent.role) }
    known[content] = id
    drawing.drawn.ids[key] = id
    return id
  }

  // MARK: Definitions

  private mutating func add(_ source: SourceDefinition, _ drawing: inout Drawing) {
    // Columns are nodes of their own; checks and retention change which events there are, not what they mean.
    var own = source
    own.columns = []
    own.checks = []
    own.retention = nil
    own.transform = nil
    let id = intern(
      .source, source.name, own, [], [.init("event_time", source.eventTime)], &drawing)
    var origin: Parent = (id, "column")
    if let code = source.transform {
      let digest = drawing.digest(code)
      let transform = intern(
        .transform, code.description, [code.description, digest ?? "", source.name],
        [(id, "events")], digest.map { [.init("digest", $0)] } ?? [], &drawing)
      origin = (transform, "writes")
    }
    for column in source.columns {
      intern(
        .column, "\(source.name).\(column.name)", column, [origin],
        [.init("type", column.type.rawValue)], &drawing)
    }
  }

  private mutating func add(
    _ view: ViewDefinition, _ project: ProjectDefinition, _ drawing: inout Drawing
  ) {
    var own = view
    own.features = []
    var parents: [Parent] = [
      (drawing.id(.entity, view.entity), "entity"), (drawing.id(.source, view.source), "events"),
    ]
    parents += (project.entity(view.entity)?.key ?? []).map {
      (drawing.id(.column, "\(view.source).\($0)"), "key")
    }
    if let source = project.source(view.source) {
      parents.append((drawing.id(.column, "\(view.source).\(source.eventTime)"), "event time"))
    }
    let id = intern(.view, view.name, own, parents, [], &drawing)
    for feature in view.features {
      let columns: [Parent]
      switch feature.kind {
      case .latest(let column, _):
        columns = [(drawing.id(.column, "\(view.source).\(column)"), "latest")]
      case .window(let window):
        let aggregated = window.column.map { [($0, window.function.rawValue)] } ?? []
        let filtered = (window.filter?.names ?? []).map { ($0, "where") }
        columns = (aggregated + filtered).map {
          (drawing.id(.column, "\(view.source).\($0.0)"), $0.1)
        }
      case .derived: continue
      }
      intern(
        .feature, "\(view.name).\(feature.name)", feature, [(id, "view")] + columns,
        Self.attributes(feature), &drawing)
    }
  }

  /// Derived features come after what they read, whatever the order of the file.
  private mutating func addDerived(
    _ feature: FeatureDefinition, of view: ViewDefinition, _ project: ProjectDefinition,
    _ drawing: inout Drawing
  ) {
    let name = "\(view.name).\(feature.name)"
    guard case .derived(let expression) = feature.kind, drawing.id(.derived, name) == nil else {
      return
    }
    let names = expression.names.map {
      FeatureName($0) ?? FeatureName(view: view.name, feature: $0)
    }
    for one in names where drawing.drawn.feature(one) == nil {
      guard let other = project.view(one.view), let read = other.feature(one.feature) else {
        continue
      }
      addDerived(read, of: other, project, &drawing)
    }
    intern(
      .derived, name, feature, names.map { (drawing.drawn.feature($0), "reads") },
      Self.attributes(feature), &drawing)
  }

  private static func attributes(_ feature: FeatureDefinition) -> [LineageGraph.Attribute] {
    var attributes: [LineageGraph.Attribute] = [.init("type", feature.type.rawValue)]
    switch feature.kind {
    case .latest(let column, let ttl):
      attributes.append(.init("latest", column))
      if let ttl { attributes.append(.init("ttl", ttl.description)) }
    case .window(let window):
      attributes.append(.init(window.function.rawValue, window.column ?? "*"))
      if let filter = window.filter { attributes.append(.init("where", filter.text)) }
      attributes.append(.init("window", window.length.description))
    case .derived(let expression): attributes.append(.init("derived", expression.text))
    }
    return attributes
  }

  private mutating func add(
    _ model: ModelDefinition, _ project: ProjectDefinition, _ drawing: inout Drawing
  ) {
    for input in model.inputs {
      intern(
        .input, "\(model.name).\(input.name)", input, [], [.init("type", input.type.rawValue)],
        &drawing)
    }
    var rows: [Parent] = model.features.map {
      (vectorNode($0, of: model, path: [], &drawing), "feature")
    }
    rows += spineParents(model, project, drawing)
    rows += labelParents(model, project, drawing)
    drawing.drawn.training[model.name] = rows.compactMap { row in
      row.id.map { (id: $0, role: row.role) }
    }
    var parents = rows
    if let run = model.train?.run {
      let digest = drawing.digest(run)
      let code = intern(
        .code, run.description, [run.description, digest ?? ""], [],
        digest.map { [.init("digest", $0)] } ?? [], &drawing)
      parents.append((code, "train"))
    }
    var own = model
    own.drift = nil
    own.rollout = nil
    own.train?.schedule = nil
    intern(.model, model.name, own, parents, [], &drawing)
  }

  /// The node of one column of a model's vector; its own derived ones are drawn as they are met.
  private mutating func vectorNode(
    _ feature: ModelFeature, of model: ModelDefinition, path: [String], _ drawing: inout Drawing
  ) -> String? {
    switch feature.origin {
    case .view(let name): return drawing.drawn.feature(name)
    case .input: return drawing.id(.input, "\(model.name).\(feature.name)")
    case .derived(let expression):
      let name = "\(model.name).\(feature.name)"
      guard !path.contains(feature.name) else { return nil }
      if let id = drawing.id(.derived, name) { return id }
      let parents: [Parent] = expression.names.map { operand in
        if let name = FeatureName(operand) { return (drawing.drawn.feature(name), "reads") }
        if let other = model.features.first(where: { $0.name == operand }) {
          return (
            vectorNode(other, of: model, path: path + [feature.name], &drawing), "reads"
          )
        }
        return (drawing.id(.input, "\(model.name).\(operand)"), "reads")
      }
      return intern(
        .derived, name, feature, parents,
        [.init("type", feature.type.rawValue), .init("derived", expression.text)], &drawing)
    }
  }

  private func spineParents(
    _ model: ModelDefinition, _ project: ProjectDefinition, _ drawing: Drawing
  ) -> [Parent] {
    guard let spine = model.spine else { return [] }
    func field(_ name: String, _ role: String) -> Parent {
      // A field that is no column is the event's time or id, kept with every event.
      (
        drawing.id(.column, "\(spine.source).\(name)") ?? drawing.id(.source, spine.source), role
      )
    }
    let keys = model.entities.flatMap { project.entity($0)?.key ?? [] }
    return [field(spine.time, "spine")] + keys.map { field($0, "spine") }
      + model.inputs.map { field($0.name, "spine") }
  }

  private func labelParents(
    _ model: ModelDefinition, _ project: ProjectDefinition, _ drawing: Drawing
  ) -> [Parent] {
    guard let label = model.label else { return [] }
    let names = label.value.names + (label.join.map { [$0] } ?? [])
    let columns: [Parent] = names.map {
      (
        drawing.id(.column, "\(label.source).\($0)") ?? drawing.id(.source, label.source), "label"
      )
    }
    return columns.isEmpty ? [(drawing.id(.source, label.source), "label")] : columns
  }
}

extension LineageBuilder {
  /// What the training rows of a model are made of.
  func trainingParents(of model: String, in drawn: Drawn) -> [(id: String, role: String)] {
    drawn.training[model] ?? []
  }
}
