import Core

/// The features of all views as a graph: finds the type of every derived feature and refuses cycles.
struct FeatureGraph {
  private struct Node {
    var view: String
    var feature: ReadFeature
  }

  private enum State {
    case open
    case done(ColumnType?)
  }

  private let diagnostics: Diagnostics
  private let views: [ReadView]
  private var nodes: [String: Node] = [:]
  private var states: [String: State] = [:]
  private var path: [String] = []
  private var namesByView: [String: [String]] = [:]

  /// The type of every feature by `view.feature`, nil for one in error.
  private(set) var types: [String: ColumnType?] = [:]

  init(_ views: [ReadView], _ diagnostics: Diagnostics) {
    self.views = views
    self.diagnostics = diagnostics
    for view in views {
      for feature in view.features {
        let name = "\(view.name.value).\(feature.name.value)"
        nodes[name] = Node(view: view.name.value, feature: feature)
        namesByView[view.name.value, default: []].append(feature.name.value)
        types[name] = .some(feature.written == nil ? feature.type : nil)
      }
    }
    for view in views {
      for feature in view.features { visit("\(view.name.value).\(feature.name.value)") }
    }
  }

  /// The views as definitions; features in error are left out.
  var definitions: [ViewDefinition] {
    views.map { view in
      ViewDefinition(
        name: view.name.value, entity: view.entity, source: view.source,
        features: view.features.compactMap { feature in
          guard let kind = feature.kind,
            let type = types["\(view.name.value).\(feature.name.value)"] ?? nil
          else { return nil }
          return FeatureDefinition(name: feature.name.value, kind: kind, type: type)
        })
    }
  }

  /// Depth first, so that what an expression reads has its type before the expression is checked.
  private mutating func visit(_ name: String) {
    guard states[name] == nil, let node = nodes[name], let written = node.feature.written else {
      return
    }
    states[name] = .open
    path.append(name)
    var isSound = true
    for used in written.expression.names {
      let full = used.contains(".") ? used : "\(node.view).\(used)"
      if case .open = states[full] {
        refuseCycle(closedBy: full, in: written, as: used)
        isSound = false
      } else if path.count >= Limits.expressionDepth {
        diagnostics.report(
          "\(written.what): more than \(Limits.expressionDepth) derived features follow from one another here",
          at: written.scalar.place)
        isSound = false
      } else {
        visit(full)
      }
    }
    path.removeLast()
    let type = isSound ? checkedType(written, in: node.view) : nil
    types[name] = .some(type)
    states[name] = .done(type)
  }

  private func checkedType(_ written: WrittenExpression, in view: String) -> ColumnType? {
    written.checkedType(
      given: { types[$0.contains(".") ? $0 : "\(view).\($0)"] },
      among: { types.keys + (namesByView[view] ?? []) },
      noun: "a feature of view '\(view)' or view.feature", diagnostics)
  }

  private func refuseCycle(closedBy name: String, in written: WrittenExpression, as used: String) {
    let start = path.firstIndex(of: name) ?? path.startIndex
    let circle = (path[start...] + [name]).joined(separator: " → ")
    diagnostics.report(
      "\(written.what): a cycle of derived features: \(circle)", at: written.place(of: used))
  }
}
