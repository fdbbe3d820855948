import ArgumentParser
import Core
import Server

struct EraseCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "erase", abstract: "Remove everything about one entity key, for good.",
    discussion: """
      Raw events, online state, prediction logs, labels and quarantined records go; the receipt counts what went \
      from where and holds a salted digest instead of the key. Old input of the key is refused from then on, new \
      events are taken. A trained model is not changed.

      EXAMPLE
        martlet erase customer 42 --yes
        martlet erase route JFK LAX --yes
        martlet erase route '{"origin": "JFK", "dest": "LAX"}' --yes
      """)

  @OptionGroup var options: CommonOptions
  @Argument(help: "The entity.") var entity: String
  @Argument(
    help: "The value of each key column, in the entity's order, or one JSON object or array.")
  var key: [String]
  @Flag(help: "Do it; without this nothing happens.") var yes = false

  @Flag(
    help: ArgumentHelp(
      "Go on although processes that fill the same views are away; they do their part when they are started again."
    )) var withoutAbsent = false

  func run() async throws {
    guard yes else {
      throw ValidationError(
        "this removes the key of '\(entity)' from every store and cannot be undone; say --yes to do it"
      )
    }
    let body = JSON.object([
      "key": Self.json(key), "without_absent": .bool(withoutAbsent),
    ])
    let receipt = try await PlatformConnection.with(options) { [entity] in
      try await $0.delete("/api/v1/entities/\(entity.urlEscaped)/keys", body)
    }
    if options.json { return print(receipt.text) }
    print("erased, receipt \(receipt["id"]?.string ?? "")")
    guard case .object(let removed) = receipt["removed"] else { return }
    var rows = removed.map { [$0.key, $0.value.text] }
    for process in receipt["processes"]?.array ?? [] {
      guard case .object(let removed) = process["removed"] else { continue }
      rows += removed.map { ["\($0.key) of \(process["name"]?.string ?? "")", $0.value.text] }
    }
    print(Terminal.table(["from", "removed"], rows))
    if let note = receipt["note"]?.string { print("not done yet: \(note)") }
    print(
      "digest \(receipt["digest"]?.string ?? ""), erased at \(receipt["erased_at"]?.string ?? "")")
  }

  private static func json(_ key: [String]) -> JSON {
    if key.count == 1, let first = key[0].first, "{[".contains(first),
      let json = try? JSON(parsing: Array(key[0].utf8))
    {
      return json
    }
    return .array(key.map { .string($0) })
  }
}
