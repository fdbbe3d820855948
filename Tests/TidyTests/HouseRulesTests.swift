import Testing

/// The house rules held against the repository itself.
@Suite struct HouseRulesTests {
  static let files = Result { try Repository.files() }

  private func broken(_ rule: (SourceFile) -> [Violation]) throws -> [Violation] {
    try Self.files.get().flatMap(rule)
  }

  private func list(_ violations: [Violation]) -> Comment {
    Comment(rawValue: "\n" + violations.map(\.description).joined(separator: "\n"))
  }

  @Test("the rules look at the repository's own files")
  func findsTheRepository() throws {
    let paths = Set(try Self.files.get().map(\.path))
    #expect(paths.contains("Package.swift"))
    #expect(paths.contains("dev/bootstrap"))
    #expect(paths.contains(HouseBans.clockFile))
    #expect(!paths.contains { $0.hasPrefix("Sources/Wire/") || $0.hasPrefix(".build/") })
  }

  @Test("every row of the import table has its folder")
  func everyRowHasFiles() throws {
    let paths = try Self.files.get().map(\.path)
    let empty = ImportTable.rows.filter { row in
      row.target != "Wire" && !paths.contains { $0.hasPrefix(row.folder + "/") }
    }
    #expect(empty.map(\.target) == [])
  }

  @Test("targets import only what the table lets them")
  func imports() throws {
    let violations = try broken(ImportTable.violations)
    #expect(violations.isEmpty, list(violations))
  }

  @Test("no file is longer than 600 lines")
  func fileLengths() throws {
    let violations = try broken(Lengths.fileViolations)
    #expect(violations.isEmpty, list(violations))
  }

  @Test("no function is longer than 70 lines")
  func functionLengths() throws {
    let violations = try broken(Lengths.functionViolations)
    #expect(violations.isEmpty, list(violations))
  }

  @Test("nothing banned is called")
  func bannedCalls() throws {
    let violations = try broken { file in HouseBans.all.flatMap { $0.violations(in: file) } }
    #expect(violations.isEmpty, list(violations))
  }
}
