import Core
import TestKit
import Testing

/// A graph of numbered nodes; edges as pairs.
private func graph(_ count: Int, _ edges: [(Int, Int)]) -> LineageGraph {
  var graph = LineageGraph()
  for number in 0..<count {
    graph.add(LineageGraph.Node(id: "feature:n\(number)", kind: .feature, name: "n\(number)"))
  }
  for (from, to) in edges {
    graph.connect("feature:n\(from)", to: "feature:n\(to)", role: "reads")
  }
  return graph
}

/// Edges that go from lower to higher places of a shuffled order, so that no order of adding helps.
private func randomEdges(
  _ count: Int, using random: inout SeededGenerator
) -> (order: [Int], edges: [(Int, Int)]) {
  let order = (0..<count).shuffled(using: &random)
  var edges: [(Int, Int)] = []
  for _ in 0..<Int.random(in: 0...(count * 2), using: &random) where count > 1 {
    let low = Int.random(in: 0..<(count - 1), using: &random)
    let high = Int.random(in: (low + 1)..<count, using: &random)
    edges.append((order[low], order[high]))
  }
  return (order, edges.shuffled(using: &random))
}

@Suite("The lineage graph")
struct LineageGraphTests {
  @Test("in random graphs every node comes after all that it was made from", arguments: 0..<300)
  func topologicalOrder(seed: UInt64) throws {
    var random = SeededGenerator(seed: seed)
    let count = Int.random(in: 1...40, using: &random)
    let edges = randomEdges(count, using: &random).edges
    let order = try graph(count, edges).topologicalOrder()
    let places = Dictionary(uniqueKeysWithValues: order.enumerated().map { ($1, $0) })
    #expect(places.count == count)
    for (from, to) in edges {
      let (before, after) = (places["feature:n\(from)"], places["feature:n\(to)"])
      #expect(try #require(before) < #require(after), "seed \(seed): \(from) → \(to)")
    }
  }

  @Test("one edge back closes a circle, which is named from where it begins", arguments: 0..<300)
  func cycles(seed: UInt64) throws {
    var random = SeededGenerator(seed: seed)
    let count = Int.random(in: 2...30, using: &random)
    var (order, edges) = randomEdges(count, using: &random)
    let low = Int.random(in: 0..<(count - 1), using: &random)
    let high = Int.random(in: (low + 1)..<count, using: &random)
    edges += (low..<high).map { (order[$0], order[$0 + 1]) } + [(order[high], order[low])]
    let circular = graph(count, edges)
    let cycle = try #require(throws: LineageCycle.self) { try circular.topologicalOrder() }
    #expect(cycle.path.count >= 3 && cycle.path.first == cycle.path.last)
    let known = Set(edges.map { "n\($0.0) n\($0.1)" })
    for (from, to) in zip(cycle.path, cycle.path.dropFirst()) {
      #expect(known.contains("\(from) \(to)"), "seed \(seed): \(cycle)")
    }
    #expect(Set(cycle.path).count == cycle.path.count - 1)
  }

  @Test("closures are what can be reached edge by edge", arguments: 0..<100)
  func closures(seed: UInt64) {
    var random = SeededGenerator(seed: seed)
    let count = Int.random(in: 1...20, using: &random)
    let edges = randomEdges(count, using: &random).edges
    // Reachability by repeated joining.
    var reach = Array(repeating: Array(repeating: false, count: count), count: count)
    for (from, to) in edges { reach[from][to] = true }
    for middle in 0..<count {
      for from in 0..<count where reach[from][middle] {
        for to in 0..<count where reach[middle][to] { reach[from][to] = true }
      }
    }
    let graph = graph(count, edges)
    for node in 0..<count {
      let down = Set((0..<count).filter { reach[node][$0] }.map { "feature:n\($0)" })
      let up = Set((0..<count).filter { reach[$0][node] }.map { "feature:n\($0)" })
      #expect(graph.closure(of: "feature:n\(node)", .downstream) == down, "seed \(seed)")
      #expect(graph.closure(of: "feature:n\(node)", .upstream) == up, "seed \(seed)")
      #expect(graph.closure(of: "feature:n\(node)", .both) == up.union(down), "seed \(seed)")
    }
  }

  @Test("a circle of one is a circle")
  func selfReference() throws {
    let cycle = try #require(throws: LineageCycle.self) {
      try graph(2, [(0, 1), (1, 1)]).topologicalOrder()
    }
    #expect(cycle.description == "lineage goes in a circle: n1 → n1")
  }

  @Test("an edge to nothing is not there, and the same edge is there once")
  func edges() {
    let graph = graph(2, [(0, 1), (0, 1), (0, 7), (9, 1)])
    #expect(graph.edges.count == 1)
  }
}

