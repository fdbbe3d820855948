import TestKit

/// A reader of the DOT language as Graphviz defines it (graphviz.org/doc/info/lang.html), without subgraphs and HTML.
struct DOTGraph {
  struct Edge {
    var from: String
    var to: String
    var attributes: [String: String]
  }

  private(set) var name = ""
  private(set) var nodes: [String: [String: String]] = [:]
  private(set) var edges: [Edge] = []
  private var tokens: [String]
  private var next = 0

  /// Keeps escapes of labels as they stand: in a quoted string only `\"` is one of the language.
  init(parsing text: String) throws {
    tokens = try Self.tokens(text)
    try expect("digraph")
    name = try identifier()
    try expect("{")
    while peek != "}" { try statement() }
    try expect("}")
    guard next == tokens.count else { throw Disappointment("text after the graph: \(peek)") }
  }

  private mutating func statement() throws {
    let first = try identifier()
    if peek == "=" {
      next += 1
      _ = try identifier()
    } else if peek == "->" {
      next += 1
      let to = try identifier()
      edges.append(Edge(from: first, to: to, attributes: try attributes()))
    } else {
      let attributes = try attributes()
      if !["node", "edge", "graph"].contains(first) { nodes[first] = attributes }
    }
    try expect(";")
  }

  private mutating func attributes() throws -> [String: String] {
    guard peek == "[" else { return [:] }
    next += 1
    var found: [String: String] = [:]
    while peek != "]" {
      let key = try identifier()
      try expect("=")
      found[key] = try identifier()
      if peek == "," || peek == ";" { next += 1 }
    }
    next += 1
    return found
  }

  private var peek: String { next < tokens.count ? tokens[next] : "" }

  private mutating func expect(_ token: String) throws {
    guard peek == token else { throw Disappointment("expected \(token), found '\(peek)'") }
    next += 1
  }

  /// Quoted strings carry their quote in front, so that `"->"` is no arrow.
  private mutating func identifier() throws -> String {
    let token = peek
    next += 1
    if token.hasPrefix("\"") { return String(token.dropFirst()) }
    guard token.first?.isLetter == true || token.first?.isNumber == true else {
      throw Disappointment("'\(token)' is no name")
    }
    return token
  }

  private static func tokens(_ text: String) throws -> [String] {
    var tokens: [String] = []
    var rest = text[...]
    while let first = rest.first {
      if first.isWhitespace {
        rest.removeFirst()
      } else if first == "\"" {
        rest.removeFirst()
        var token = "\""
        while let character = rest.popFirst(), character != "\"" {
          if character == "\\", let escaped = rest.first {
            rest.removeFirst()
            token += escaped == "\"" ? "\"" : "\\\(escaped)"
          } else {
            token.append(character)
          }
          guard !rest.isEmpty else { throw Disappointment("a string is not closed") }
        }
        tokens.append(token)
      } else if rest.hasPrefix("->") {
        tokens.append("->")
        rest.removeFirst(2)
      } else if first.isLetter || first.isNumber || first == "_" || first == "." {
        let word = rest.prefix { $0.isLetter || $0.isNumber || $0 == "_" || $0 == "." }
        tokens.append(String(word))
        rest.removeFirst(word.count)
      } else if "{}[]=;,".contains(first) {
        tokens.append(String(first))
        rest.removeFirst()
      } else {
        throw Disappointment("'\(first)' is no part of DOT")
      }
    }
    return tokens
  }
}
