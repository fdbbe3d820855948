import ArgumentParser
import Core
import Foundation
import NIOCore

struct LineageCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "lineage", abstract: "Show what something was made from, and what uses it.",
    discussion: """
      NAME is a source, source.column, view, view.feature, model, model@version, model@production, an entity, a job's id, the
      beginning of a training set's hash, or prediction:REQUEST_ID. Where a name means several things, put the kind in front:
      source:orders, view:orders.

      EXAMPLE
        martlet lineage churn@1 --upstream
        martlet lineage orders.amount --downstream --format dot | dot -Tsvg > amount.svg
      """)

  enum Format: String, ExpressibleByArgument, CaseIterable { case text, json, dot }

  @OptionGroup var options: CommonOptions
  @Argument(help: "What it is about.") var name: String
  @Flag(help: "Only what it was made from.") var upstream = false
  @Flag(help: "Only what was made from it.") var downstream = false
  @Option(help: "How it is written: text, json, or dot for Graphviz.") var format = Format.text

  func run() async throws {
    let direction = upstream == downstream ? "both" : upstream ? "upstream" : "downstream"
    let format = options.json ? Format.json : format
    let path =
      "/api/v1/lineage/\(name.urlEscaped)?direction=\(direction)&format=\(format.rawValue)"
    let answer = try await PlatformConnection.with(options) { try await $0.text(path) }
    print(answer.hasSuffix("\n") ? String(answer.dropLast()) : answer)
  }
}
