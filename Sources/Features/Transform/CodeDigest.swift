import Core
import Crypto
import Foundation

/// The identity of a Python function: of its file, of the project's files that it imports, and of its pinned requirements.
package enum CodeDigest {
  /// SHA-256 in hexadecimal; nil where the file cannot be read. Of a file that imports none of the project and has no
  /// requirements it is the file's own.
  package static func of(_ reference: CodeReference, in directory: String) async -> String? {
    try? await offPool { try CodeFiles(reference, in: directory).digest() }
  }
}

/// The files that a Python function is made of.
struct CodeFiles: Sendable {
  struct File: Sendable {
    /// Relative to the folder of the function's file.
    var name: String
    var path: String
  }

  let files: [File]
  let requirements: String?

  /// Follows every import statement, wherever in a file it stands, to the files that it could mean.
  init(_ reference: CodeReference, in directory: String) throws {
    func place(_ file: String) -> String { file.hasPrefix("/") ? file : "\(directory)/\(file)" }
    let main = URL(fileURLWithPath: place(reference.file)).standardizedFileURL
    let folder = main.deletingLastPathComponent().path
    var found = [File(name: main.lastPathComponent, path: main.path)]
    var seen: Set<String> = [main.lastPathComponent]
    var next = 0
    while next < found.count {
      let file = found[next]
      next += 1
      let text = String(
        decoding: try Data(contentsOf: URL(fileURLWithPath: file.path)), as: UTF8.self)
      for name in PythonImports(text, of: file.name).candidates where seen.insert(name).inserted {
        let path = "\(folder)/\(name)"
        if FileManager.default.fileExists(atPath: path) {
          found.append(File(name: name, path: path))
        }
      }
      guard found.count <= Limits.codeFiles else {
        throw PlatformError(
          .invalidDefinition,
          "\(reference) imports more than \(Limits.codeFiles) files of the project; keep what it needs apart"
        )
      }
    }
    files = found.sorted { $0.name < $1.name }
    requirements = reference.requirements.map(place)
  }

  func digest() throws -> String {
    if files.count == 1, requirements == nil { return try Self.digest(of: files[0].path) }
    var lines = try files.map { "\($0.name) \(try Self.digest(of: $0.path))\n" }
    if let requirements { lines.append("requirements \(try Self.digest(of: requirements))\n") }
    return Self.hexadecimal(SHA256.hash(data: Data(lines.joined().utf8)))
  }

  /// What tells whether one of the files has changed since.
  var stamp: [String] {
    (files.map(\.path) + (requirements.map { [$0] } ?? [])).map { path in
      var status = stat()
      guard stat(path, &status) == 0 else { return "" }
      return
        "\(status.st_mtim.tv_sec).\(status.st_mtim.tv_nsec) \(status.st_size) \(status.st_ino)"
    }
  }

  private static func digest(of path: String) throws -> String {
    hexadecimal(SHA256.hash(data: try Data(contentsOf: URL(fileURLWithPath: path))))
  }

  private static func hexadecimal(_ digest: SHA256.Digest) -> String {
    let digits = Array("0123456789abcdef")
    return String(digest.flatMap { [digits[Int($0 >> 4)], digits[Int($0 & 15)]] })
  }
}

/// The modules that a Python text imports, as files that they could be.
struct PythonImports {
  /// Relative to the folder that modules are found in.
  private(set) var candidates: [String] = []

  /// - Parameter file: where the text stands, relative to that folder.
  init(_ text: String, of file: String) {
    var lines = text.split(whereSeparator: \.isNewline).map(String.init)[...]
    while let line = lines.popFirst() {
      for statement in line.split(separator: ";") {
        var words = statement.trimmingCharacters(in: .whitespaces)
        if words.hasPrefix("import ") { addImport(words.dropFirst(7)) }
        guard words.hasPrefix("from ") else { continue }
        // Names in brackets may go on over lines.
        while words.contains("("), !words.contains(")"), let more = lines.popFirst() {
          words += " " + (more.split(separator: "#", omittingEmptySubsequences: false).first ?? "")
        }
        addFrom(words.dropFirst(5), file)
      }
    }
  }

  private mutating func addImport(_ names: Substring) {
    for name in names.split(separator: ",") {
      if let module = name.split(separator: " ").first { add(module.split(separator: ".")) }
    }
  }

  private mutating func addFrom(_ rest: Substring, _ file: String) {
    guard let middle = rest.range(of: " import ") ?? rest.range(of: " import(") else { return }
    let module = rest[..<middle.lowerBound].trimmingCharacters(in: .whitespaces)
    let dots = module.prefix { $0 == "." }.count
    var parts: [Substring] = []
    if dots > 0 {
      parts = Array(file.split(separator: "/").dropLast(dots))
      guard file.split(separator: "/").count >= dots else { return }
    }
    parts += module.dropFirst(dots).split(separator: ".")
    add(parts)
    let names = rest[middle.upperBound...].replacingOccurrences(of: "(", with: " ")
      .replacingOccurrences(of: ")", with: " ")
    for name in names.split(separator: ",") {
      if let word = name.split(whereSeparator: \.isWhitespace).first { add(parts + [word]) }
    }
  }

  private mutating func add(_ parts: [Substring]) {
    guard !parts.isEmpty else { return }
    candidates.append(parts.joined(separator: "/") + ".py")
    for count in 1...parts.count {
      candidates.append(parts.prefix(count).joined(separator: "/") + "/__init__.py")
    }
  }
}
