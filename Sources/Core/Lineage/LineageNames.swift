/// What a name on the command line or in a URL means.
package struct LineageName: Sendable, Equatable {
  /// Nil where the name does not say.
  package var kind: LineageGraph.Kind?
  package var name: String

  /// Reads `name` or `kind:name`.
  package init(_ text: String) {
    if let colon = text.firstIndex(of: ":"),
      let kind = LineageGraph.Kind(rawValue: String(text[..<colon]))
    {
      self.kind = kind
      name = String(text[text.index(after: colon)...])
    } else {
      name = text
    }
  }

  /// The request id where a prediction is asked for.
  package var prediction: String? { kind == .prediction ? name : nil }
}

extension LineageGraph {
  /// Shortest part of a training set's hash that names it.
  private static let hashPrefix = 8

  /// The id of the node that a name means.
  ///
  /// A name is `source`, `source.column`, `view`, `view.feature`, `model`, `model@version`, `model@stage`, an entity,
  /// a job's id, `file.py:function`, a saved training set's name or id, or the beginning of a training set's hash; with `kind:` in front it means that kind only, and
  /// an id of a node means that node.
  ///
  /// - Throws: `.notFound` with the nearest name, `.invalidArgument` where it means several.
  package func resolve(_ text: String) throws(PlatformError) -> String {
    if self[text] != nil { return text }
    let wanted = LineageName(text)
    let found = nodes.filter { matches($0, wanted) }
    let current = found.filter { $0["in_force"] != "false" }
    switch (current.isEmpty ? found : current).map(\.id) {
    case let ids where ids.count == 1: return ids[0]
    case let ids where ids.isEmpty:
      throw PlatformError(
        .notFound,
        "nothing is called '\(text)'" + suggestion(for: wanted.name, among: names(wanted.kind)))
    case let ids:
      throw PlatformError(
        .invalidArgument,
        "'\(text)' may be \(ids.prefix(12).joined(separator: " or ")); say which")
    }
  }

  private func matches(_ node: Node, _ wanted: LineageName) -> Bool {
    if let kind = wanted.kind, kind != node.kind { return false }
    switch node.kind {
    case .dataset:
      // A version's is called as the version, which a bare name means; a model's sets are called as the model.
      if [node.name, node["dataset"]].contains(wanted.name) {
        return wanted.kind == .dataset || node["dataset"] != nil && node["model"] == nil
      }
      if node["saved_as"] == wanted.name { return true }
      return wanted.name.count >= Self.hashPrefix
        && [node["hash"], node["row_hash"]].contains { $0?.hasPrefix(wanted.name) == true }
    case .prediction: return wanted.kind == .prediction && node.name == wanted.name
    case .version:
      if node.name == wanted.name { return true }
      guard let model = node["model"], let stage = node["stage"] else { return false }
      return wanted.name == "\(model)@\(stage)"
    default: return node.name == wanted.name
    }
  }

  private func names(_ kind: Kind?) -> Set<String> {
    Set(nodes.filter { kind == nil || $0.kind == kind }.map(\.name))
  }
}
