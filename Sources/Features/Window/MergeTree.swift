import Core

/// Something that holds what two of its kind held together, in any order.
protocol Mergeable {
  mutating func merge(_ other: Self)
}

extension Partial: Mergeable {}
extension Sketch: Mergeable {}

/// Aggregates under a binary tree, so that any run of them is merged in logarithmic time, without
/// subtracting.
struct MergeTree<Content: Mergeable> {
  private let empty: Content
  private var nodes: [Content] = []
  private var leaves = 0

  init(empty: Content) { self.empty = empty }

  mutating func build(leaves: Int, _ leaf: (Int) -> Content) {
    self.leaves = leaves
    nodes.removeAll(keepingCapacity: true)
    nodes.append(contentsOf: repeatElement(empty, count: leaves))
    for position in 0..<leaves { nodes.append(leaf(position)) }
    for node in stride(from: leaves - 1, to: 0, by: -1) {
      nodes[node] = nodes[2 * node]
      nodes[node].merge(nodes[2 * node + 1])
    }
  }

  mutating func add(_ content: Content, at leaf: Int) {
    var node = leaf + leaves
    while node > 0 {
      nodes[node].merge(content)
      node >>= 1
    }
  }

  /// Everything in `first..<last`.
  func merged(_ first: Int, _ last: Int) -> Content {
    var result = empty
    var low = first + leaves
    var high = last + leaves
    while low < high {
      if low & 1 == 1 {
        result.merge(nodes[low])
        low += 1
      }
      if high & 1 == 1 {
        high -= 1
        result.merge(nodes[high])
      }
      low >>= 1
      high >>= 1
    }
    return result
  }
}
