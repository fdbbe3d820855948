import Core
import Features
import Foundation
import TestKit
import Testing

/// What a transform's digest is made of.
@Suite("Transform code")
struct TransformCodeTests {
  private let reference = CodeReference(file: "clean.py", function: "clean")

  private func digest(
    _ files: [String: String], _ reference: CodeReference? = nil
  ) async throws -> String? {
    let folder = try TemporaryFolder()
    defer { folder.remove() }
    for name in files.keys where name.contains("/") {
      try FileManager.default.createDirectory(
        atPath: "\(folder.path)/\((name as NSString).deletingLastPathComponent)",
        withIntermediateDirectories: true)
    }
    for (name, text) in files { try folder.write(text, to: name) }
    return await CodeDigest.of(reference ?? self.reference, in: folder.path)
  }

  @Test("a file that imports nothing of the project has its own digest")
  func alone() async throws {
    // printf abc | sha256sum
    #expect(
      try await digest(["clean.py": "abc"])
        == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")
    #expect(
      try await digest(["clean.py": "abc", "other.py": "x"]) == digest(["clean.py": "abc"]))
  }

  @Test(
    "a change of an imported file is a change of the code",
    arguments: [
      ("import part", "part.py"), ("import numpy, part as p", "part.py"),
      ("from part import x", "part.py"), ("def f():\n    from part import x", "part.py"),
      ("from package import part", "package/part.py"),
      ("from package.part import (\n    x,  # one\n    y,\n)", "package/part.py"),
      ("from package import (\n    other,\n    part,\n)", "package/part.py"),
      ("import package.part", "package/__init__.py"), ("from . import part", "part.py"),
      ("from .part import x", "part.py"), ("import os; import part", "part.py"),
    ])
  func imported(_ text: String, _ file: String) async throws {
    let before = try await digest(["clean.py": text, file: "x = 1"])
    let after = try await digest(["clean.py": text, file: "x = 2"])
    let same = try await digest(["clean.py": text, file: "x = 1", "unused.py": "x = 3"])
    #expect(before != nil)
    #expect(before != after)
    #expect(before == same)
  }

  @Test("imports are followed through packages, and round a circle once")
  func transitive() async throws {
    let files = [
      "clean.py": "import package.a", "package/__init__.py": "", "package/a.py": "from .b import x",
      "package/b.py": "from . import c\nimport clean", "package/c.py": "x = 1",
    ]
    let changed = files.merging(["package/c.py": "x = 2"]) { $1 }
    #expect(try await digest(files) != digest(changed))
  }

  @Test("pinned requirements are part of the code")
  func requirements() async throws {
    var pinned = reference
    pinned.requirements = "requirements.txt"
    let files = ["clean.py": "abc", "requirements.txt": "numpy==1.26.4\n"]
    let changed = files.merging(["requirements.txt": "numpy==2.0.0\n"]) { $1 }
    let (bare, before) = try await (digest(files), digest(files, pinned))
    #expect(bare != before)
    #expect(try await before != digest(changed, pinned))
  }

  @Test("code that is not there has no digest")
  func missing() async throws {
    #expect(try await digest([:]) == nil)
  }
}
