import ArgumentParser
import Core
import Foundation
import Server

struct InitCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "init", abstract: "Write a first martlet.yaml and a training function.",
    discussion: "EXAMPLE\n  martlet init shop && cd shop && martlet plan")

  @Argument(help: "Folder to create (default: this one).")
  var folder: String = "."

  func run() throws {
    let files = ProjectTemplate.files(name: folder)
    for (name, _) in files {
      let path = URL(fileURLWithPath: folder).appendingPathComponent(name).path
      guard !FileManager.default.fileExists(atPath: path) else {
        throw PlatformError(.alreadyExists, "\(path) is there already; nothing was written")
      }
    }
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    for (name, text) in files {
      let url = URL(fileURLWithPath: folder).appendingPathComponent(name)
      try text.write(to: url, atomically: true, encoding: .utf8)
      print("wrote \(url.relativePath)")
    }
    print("next: martlet plan, then martlet apply")
  }
}

struct PlanCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "plan", abstract: "Show what `apply` would change.",
    discussion: "EXAMPLE\n  martlet plan")

  @OptionGroup var options: CommonOptions

  func run() async throws {
    try await definitions("plan", options, extra: [])
  }
}

struct ApplyCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "apply", abstract: "Put martlet.yaml in force, atomically.",
    discussion: "EXAMPLE\n  martlet apply")

  @OptionGroup var options: CommonOptions

  @Option(help: "Who applies (default: the user's name).")
  var author: String?

  func run() async throws {
    let author = author ?? ProcessInfo.processInfo.environment["USER"] ?? NSUserName()
    try await definitions("apply", options, extra: [.init("author", .string(author))])
  }
}

/// Sends the project's martlet.yaml to be planned or applied and prints the diff.
private func definitions(
  _ verb: String, _ options: CommonOptions, extra: [JSON.Member]
) async throws {
  let (configuration, _) = try ConfigurationLoader.load(options)
  let folder = URL(fileURLWithPath: configuration.project).standardizedFileURL.path
  let path = folder + "/martlet.yaml"
  guard let bytes = FileManager.default.contents(atPath: path) else {
    throw PlatformError(
      .notFound, "there is no \(path); `martlet init` writes one, `cd` goes where yours is")
  }
  guard let yaml = String(validating: bytes, as: UTF8.self) else {
    throw PlatformError(.invalidDefinition, "\(path) is not UTF-8; save it as UTF-8")
  }
  let body = JSON.object(
    [.init("yaml", .string(yaml)), .init("directory", .string(folder))] + extra)
  let answer = try await PlatformConnection.with(options) {
    try await $0.post("/api/v1/definitions/\(verb)", body)
  }
  print(options.json ? answer.text : answer["text"]?.string ?? answer.text)
}