@Suite("Lineage as text, JSON and DOT")
struct LineageWritingTests {
  /// A diamond with a tail: 0 → 1, 2 → 3 → 4.
  private func diamond() throws -> LineageGraph {
    var graph = LineageGraph()
    for node in [
      LineageGraph.Node(
        id: "source:orders", kind: .source, name: "orders",
        attributes: [.init("event_time", "ordered_at")]),
      LineageGraph.Node(
        id: "column:orders.amount", kind: .column, name: "orders.amount",
        attributes: [.init("type", "double")]),
      LineageGraph.Node(id: "view:buys", kind: .view, name: "buys"),
      LineageGraph.Node(
        id: "feature:buys.last", kind: .feature, name: "buys.last",
        attributes: [.init("type", "double"), .init("definitions_version", "3")]),
      LineageGraph.Node(
        id: "derived:buys.twice#2", kind: .derived, name: "buys.twice",
        attributes: [
          .init("derived", "if(kind = 'a\"b\\c', 1, 2)"), .init("definitions_version", "2"),
          .init("in_force", "false"),
        ]),
    ] { graph.add(node) }
    graph.connect("source:orders", to: "column:orders.amount", role: "column")
    graph.connect("source:orders", to: "view:buys", role: "events")
    graph.connect("column:orders.amount", to: "feature:buys.last", role: "latest")
    graph.connect("column:orders.amount", to: "feature:buys.last", role: "where")
    graph.connect("view:buys", to: "feature:buys.last", role: "view")
    graph.connect("feature:buys.last", to: "derived:buys.twice#2", role: "reads")
    return graph
  }

  @Test("upstream is a tree; what was shown is not opened again")
  func upstream() throws {
    let selection = try diamond().selection(of: "derived:buys.twice#2", .upstream)
    #expect(
      selection.text == #"""
        derived buys.twice [definitions 2, no longer in force]: derived if(kind = 'a"b\c', 1, 2)
        made from:
        └─ feature buys.last (reads): type double
           ├─ column orders.amount (latest, where): type double
           │  └─ source orders (column): event time ordered_at
           └─ view buys
              └─ source orders (events)
        """#)
  }

  @Test("downstream opens a shared node once and points back to it")
  func downstream() throws {
    let selection = try diamond().selection(of: "source:orders", .downstream)
    #expect(
      selection.text == #"""
        source orders: event time ordered_at
        used by:
        ├─ column orders.amount: type double
        │  └─ feature buys.last (latest, where): type double
        │     └─ derived buys.twice (reads) [definitions 2, no longer in force]: derived if(kind = 'a"b\c', 1, 2)
        └─ view buys (events)
           └─ feature buys.last (view) ↑
        """#)
  }

  @Test("both ways show what is above and below, and say where there is nothing")
  func both() throws {
    let view = try diamond().selection(of: "view:buys", .both)
    #expect(view.graph.nodes.map(\.name) == ["orders", "buys", "buys.last", "buys.twice"])
    #expect(view.text.contains("made from:\n└─ source orders (events)"))
    #expect(view.text.contains("used by:\n└─ feature buys.last"))
    let end = try diamond().selection(of: "derived:buys.twice#2", .both)
    #expect(end.text.hasSuffix("used by nothing"))
  }

  @Test("JSON has the nodes in topological order, and reads back")
  func json() throws {
    let selection = try diamond().selection(of: "feature:buys.last", .both)
    let json = try JSON(parsing: selection.json.utf8)
    #expect(json["root"]?.string == "feature:buys.last" && json["direction"]?.string == "both")
    #expect(
      json["nodes"]?.array?.compactMap { $0["id"]?.string } == [
        "source:orders", "column:orders.amount", "view:buys", "feature:buys.last",
        "derived:buys.twice#2",
      ])
    #expect(json["edges"]?.array?.count == 6)
    #expect(json["edges"]?.array?.first?["role"]?.string == "column")
    #expect(
      json["nodes"]?.array?.last?["attributes"]?["derived"]?.string == #"if(kind = 'a"b\c', 1, 2)"#)
  }

  @Test("DOT is a digraph with every node and edge, whatever is in their texts")
  func dot() throws {
    let selection = try diamond().selection(of: "source:orders", .downstream)
    let parsed = try DOTGraph(parsing: selection.dot)
    #expect(parsed.name == "lineage")
    #expect(parsed.nodes.keys.sorted() == selection.graph.nodes.map(\.id).sorted())
    #expect(parsed.edges.count == selection.graph.edges.count)
    #expect(parsed.nodes["source:orders"]?["label"] == #"source\norders"#)
    #expect(parsed.nodes["derived:buys.twice#2"]?["style"] == "dashed")
    #expect(
      parsed.nodes["derived:buys.twice#2"]?["tooltip"]?.hasPrefix(
        #"derived: if(kind = 'a"b\\c', 1, 2)\n"#) == true)
    #expect(parsed.edges.contains { $0.from == "view:buys" && $0.attributes["label"] == "view" })
  }
}
