extension LineageSelection {
  /// The selection for people: an indented tree each way; what was shown before is named, and not opened again.
  package var text: String {
    guard let node = graph[root] else { return "" }
    var lines = [Self.line(node)]
    if direction != .downstream { lines += tree(upstream: true) }
    if direction != .upstream { lines += tree(upstream: false) }
    return lines.joined(separator: "\n")
  }

  private func tree(upstream: Bool) -> [String] {
    let (title, none) =
      upstream ? ("made from", "made from nothing") : ("used by", "used by nothing")
    var seen: Set<String> = [root]
    var lines: [String] = []
    grow(root, upstream: upstream, indent: "", &seen, &lines)
    return lines.isEmpty ? [none] : ["\(title):"] + lines
  }

  private func grow(
    _ id: String, upstream: Bool, indent: String, _ seen: inout Set<String>, _ lines: inout [String]
  ) {
    let near = neighbours(of: id, upstream: upstream)
    for (index, one) in near.enumerated() {
      guard let node = graph[one.id] else { continue }
      let isLast = index == near.count - 1
      let isNew = seen.insert(one.id).inserted
      let isOpened = !isNew && !neighbours(of: one.id, upstream: upstream).isEmpty
      lines.append(
        indent + (isLast ? "└─ " : "├─ ")
          + (isNew
            ? Self.line(node, one.roles) : "\(Self.title(node, one.roles))\(isOpened ? " ↑" : "")"))
      if isNew {
        grow(
          one.id, upstream: upstream, indent: indent + (isLast ? "   " : "│  "), &seen, &lines)
      }
    }
  }

  /// The nodes next to one, each once with all its roles.
  private func neighbours(of id: String, upstream: Bool) -> [(id: String, roles: [String])] {
    var found: [(id: String, roles: [String])] = []
    var places: [String: Int] = [:]
    for edge in upstream ? graph.sources(of: id) : graph.uses(of: id) {
      let other = upstream ? edge.from : edge.to
      if let place = places[other] {
        found[place].roles.append(edge.role)
      } else {
        places[other] = found.count
        found.append((other, [edge.role]))
      }
    }
    return found
  }

  private static func title(_ node: LineageGraph.Node, _ roles: [String] = []) -> String {
    let said = roles.filter { $0 != node.kind.rawValue }
    return "\(node.kind.rawValue) \(node.name)"
      + (said.isEmpty ? "" : " (\(said.joined(separator: ", ")))")
  }

  private static func line(_ node: LineageGraph.Node, _ roles: [String] = []) -> String {
    let facts = node.attributes.filter { $0.key != "in_force" && $0.key != "definitions_version" }
      .map { "\($0.key.replacing("_", with: " ")) \($0.value)" }
    var text = title(node, roles)
    if node["in_force"] == "false" {
      text += " [definitions \(node["definitions_version"] ?? "?"), no longer in force]"
    }
    return facts.isEmpty ? text : "\(text): \(facts.joined(separator: "; "))"
  }
}

extension LineageSelection {
  package var json: JSON {
    .object([
      "root": .string(root), "direction": .string(direction.rawValue),
      "nodes": .array(
        graph.nodes.map { node in
          .object([
            "id": .string(node.id), "kind": .string(node.kind.rawValue),
            "name": .string(node.name),
            "attributes": .object(node.attributes.map { .init($0.key, .string($0.value)) }),
          ])
        }),
      "edges": .array(
        graph.edges.map { edge in
          .object([
            "from": .string(edge.from), "to": .string(edge.to), "role": .string(edge.role),
          ])
        }),
    ])
  }

  /// The selection as a Graphviz digraph; `dot -Tsvg` draws it.
  package var dot: String {
    var lines = [
      "digraph lineage {", "  rankdir=LR;",
      "  node [shape=box, fontname=\"sans-serif\", fontsize=10];",
      "  edge [fontname=\"sans-serif\", fontsize=8];",
    ]
    for node in graph.nodes {
      let label = Self.quoted("\(node.kind.rawValue)\n\(node.name)")
      let tip = Self.quoted(
        node.attributes.map { "\($0.key): \($0.value)" }.joined(separator: "\n"))
      var style = "shape=\(Self.shape(node.kind))"
      if node.id == root { style += ", penwidth=2" }
      if node["in_force"] == "false" { style += ", style=dashed" }
      lines.append("  \(Self.quoted(node.id)) [label=\(label), tooltip=\(tip), \(style)];")
    }
    for edge in graph.edges {
      lines.append(
        "  \(Self.quoted(edge.from)) -> \(Self.quoted(edge.to)) [label=\(Self.quoted(edge.role))];")
    }
    return (lines + ["}"]).joined(separator: "\n")
  }

  private static func shape(_ kind: LineageGraph.Kind) -> String {
    switch kind {
    case .source, .dataset: "cylinder"
    case .transform, .code, .job: "component"
    case .entity: "hexagon"
    case .view: "folder"
    case .model, .version: "box3d"
    case .prediction: "note"
    case .column, .feature, .derived, .input: "box"
    }
  }

  /// In DOT's double quotes a quotation mark is escaped; so is a backslash, as labels have escapes of their own.
  private static func quoted(_ text: String) -> String {
    var quoted = "\""
    for character in text.unicodeScalars {
      switch character {
      case "\"": quoted += "\\\""
      case "\\": quoted += "\\\\"
      case "\n": quoted += "\\n"
      case let control where control.value < 0x20: quoted += " "
      default: quoted.unicodeScalars.append(character)
      }
    }
    return quoted + "\""
  }
}
