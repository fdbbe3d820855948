import Foundation
import Testing

/// Comments and strings vanish, code and positions stay.
@Suite struct SwiftBlankerTests {
  private func blank(_ source: String) -> String {
    String(decoding: SwiftBlanker.blank(Array(source.utf8)), as: UTF8.self)
  }

  static let cases: [(source: String, code: String)] = [
    ("let a = 1", "let a = 1"),
    ("a // b", "a     "),
    ("a /* b /* c */ d */ e", "a                   e"),
    (#"f("try!")"#, "f(      )"),
    (#"f("a\"b", c)"#, "f(      , c)"),
    (#"f("a\(b("c"))d")"#, "f(    b(   )   )"),
    ##"f(#"a"b"#, c)"##.paired(with: "f(       , c)"),
    ##"f(#"a\(b)"#, c)"##.paired(with: "f(         , c)"),
    ##"f(#"a\#(b)"#, c)"##.paired(with: "f(      b   , c)"),
    ("\"\"\"\na \"b\" c\n\"\"\" + d", "   \n       \n    + d"),
    ("\"// no comment\" + a", "                + a"),
    ("// \"\na", "    \na"),
    ("\"unterminated\na", "             \na"),
    ("#if os(Linux)", "#if os(Linux)"),
    ("", ""),
  ]

  @Test("comments and strings become spaces", arguments: cases)
  func blanks(source: String, code: String) {
    #expect(blank(source) == code)
  }

  @Test("every line of this file stays where it is")
  func keepsLines() throws {
    let text = Array(try String(contentsOfFile: #filePath, encoding: .utf8).utf8)
    let code = SwiftBlanker.blank(text)
    #expect(code.count == text.count)
    #expect(SourceLines.count(in: code) == SourceLines.count(in: text))
  }
}

extension String {
  fileprivate func paired(with code: String) -> (source: String, code: String) { (self, code) }
}
