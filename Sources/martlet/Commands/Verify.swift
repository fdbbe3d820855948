import ArgumentParser
import Core
import Server

extension FeaturesCommand {
  struct Verify: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Recompute served features from the warehouse and report what differs.",
      discussion: """
        Without --live, a sample of the logged predictions; with it, features of random known keys, read now. Each \
        is recomputed as it was known at that instant. The exit status is 1 where the share of values that differ is \
        above --threshold, and where there was nothing to compare, so that a build can hold it.

        EXAMPLE
          martlet features verify --model churn --window 24h --sample 1000
          martlet features verify --live --views customer_orders --threshold 0.001
        """)
    @OptionGroup var options: CommonOptions
    @Option(help: "Only predictions of this model.") var model: String?
    @Option(help: "How far back predictions are taken from (default: 24h).") var window: String?
    @Option(help: "How many predictions, or keys of each view, are taken at random.")
    var sample = 1_000
    @Flag(help: "Read features of random known keys now, instead of taking the log.")
    var live = false
    @Option(parsing: .upToNextOption, help: "With --live, only these views.") var views: [String] =
      []
    @Option(help: "The share of differing values that is borne, 0 to 1.") var threshold = 0.0

    func run() async throws {
      let body = JSON.object([
        "live": .bool(live), "sample": .int(Int64(sample)), "threshold": .double(threshold),
        "window": window.map { .string($0) } ?? .null,
        "model": model.map { .string($0) } ?? .null,
        "views": .array(views.map { .string($0) }),
      ])
      let answer = try await PlatformConnection.with(options) {
        try await $0.post("/api/v1/features/verify", body)
      }
      options.json ? print(answer.text) : show(answer)
      if answer["passed"]?.bool != true { throw ExitCode(1) }
    }

    private func show(_ answer: JSON) {
      func count(_ name: String) -> Int64 { answer[name]?.int ?? 0 }
      let rows = (answer["features"]?.array ?? []).map { feature in
        var causes = ""
        if case .object(let members)? = feature["causes"] {
          causes = members.map { "\($0.key) \($0.value.text)" }.joined(separator: ", ")
        }
        return [feature["feature"]?.string ?? "", feature["compared"]?.text ?? "", causes]
      }
      if !rows.isEmpty { print(Terminal.table(["feature", "compared", "differs"], rows)) }
      for example in answer["examples"]?.array ?? [] {
        func text(_ name: String) -> String { example[name].map { $0.string ?? $0.text } ?? "" }
        print(
          "\(text("request")) at \(text("time")): \(text("feature")) was served as "
            + "\(text("served")) (\(text("served_status"))), is \(text("recomputed")) "
            + "(\(text("recomputed_status"))): \(text("cause"))")
      }
      var notes = ""
      if count("in_flight") > 0 { notes += "; \(count("in_flight")) were in flight" }
      if count("past_retention") > 0 {
        notes += "; \(count("past_retention")) reach past retention"
      }
      if count("of_former_definitions") > 0 {
        notes += "; \(count("of_former_definitions")) values are of former definitions"
      }
      if count("compared") == 0 {
        notes += "; nothing was compared, which proves nothing"
      }
      print(
        "\(count("vectors")) vectors, \(count("compared")) values compared: "
          + "\(count("mismatches")) differ\(notes)")
    }
  }
}
