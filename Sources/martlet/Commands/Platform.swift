import ArgumentParser
import Core
import Foundation
import Server

struct UpCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "up", abstract: "Start the platform and serve until SIGINT or SIGTERM.",
    discussion: "EXAMPLE\n  MARTLET_SERVER_HTTP_PORT=0 martlet up --roles serving,monitoring")

  @OptionGroup var options: CommonOptions
  @Option(
    help: "What it does: serving, monitoring, orchestrator, with commas between (default: all).")
  var roles: String?

  func run() async throws {
    let (configuration, _) = try ConfigurationLoader.load(
      options, overrides: roles.map { ["roles": $0] } ?? [:])
    try await Platform.run(configuration)
  }
}

struct StatusCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "status", abstract: "What runs and how it is.",
    discussion: "EXAMPLE\n  martlet status")

  @OptionGroup var options: CommonOptions

  func run() async throws {
    let (configuration, _) = try ConfigurationLoader.load(options)
    guard options.server != nil || RunningPlatform.find(configuration) != nil else {
      throw PlatformError(
        .unavailable,
        "no platform runs on \(configuration.data.directory); start it with `martlet up`")
    }
    let answer = try await PlatformConnection.with(options) { try await $0.get("/api/v1/status") }
    if options.json { return print(answer.text) }
    guard case .object(let members) = answer else { return }
    for member in members { print("\(member.key): \(member.value.string ?? member.value.text)") }
  }
}

struct DoctorCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "doctor", abstract: "Check the machine and every back-end.",
    discussion: "EXAMPLE\n  martlet doctor")

  @OptionGroup var options: CommonOptions

  func run() async throws {
    let (configuration, _) = try ConfigurationLoader.load(options)
    let findings = await Doctor.examine(configuration)
    if options.json {
      print(JSON.object(["checks": .array(findings.map(\.json))]).text)
    } else {
      for finding in findings { print(finding.text) }
    }
    if findings.contains(where: { $0.verdict == .bad }) { throw ExitCode(1) }
  }
}

struct ConfigCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "config", abstract: "The configuration in force.",
    discussion: "EXAMPLE\n  martlet config show",
    subcommands: [Show.self], defaultSubcommand: Show.self)

  struct Show: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Print every value and where it came from; secrets are not shown.",
      discussion: "EXAMPLE\n  martlet config show")
    @OptionGroup var options: CommonOptions

    func run() throws {
      let (configuration, origins) = try ConfigurationLoader.load(options)
      let report = ConfigurationReport(configuration, origins: origins)
      print(options.json ? report.json : report.text)
    }
  }
}

extension ConfigurationLoader {
  static func load(
    _ options: CommonOptions, overrides: [String: String] = [:]
  ) throws -> (Configuration, ConfigurationOrigins) {
    try load(
      file: options.config, environment: ProcessInfo.processInfo.environment,
      workingDirectory: FileManager.default.currentDirectoryPath, overrides: overrides)
  }
}
