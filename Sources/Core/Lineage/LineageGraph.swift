/// What was made from what, as one graph: sources → transforms → features → derived → models, and what became of them.
///
/// Guarantees: nodes and edges are without repeats and keep the order in which they were added; an edge joins
/// two nodes that are there. It is acyclic where `topologicalOrder` gives an order.
package struct LineageGraph: Sendable, Equatable {
  package enum Kind: String, Sendable, Codable, CaseIterable {
    case source, column, transform, entity, view, feature, derived, input, model, code, dataset,
      job,
      version, prediction
  }

  package struct Attribute: Sendable, Equatable {
    package var key: String
    package var value: String

    package init(_ key: String, _ value: String) {
      self.key = key
      self.value = value
    }
  }

  package struct Node: Sendable, Equatable {
    /// `kind:name`; what is no longer in force, and has a successor of its name, ends in `#` and what tells it apart.
    package var id: String
    package var kind: Kind
    package var name: String
    package var attributes: [Attribute]

    package init(id: String, kind: Kind, name: String, attributes: [Attribute] = []) {
      self.id = id
      self.kind = kind
      self.name = name
      self.attributes = attributes
    }

    package subscript(key: String) -> String? { attributes.first { $0.key == key }?.value }
  }

  /// `to` was made from `from`.
  package struct Edge: Sendable, Hashable {
    package var from: String
    package var to: String
    package var role: String

    package init(from: String, to: String, role: String) {
      self.from = from
      self.to = to
      self.role = role
    }
  }

  package private(set) var nodes: [Node] = []
  package private(set) var edges: [Edge] = []
  private var places: [String: Int] = [:]
  private var known: Set<Edge> = []
  /// Edges by the place of the node that they lead to, and by the one that they come from.
  private var incoming: [[Int]] = []
  private var outgoing: [[Int]] = []

  package init() {}

  package subscript(id: String) -> Node? { places[id].map { nodes[$0] } }

  /// Adds a node; one that has the id already stays as it is.
  package mutating func add(_ node: Node) {
    guard places[node.id] == nil else { return }
    places[node.id] = nodes.count
    nodes.append(node)
    incoming.append([])
    outgoing.append([])
  }

  /// Adds attributes to a node that is there.
  package mutating func describe(_ id: String, _ attributes: [Attribute]) {
    guard let place = places[id] else { return }
    nodes[place].attributes += attributes
  }

  /// Says that `to` was made from `from`; nothing happens where one of them is not there.
  package mutating func connect(_ from: String, to: String, role: String) {
    let edge = Edge(from: from, to: to, role: role)
    guard let start = places[from], let end = places[to], known.insert(edge).inserted else {
      return
    }
    outgoing[start].append(edges.count)
    incoming[end].append(edges.count)
    edges.append(edge)
  }

  /// The edges that lead to a node: what it was made from.
  package func sources(of id: String) -> [Edge] {
    places[id].map { incoming[$0].map { edges[$0] } } ?? []
  }

  /// The edges that come from a node: what was made from it.
  package func uses(of id: String) -> [Edge] {
    places[id].map { outgoing[$0].map { edges[$0] } } ?? []
  }

  package static func == (a: LineageGraph, b: LineageGraph) -> Bool {
    a.nodes == b.nodes && a.edges == b.edges
  }
}

/// Which way lineage is followed.
package enum LineageDirection: String, Sendable, CaseIterable { case upstream, downstream, both }

/// Nodes that were each made from the next, and the last from the first.
package struct LineageCycle: Error, Equatable, CustomStringConvertible {
  /// Names, the first again at the end.
  package var path: [String]

  package var description: String { "lineage goes in a circle: \(path.joined(separator: " → "))" }
}

extension LineageGraph {
  /// Every node after all that it was made from; among those that could come next, the one added first.
  package func topologicalOrder() throws(LineageCycle) -> [String] {
    var missing = incoming.map { Set($0.map { edges[$0].from }).count }
    var ready = PlaceHeap(nodes.indices.filter { missing[$0] == 0 })
    var order: [String] = []
    order.reserveCapacity(nodes.count)
    while let place = ready.pop() {
      order.append(nodes[place].id)
      for next in Set(outgoing[place].compactMap({ places[edges[$0].to] })) {
        missing[next] -= 1
        if missing[next] == 0 { ready.push(next) }
      }
    }
    guard order.count == nodes.count else { throw cycle(among: missing) }
    return order
  }

  /// Walks against the edges among the nodes that never became ready: it must come back to where it was.
  private func cycle(among missing: [Int]) -> LineageCycle {
    var path: [Int] = []
    var seen: [Int: Int] = [:]
    var place = missing.firstIndex { $0 > 0 } ?? 0
    while seen[place] == nil {
      seen[place] = path.count
      path.append(place)
      let before = incoming[place].compactMap { places[edges[$0].from] }
      place = before.first { missing[$0] > 0 } ?? place
    }
    let circle = path[(seen[place] ?? 0)...] + [place]
    return LineageCycle(path: circle.reversed().map { nodes[$0].name })
  }

  /// The ids of all that a node was made from, or of all that was made from it, without the node itself.
  package func closure(of id: String, _ direction: LineageDirection) -> Set<String> {
    switch direction {
    case .both: return closure(of: id, .upstream).union(closure(of: id, .downstream))
    case .upstream, .downstream: break
    }
    var found: Set<String> = []
    var open = [id]
    while let next = open.popLast() {
      let near =
        direction == .upstream ? sources(of: next).map(\.from) : uses(of: next).map(\.to)
      for one in near where one != id && found.insert(one).inserted { open.append(one) }
    }
    return found
  }

  /// A node with its closure and the edges between them, each node after all that it was made from.
  package func selection(
    of id: String, _ direction: LineageDirection
  ) throws(LineageCycle) -> LineageSelection {
    let kept = closure(of: id, direction).union([id])
    var part = LineageGraph()
    for one in try topologicalOrder() where kept.contains(one) {
      if let node = self[one] { part.add(node) }
    }
    for edge in edges where kept.contains(edge.from) && kept.contains(edge.to) {
      part.connect(edge.from, to: edge.to, role: edge.role)
    }
    return LineageSelection(root: id, direction: direction, graph: part)
  }
}

/// What was asked about a node: the part of the graph that answers it.
package struct LineageSelection: Sendable, Equatable {
  package var root: String
  package var direction: LineageDirection
  package var graph: LineageGraph

  package init(root: String, direction: LineageDirection, graph: LineageGraph) {
    self.root = root
    self.direction = direction
    self.graph = graph
  }
}

/// Places in a heap: the smallest comes out first.
private struct PlaceHeap {
  private var places: [Int]

  /// - Parameter places: in rising order, which is a heap.
  init(_ places: [Int]) { self.places = places }

  mutating func push(_ place: Int) {
    places.append(place)
    var child = places.count - 1
    while child > 0, places[(child - 1) / 2] > places[child] {
      places.swapAt(child, (child - 1) / 2)
      child = (child - 1) / 2
    }
  }

  mutating func pop() -> Int? {
    guard let first = places.first, let last = places.popLast() else { return nil }
    if places.isEmpty { return first }
    places[0] = last
    var parent = 0
    while true {
      let left = 2 * parent + 1
      guard left < places.count else { return first }
      let right = left + 1
      let child = right < places.count && places[right] < places[left] ? right : left
      guard places[child] < places[parent] else { return first }
      places.swapAt(child, parent)
      parent = child
    }
  }
}
