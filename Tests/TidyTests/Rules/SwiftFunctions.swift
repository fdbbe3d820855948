/// Finds functions, initializers, subscripts and computed properties in Swift code whose comments
/// and strings are blanked.
struct SwiftFunctions {
  private struct Word {
    var text: String
    var range: Range<Int>
  }

  private static let declarations: Set<String> = ["deinit", "func", "init", "subscript", "var"]

  /// A word that begins the next declaration: what stands before it had no body.
  private static let boundaries: Set<String> = [
    "actor", "associatedtype", "deinit", "enum", "extension", "fileprivate", "func", "init",
    "internal", "let", "mutating", "nonmutating", "package", "private", "protocol", "public",
    "static", "struct", "subscript", "typealias", "var",
  ]

  private let code: [UInt8]

  static func all(in code: [UInt8]) -> [FunctionSpan] {
    let functions = SwiftFunctions(code: code)
    var spans: [FunctionSpan] = []
    var index = 0
    while let word = functions.word(from: index) {
      index = word.range.upperBound
      if let span = functions.span(of: word) { spans.append(span) }
    }
    return spans
  }

  private func span(of word: Word) -> FunctionSpan? {
    guard Self.declarations.contains(word.text), !isMember(word) else { return nil }
    guard
      let opening = body(after: word.range.upperBound, isProperty: word.text == "var"),
      let closing = closingBrace(of: opening)
    else { return nil }
    return FunctionSpan(
      name: name(of: word), firstLine: SourceLines.number(at: word.range.lowerBound, in: code),
      lastLine: SourceLines.number(at: closing, in: code))
  }

  /// `.init(` and `self.subscript` use a member, and `` `var` `` is a name; neither declares.
  private func isMember(_ word: Word) -> Bool {
    guard let before = code[..<word.range.lowerBound].last else { return false }
    return before == UInt8(ascii: ".") || before == UInt8(ascii: "`")
      || before == UInt8(ascii: "#")
  }

  private func name(of word: Word) -> String {
    guard word.text == "func" || word.text == "var" else { return word.text }
    let rest = code[word.range.upperBound...].drop { $0 == UInt8(ascii: " ") }
    let ends = "(<:{ \n".utf8
    return word.text + " " + String(decoding: rest.prefix { !ends.contains($0) }, as: UTF8.self)
  }

  /// Where the body's brace opens: the first one outside of parentheses and brackets, before any
  /// other declaration and before the scope ends. A property's body opens on its own line.
  private func body(after start: Int, isProperty: Bool) -> Int? {
    var depth = 0
    var index = start
    while index < code.count {
      switch code[index] {
      case UInt8(ascii: "("), UInt8(ascii: "["): depth += 1
      case UInt8(ascii: ")"), UInt8(ascii: "]"): depth -= 1
      case UInt8(ascii: "{") where depth == 0: return index
      case UInt8(ascii: "}") where depth == 0: return nil
      case UInt8(ascii: "="), SourceLines.newline:
        if isProperty, depth == 0 { return nil }
      case let byte where byte.isIdentifierByte:
        guard let word = word(from: index) else { return nil }
        if depth == 0, Self.boundaries.contains(word.text) { return nil }
        index = word.range.upperBound - 1
      default: break
      }
      if depth < 0 { return nil }
      index += 1
    }
    return nil
  }

  private func closingBrace(of opening: Int) -> Int? {
    var depth = 0
    for index in opening..<code.count {
      if code[index] == UInt8(ascii: "{") { depth += 1 }
      if code[index] == UInt8(ascii: "}") { depth -= 1 }
      if depth == 0 { return index }
    }
    return nil
  }

  private func word(from start: Int) -> Word? {
    guard let first = code[start...].firstIndex(where: \.isIdentifierByte) else { return nil }
    let end = code[first...].firstIndex { !$0.isIdentifierByte } ?? code.count
    return Word(text: String(decoding: code[first..<end], as: UTF8.self), range: first..<end)
  }
}
