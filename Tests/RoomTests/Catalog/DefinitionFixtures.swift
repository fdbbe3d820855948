import Catalog
import Core
import Foundation

/// The definition files beside the tests, good and bad.
enum DefinitionFixtures {
  private static let folder = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
    .appendingPathComponent("Fixtures")
  private static let pythonFiles: Set<String> = ["train.py", "transforms.py"]

  static func names(_ kind: String) -> [String] {
    let files =
      (try? FileManager.default.contentsOfDirectory(
        atPath: folder.appendingPathComponent(kind).path)) ?? []
    return files.filter { $0.hasSuffix(".yaml") }.map { String($0.dropLast(5)) }.sorted()
  }

  static func bytes(_ kind: String, _ name: String) throws -> [UInt8] {
    Array(try Data(contentsOf: folder.appendingPathComponent("\(kind)/\(name).yaml")))
  }

  static func text(_ kind: String, _ name: String) throws -> String {
    String(decoding: try bytes(kind, name), as: UTF8.self)
  }

  static func expected(_ name: String) throws -> String {
    try String(
      contentsOf: folder.appendingPathComponent("bad/\(name).expected"), encoding: .utf8)
  }

  static func parse(_ bytes: [UInt8]) throws(DefinitionErrors) -> ProjectDefinition {
    try DefinitionFile.parse(bytes, ProjectFiles(exists: pythonFiles.contains))
  }

  static func parse(_ text: String) throws(DefinitionErrors) -> ProjectDefinition {
    try parse(Array(text.utf8))
  }

  static func good(_ name: String) throws -> ProjectDefinition { try parse(bytes("good", name)) }
}
