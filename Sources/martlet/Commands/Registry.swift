import ArgumentParser
import Core
import Foundation

extension ModelsCommand {
  struct Stage: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      abstract:
        "Move a version to a stage: registered, staging, canary, shadow, production, archived.",
      discussion: """
        A version that comes to production or becomes the canary takes the place of another, which is archived.

        EXAMPLE
          martlet models stage churn 2 staging --why "for the team to try"
        """)
    @OptionGroup var options: CommonOptions
    @Argument(help: "The model.") var model: String
    @Argument(help: "The version.") var version: Int
    @Argument(help: "The stage.") var stage: String
    @Option(help: "Kept with the transition.") var why = "by hand"

    func run() async throws {
      let body = JSON.object([
        "stage": .string(stage), "who": .string(ModelsCommand.user), "why": .string(why),
      ])
      let answer = try await PlatformConnection.with(options) {
        try await $0.post("/api/v1/models/\(model.urlEscaped)/versions/\(version)/stage", body)
      }
      print(options.json ? answer.text : RegistryText.line(answer))
    }
  }

  struct Alias: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Let an alias name a version, or take it away.",
      discussion: """
        The alias of deployment (`registry.deploy_alias`, by default champion) always names the version in production: to set it is
        to promote.

        EXAMPLE
          martlet models alias churn challenger 2
          martlet models alias churn challenger --delete
        """)
    @OptionGroup var options: CommonOptions
    @Argument(help: "The model.") var model: String
    @Argument(help: "The alias.") var alias: String
    @Argument(help: "The version that it is to name.") var version: Int?
    @Flag(help: "Take the alias away.") var delete = false
    @Option(help: "Kept in the model's history.") var why = "by hand"

    func validate() throws {
      guard delete == (version == nil) else {
        throw ValidationError("Give the version that the alias is to name, or --delete.")
      }
    }

    func run() async throws {
      let path = "/api/v1/models/\(model.urlEscaped)/aliases/\(alias.urlEscaped)"
      var members: [JSON.Member] = [
        .init("who", .string(ModelsCommand.user)), .init("why", .string(why)),
      ]
      if let version { members.append(.init("version", .int(Int64(version)))) }
      let body = JSON.object(members)
      let answer = try await PlatformConnection.with(options) { platform in
        try await delete ? platform.delete(path, body) : platform.put(path, body)
      }
      if options.json { return print(answer.text) }
      print(delete ? "\(model) has no alias \(alias) any more" : RegistryText.line(answer))
    }
  }

  struct Tag: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Set tags of a model or one of its versions, or take them away.",
      discussion: """
        EXAMPLE
          martlet models tag churn team=growth
          martlet models tag churn --version 2 reviewed=yes --delete draft
        """)
    @OptionGroup var options: CommonOptions
    @Argument(help: "The model.") var model: String
    @Argument(help: "Tags as key=value.") var tags: [String] = []
    @Option(help: "The version; without it the tags are the model's.") var version: Int?
    @Option(help: "A tag to take away; may be repeated.") var delete: [String] = []

    func run() async throws {
      var members = try tags.map { tag in
        guard let split = tag.firstIndex(of: "="), split != tag.startIndex else {
          throw PlatformError(.invalidArgument, "'\(tag)' is not key=value, as in team=growth")
        }
        return JSON.Member(String(tag[..<split]), .string(String(tag[tag.index(after: split)...])))
      }
      members += delete.map { JSON.Member($0, .null) }
      let of = version.map { "/versions/\($0)" } ?? ""
      let body = JSON.object(members)
      let answer = try await PlatformConnection.with(options) {
        try await $0.patch("/api/v1/models/\(model.urlEscaped)\(of)/tags", body)
      }
      if options.json { return print(answer.text) }
      print("\(model)\(version.map { " version \($0)" } ?? ""): \(RegistryText.tags(answer))")
    }
  }

  struct History: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Show every change of a model's stages and aliases: when, who, why.",
      discussion: "EXAMPLE\n  martlet models history churn")
    @OptionGroup var options: CommonOptions
    @Argument(help: "The model.") var model: String

    func run() async throws {
      let answer = try await PlatformConnection.with(options) {
        try await $0.get("/api/v1/models/\(model.urlEscaped)/transitions")
      }
      if options.json { return print(answer.text) }
      let rows = (answer["transitions"]?.array ?? []).map { change in
        [
          change["at"]?.string ?? "", change["version"]?.text ?? "", RegistryText.what(change),
          change["who"]?.string ?? "", change["why"]?.string ?? "",
        ]
      }
      print(
        rows.isEmpty
          ? "nothing of \(model) was ever changed"
          : Terminal.table(["when", "version", "what", "who", "why"], rows))
    }
  }

  struct Registered: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      abstract:
        "List every registered model with aliases and tags, also those that are not served.",
      discussion: "EXAMPLE\n  martlet models registered")
    @OptionGroup var options: CommonOptions

    func run() async throws {
      let answer = try await PlatformConnection.with(options) {
        try await $0.get("/api/v1/registry/models")
      }
      if options.json { return print(answer.text) }
      let rows = (answer["models"]?.array ?? []).map { model in
        [
          model["name"]?.string ?? "", model["defined"]?.bool == true ? "yes" : "registry only",
          String(model["versions"]?.array?.count ?? 0), RegistryText.aliases(model),
          RegistryText.tags(model),
        ]
      }
      print(
        rows.isEmpty
          ? "no models are registered"
          : Terminal.table(["model", "defined", "versions", "aliases", "tags"], rows))
    }
  }

  /// Who acts, for the audit.
  static var user: String { ProcessInfo.processInfo.environment["USER"] ?? NSUserName() }
}

/// How the registry's answers look in a line.
enum RegistryText {
  static func line(_ version: JSON) -> String {
    let aliases = (version["aliases"]?.array ?? []).compactMap(\.string)
    return
      "\(version["model"]?.string ?? "") version \(version["version"]?.text ?? "") (\(version["stage"]?.string ?? ""))"
      + (aliases.isEmpty ? "" : ", \(aliases.joined(separator: ", "))")
  }

  static func aliases(_ model: JSON) -> String {
    guard case .object(let members)? = model["aliases"] else { return "" }
    return members.map { "\($0.key) → \($0.value.text)" }.joined(separator: ", ")
  }

  static func tags(_ thing: JSON) -> String {
    guard case .object(let members)? = thing["tags"] else { return "" }
    return members.isEmpty
      ? "no tags"
      : members.map { "\($0.key)=\($0.value.string ?? "")" }.joined(separator: ", ")
  }

  static func what(_ change: JSON) -> String {
    let detail = change["detail"]?.string ?? ""
    switch change["event"]?.string {
    case "alias": return "alias \(detail)"
    case "alias_deleted": return "alias \(detail) deleted"
    case "renamed": return "renamed from \(detail)"
    case "deleted": return "deleted"
    default:
      let to = change["to"]?.string ?? ""
      return change["from"]?.string.map { "\($0) → \(to)" } ?? to
    }
  }
}
