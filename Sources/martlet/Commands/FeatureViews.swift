import ArgumentParser
import Core
import Server

extension FeaturesCommand {
  struct Show: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Show a view: its features, and how new its events are.",
      discussion: "EXAMPLE\n  martlet features show customer_orders")
    @OptionGroup var options: CommonOptions
    @Argument(help: "A view; without one, all of them.") var views: [String] = []

    func run() async throws {
      let names = views.joined(separator: ",").urlEscaped
      let (fresh, features) = try await PlatformConnection.with(options) { platform in
        (
          try await platform.get(
            "/api/v1/features/freshness" + (names.isEmpty ? "" : "?views=\(names)")),
          try await platform.get("/api/v1/features")["features"]?.array ?? []
        )
      }
      let shown = (fresh["views"]?.array ?? []).map { view in
        let name = view["view"]?.string ?? ""
        let own = features.filter { $0["name"]?.string?.hasPrefix(name + ".") == true }
        return (view, own)
      }
      if options.json {
        let all = shown.map { view, features in
          guard case .object(let members) = view else { return view }
          return .object(members + [.init("features", .array(features))])
        }
        return print(JSON.object(["time": fresh["time"] ?? .null, "views": .array(all)]).text)
      }
      for (view, features) in shown {
        let entity = features.first?["entity"]?.string ?? ""
        print(
          "\(view["view"]?.string ?? "") of \(entity), from \(view["source"]?.string ?? "")")
        print("newest event: \(Self.newest(view))")
        let rows = features.map { feature in
          ["name", "type", "what"].map { feature[$0]?.string ?? "" }
        }
        print(Terminal.table(["feature", "type", "what"], rows))
      }
    }

    private static func newest(_ view: JSON) -> String {
      let ahead = view["newest_future_event"]?.string.map { "; one is dated ahead, \($0)" } ?? ""
      guard let time = view["newest_event"]?.string, let age = view["age_seconds"]?.number else {
        return "none yet" + ahead
      }
      return "\(time), \(Int64(age.rounded())) s ago" + ahead
    }
  }

  struct Sets: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "List what can be read by name: the features of each model.",
      discussion: "EXAMPLE\n  martlet features sets")
    @OptionGroup var options: CommonOptions

    func run() async throws {
      let answer = try await PlatformConnection.with(options) {
        try await $0.get("/api/v1/features/sets")
      }
      if options.json { return print(answer.text) }
      let rows = (answer["sets"]?.array ?? []).map { set in
        func words(_ name: String) -> String {
          switch set[name] {
          case .array(let items): items.compactMap(\.string).joined(separator: ", ")
          case .object(let members): members.map(\.key).joined(separator: ", ")
          default: ""
          }
        }
        return [set["name"]?.string ?? "", words("entities"), words("inputs"), words("features")]
      }
      print(
        rows.isEmpty
          ? "there are no feature sets: a set is the features of a model"
          : Terminal.table(["set", "entities", "inputs", "features"], rows))
    }
  }

  struct Rebuild: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Make the online state on Redis anew from the warehouse, or compare the two.",
      discussion: """
        Live writes go on. With --verify nothing is changed, and the exit status is 1 where something differs.

        EXAMPLE
          martlet features rebuild customer_orders --verify
        """)
    @OptionGroup var options: CommonOptions
    @Argument(help: "Views; without one, all of them.") var views: [String] = []
    @Flag(help: "Only report what differs.") var verify = false
    @Option(help: "The most differences that are told of each view.") var limit = 100

    func run() async throws {
      let body = JSON.object([
        "views": .array(views.map(JSON.string)), "verify": .bool(verify),
        "limit": .int(Int64(limit)),
      ])
      let answer = try await PlatformConnection.with(options) {
        try await $0.post("/api/v1/features/rebuild", body)
      }
      let reports = answer["views"]?.array ?? []
      if options.json { print(answer.text) } else { reports.forEach(report) }
      if verify, reports.contains(where: { $0["differing"]?.int != 0 }) { throw ExitCode(1) }
    }

    private func report(_ view: JSON) {
      func count(_ name: String) -> Int64 { view[name]?.int ?? 0 }
      let differences = view["differences"]?.array ?? []
      print(
        "\(view["view"]?.string ?? ""): \(count("keys")) keys compared, \(count("differing")) differ"
          + (verify ? "" : ", \(count("mended")) put right"))
      if differences.isEmpty { return }
      let rows = differences.map { one in
        ["key", "feature", "stored", "expected"].map { one[$0]?.string ?? "" }
      }
      print(Terminal.table(["key", "feature", "stored", "expected"], rows))
      if differences.count == limit { print("… and perhaps more: see --limit") }
    }
  }
}
