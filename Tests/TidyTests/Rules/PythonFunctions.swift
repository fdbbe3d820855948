/// Finds functions in Python source by indentation; text inside triple quotes never ends one.
enum PythonFunctions {
  static func all(in text: [UInt8]) -> [FunctionSpan] {
    let lines = SourceLines.split(text)
    let quoted = quotedLines(lines)
    return lines.indices.compactMap { index in
      guard !quoted[index], let name = name(declaredBy: lines[index]) else { return nil }
      let last = lastLine(of: index, lines: lines, quoted: quoted)
      return FunctionSpan(name: name, firstLine: index + 1, lastLine: last + 1)
    }
  }

  private static func name(declaredBy line: String) -> String? {
    let words = line.split(separator: " ").filter { $0 != "async" }
    guard words.first == "def", words.count > 1 else { return nil }
    return "def " + words[1].prefix { $0 != "(" }
  }

  /// The signature ends where its parentheses close; the body is what is indented further.
  private static func lastLine(of start: Int, lines: [String], quoted: [Bool]) -> Int {
    var index = start
    var open = 0
    repeat {
      open += lines[index].count { $0 == "(" } - lines[index].count { $0 == ")" }
      index += 1
    } while open > 0 && index < lines.count
    var last = index - 1
    let margin = indentation(of: lines[start])
    while index < lines.count {
      let isBlank = lines[index].allSatisfy(\.isWhitespace)
      if !isBlank, !quoted[index], indentation(of: lines[index]) <= margin { break }
      if !isBlank { last = index }
      index += 1
    }
    return last
  }

  private static func indentation(of line: String) -> Int {
    line.prefix { $0 == " " || $0 == "\t" }.count
  }

  /// Whether each line begins inside a triple-quoted string.
  private static func quotedLines(_ lines: [String]) -> [Bool] {
    var inside = false
    return lines.map { line in
      let before = inside
      let marks = line.split(separator: "\"\"\"", omittingEmptySubsequences: false).count - 1
      if !marks.isMultiple(of: 2) { inside.toggle() }
      return before
    }
  }
}
