import Testing

@Suite struct LengthsTests {
  private func file(_ text: String, _ path: String = "Sources/Core/A.swift") -> SourceFile {
    SourceFile(path: path, text: text)
  }

  private func lines(_ count: Int, _ line: String = "  a()") -> String {
    String(repeating: line + "\n", count: count)
  }

  @Test("a file of 600 lines passes and one of 601 does not")
  func fileLength() throws {
    #expect(Lengths.fileViolations(in: file(lines(600))) == [])
    let violation = try #require(Lengths.fileViolations(in: file(lines(601))).first)
    #expect(violation.message.hasPrefix("601 lines, at most 600"))
    #expect(Lengths.fileViolations(in: file(lines(601), "python/a.py")).count == 1)
    #expect(Lengths.fileViolations(in: file("#!/bin/sh\n" + lines(600), "dev/a")).count == 1)
    #expect(Lengths.fileViolations(in: file(lines(601), "CHANGELOG.md")) == [])
  }

  @Test("a function of 70 lines passes and one of 71 does not")
  func functionLength() throws {
    #expect(Lengths.functionViolations(in: file("func f() {\n\(lines(68))}\n")) == [])
    let text = "\n\nfunc f() {\n\(lines(69))}\n"
    let violation = try #require(Lengths.functionViolations(in: file(text)).first)
    #expect(violation.line == 3)
    #expect(violation.message.hasPrefix("func f has 71 lines, at most 70"))
    #expect(Lengths.violations(in: file(text)) == [violation])
  }

  @Test("a Python function is measured too")
  func pythonFunctionLength() {
    #expect(Lengths.functionViolations(in: file("def f():\n\(lines(69))", "a.py")) == [])
    #expect(Lengths.functionViolations(in: file("def f():\n\(lines(70))", "a.py")).count == 1)
  }

  static let swift: [(source: String, expected: [FunctionSpan])] = [
    ("func f() {}", [FunctionSpan(name: "func f", firstLine: 1, lastLine: 1)]),
    (
      "struct S {\n  init(a: Int) {\n  }\n  subscript(i: Int) -> Int {\n    i\n  }\n}",
      [
        FunctionSpan(name: "init", firstLine: 2, lastLine: 3),
        FunctionSpan(name: "subscript", firstLine: 4, lastLine: 6),
      ]
    ),
    (
      "func f<T>(\n  _ a: T, then: () -> Void = { g() }\n) where T: P {\n  // }\n}",
      [FunctionSpan(name: "func f", firstLine: 1, lastLine: 5)]
    ),
    ("protocol P {\n  func a()\n  func b() -> Int\n}\nstruct S {}", []),
    ("var a: Int {\n  1\n}", [FunctionSpan(name: "var a", firstLine: 1, lastLine: 3)]),
    ("var a = f {\n  1\n}\nvar b: Int\nif c {}", []),
    ("let a = S.init(b) { c }\nself.init(d)\nlet e = `var`\nif f {}", []),
    (
      "func a() {\n  func b() {\n  }\n}",
      [
        FunctionSpan(name: "func a", firstLine: 1, lastLine: 4),
        FunctionSpan(name: "func b", firstLine: 2, lastLine: 3),
      ]
    ),
    (
      "static func == (a: S, b: S) -> Bool { true }",
      [FunctionSpan(name: "func ==", firstLine: 1, lastLine: 1)]
    ),
    ("let text = \"func f() {\"", []),
    ("func broken() {", []),
  ]

  @Test("Swift functions are found with their lines", arguments: swift)
  func findsSwiftFunctions(source: String, expected: [FunctionSpan]) {
    #expect(Lengths.functions(in: file(source)) == expected)
  }

  static let python: [(source: String, expected: [FunctionSpan])] = [
    ("def f(): return 1\n\nx = 1", [FunctionSpan(name: "def f", firstLine: 1, lastLine: 1)]),
    (
      "class C:\n    async def f(\n        self,\n    ) -> int:\n        return 1\n\n    x = 1",
      [FunctionSpan(name: "def f", firstLine: 2, lastLine: 5)]
    ),
    (
      "def f():\n    a = \"\"\"\nnot the end\ndef g():\n\"\"\"\n    return a\nf()",
      [FunctionSpan(name: "def f", firstLine: 1, lastLine: 6)]
    ),
    ("default = 1", []),
  ]

  @Test("Python functions are found with their lines", arguments: python)
  func findsPythonFunctions(source: String, expected: [FunctionSpan]) {
    #expect(Lengths.functions(in: file(source, "a.py")) == expected)
  }
}
