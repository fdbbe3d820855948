import Testing

@Suite struct BannedCallTests {
  private func messages(_ text: String, in path: String) -> [String] {
    let file = SourceFile(path: path, text: text)
    return HouseBans.all.flatMap { $0.violations(in: file) }.map(\.description)
  }

  static let room = "Sources/Features/A.swift"
  static let test = "Tests/RoomTests/A.swift"

  static let banned: [(text: String, path: String)] = [
    ("let a = try! f()", room),
    ("let a = b as! Int", test),
    ("fatalError()", room),
    ("preconditionFailure()", room),
    ("print(a)", room),
    ("print(a)", test),
    ("debugPrint(a)", "Sources/Server/A.swift"),
    ("Swift.print(a)", room),
    ("try await Task.sleep(for: .seconds(1))", test),
    ("sleep(1)", test),
    ("usleep(1)", test),
    ("Thread.sleep(forTimeInterval: 1)", room),
    ("let now = Date()", room),
    ("let now = Date.now", test),
    ("Task { await f() }", room),
    ("Task{ await f() }", "Sources/Core/A.swift"),
    ("Task(priority: .high) { await f() }", "Sources/Server/A.swift"),
    ("Task.detached { await f() }", "Sources/Backends/DuckDB/A.swift"),
    ("DispatchQueue.main.async { f() }", "Sources/martlet/A.swift"),
    ("public struct A {}", room),
    ("@testable import Core", test),
    ("// TO" + "DO: later", room),
    ("# FIX" + "ME", "python/a.py"),
    ("data: /wo" + "rk/data", "examples/shop/martlet.yaml"),
    ("cd \"/ro" + "ot/x\"", "dev/a"),
  ]

  @Test("what is banned is found, once, with its line", arguments: banned)
  func refuses(text: String, path: String) throws {
    let found = messages("\n" + text + "\n", in: path)
    let message = try #require(found.first)
    #expect(found.count == 1)
    #expect(message.hasPrefix("\(path):2: `"))
    #expect(message.contains("` is banned: "))
  }

  static let fine: [(text: String, path: String)] = [
    ("let a = try f()", room),
    ("let a = try? f()", room),
    ("let a = b as? Int", room),
    ("// try! nothing", room),
    ("log.info(\"try!\")", room),
    ("print(a)", "Sources/martlet/A.swift"),
    ("terminal.print(a)", room),
    ("func print(_ a: Int) {}", room),
    ("blueprint(a)", room),
    ("try await Task.sleep(for: .seconds(1))", room),
    ("try await clock.sleep(until: a)", test),
    ("var now: Date { Date() }", HouseBans.clockFile),
    ("Date(timeIntervalSince1970: 0)", room),
    ("TrainingTask(a)", room),
    ("withTaskGroup(of: A.self) { group in }", room),
    ("let running: Task<Void, Never>?", room),
    ("let running = Task { await f() }", test),
    ("Task { await f() }", "Sources/martlet/A.swift"),
    ("package struct A {}", room),
    ("public struct A {}", HouseBans.inlinedFiles.min() ?? ""),
    ("mkdir \"$1/wo" + "rk/a\"", "dev/a"),
  ]

  @Test("what only looks like it passes", arguments: fine)
  func passes(text: String, path: String) {
    #expect(messages(text, in: path) == [])
  }

  @Test("every ban has a case that shows it at work")
  func everyNeedleIsProven() {
    let files = Self.banned.map { SourceFile(path: $0.path, text: $0.text) }
    let idle = HouseBans.all.filter { ban in
      files.allSatisfy { ban.violations(in: $0).isEmpty }
    }
    #expect(idle.map(\.needles) == [])
  }

  @Test("two on one line are two")
  func findsEvery() {
    #expect(messages("let a = try! b(try! c())", in: Self.room).count == 2)
  }
}
