import ArgumentParser
import Core
import Foundation
import Server

extension ModelsCommand {
  struct Canary: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Give a version a share of the keys.",
      discussion: """
        The same keys go to it as long as it runs, and a greater share only adds some. Without a share it gets that of the model's \
        rollout rule, else 10%.

        EXAMPLE
          martlet models canary churn 3 --share 10%
        """)
    @OptionGroup var options: CommonOptions
    @Argument(help: "The model.") var model: String
    @Argument(help: "The version.") var version: Int
    @Option(help: "Of the keys, like 10% or 0.1.") var share: String?
    @Option(help: "Kept with the transition.") var why = "by hand"

    func run() async throws {
      var call = ModelsCommand.Transition(
        options: options, model: model, version: version, why: why, to: "canary")
      if let share {
        call.more = [.init("share", Double(share).map { .double($0) } ?? .string(share))]
      }
      try await move(call)
    }
  }

  struct Shadow: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Have a version see what is asked and answer nobody.",
      discussion: "EXAMPLE\n  martlet models shadow churn 3")
    @OptionGroup var options: CommonOptions
    @Argument(help: "The model.") var model: String
    @Argument(help: "The version.") var version: Int
    @Option(help: "Kept with the transition.") var why = "by hand"

    func run() async throws {
      try await move(
        .init(options: options, model: model, version: version, why: why, to: "shadow"))
    }
  }

  struct Rollback: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "End the canary, or bring back the version that was in production before.",
      discussion: "EXAMPLE\n  martlet models rollback churn --why \"odd scores\"")
    @OptionGroup var options: CommonOptions
    @Argument(help: "The model.") var model: String
    @Option(help: "Kept with the decision.") var why = "by hand"

    func run() async throws {
      let body = JSON.object(["who": .string(ModelsCommand.user), "why": .string(why)])
      let answer = try await PlatformConnection.with(options) {
        try await $0.post("/api/v1/models/\(model.urlEscaped)/rollback", body)
      }
      print(options.json ? answer.text : VersionText.line(answer))
    }
  }

  struct Rollout: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Show how the canary stands, and what was decided by which evidence.",
      discussion: "EXAMPLE\n  martlet models rollout churn")
    @OptionGroup var options: CommonOptions
    @Argument(help: "The model.") var model: String

    func run() async throws {
      let answer = try await PlatformConnection.with(options) {
        try await $0.get("/api/v1/models/\(model.urlEscaped)/rollout")
      }
      if options.json { return print(answer.text) }
      print("production  \(answer["production"]?.int.map { "version \($0)" } ?? "none")")
      print("shadow      \(answer["shadow"]?.int.map { "version \($0)" } ?? "none")")
      guard let canary = answer["canary"], canary != .null else {
        print("canary      none")
        return show(answer["decisions"]?.array ?? [])
      }
      let share = Terminal.rounded((canary["share"]?.number ?? 0) * 100, 1)
      print(
        "canary      version \(canary["version"]?.text ?? "") with \(share) % of the keys since "
          + (canary["since"]?.string ?? ""))
      if let error = answer["load_error"]?.string {
        print("            cannot be loaded: \(error)")
      }
      if let verdict = answer["standing"]?["verdict"] {
        print("            \(verdict["outcome"]?.string ?? ""): \(verdict["why"]?.string ?? "")")
        show(findings: verdict["findings"]?.array ?? [])
      }
      show(answer["decisions"]?.array ?? [])
    }

    private func show(findings: [JSON]) {
      func number(_ json: JSON?) -> String { json?.number.map { Terminal.rounded($0) } ?? "" }
      if findings.isEmpty { return }
      print(
        Terminal.table(
          ["limit", "allowed", "counted", "at least", "at most", "judgement"],
          findings.map { finding in
            [
              finding["limit"]?.string ?? "", number(finding["allowed"]),
              number(finding["observed"]), number(finding["low"]), number(finding["high"]),
              finding["judgement"]?.string ?? "",
            ]
          }))
    }

    private func show(_ decisions: [JSON]) {
      if decisions.isEmpty { return }
      print(
        Terminal.table(
          ["at", "version", "decision", "who", "why"],
          decisions.map { decision in
            [
              decision["at"]?.string ?? "", decision["version"]?.text ?? "",
              decision["decision"]?.string ?? "", decision["who"]?.string ?? "",
              decision["why"]?.string ?? "",
            ]
          }))
    }
  }

  struct Latency: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Show what predictions took, by version and route.",
      discussion: "EXAMPLE\n  martlet models latency churn")
    @OptionGroup var options: CommonOptions
    @Argument(help: "The model.") var model: String

    func run() async throws {
      let answer = try await PlatformConnection.with(options) {
        try await $0.get("/api/v1/models/\(model.urlEscaped)/latency")
      }
      if options.json { return print(answer.text) }
      var rows: [[String]] = []
      for series in answer["series"]?.array ?? [] {
        for window in series["windows"]?.array ?? [] {
          rows.append(
            [
              series["version"]?.text ?? "", series["route"]?.string ?? "",
              window["window"]?.string ?? "", window["part"]?.string ?? "",
            ] + ["count", "p50_us", "p95_us", "p99_us"].map { window[$0]?.text ?? "" })
        }
      }
      print(
        rows.isEmpty
          ? "no predictions in the last hour"
          : Terminal.table(
            ["version", "route", "window", "part", "calls", "p50 µs", "p95 µs", "p99 µs"], rows))
    }
  }
}
