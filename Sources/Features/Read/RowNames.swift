import Core

/// What the rows of a request may name, so that a misspelt key column is an error and not an unknown key.
struct RowNames: Sendable {
  struct Entity: Sendable, Equatable {
    var name: String
    var columns: [String]

    /// As a message writes it: `'origin', 'dest' of entity 'route'`.
    fileprivate var text: String {
      "\(columns.map { "'\($0)'" }.joined(separator: ", ")) of entity '\(name)'"
    }
  }

  private let keys: [Entity]
  private let inputs: [String]
  private let all: [String]

  init(keys: [Entity], inputs: [String]) {
    self.keys = keys
    self.inputs = inputs
    var all: [String] = []
    for entity in keys {
      all += entity.columns
      // An entity with one key column may be named itself.
      if entity.columns.count == 1 { all.append(entity.name) }
    }
    self.all = Array(Set(all + inputs))
  }

  /// Refuses a row that names something else, with what there is and the nearest of it.
  func check(_ rows: [RequestRow]) throws {
    for (index, row) in rows.enumerated() {
      let known = all.reduce(0) { $0 + (row[$1] == nil ? 0 : 1) }
      if known < row.count { throw stranger(in: row, at: index) }
    }
  }

  private func stranger(in row: RequestRow, at index: Int) -> PlatformError {
    let name = row.keys.sorted().first { !all.contains($0) } ?? ""
    var expected = keys.map(\.text)
    if !inputs.isEmpty {
      expected.append("the inputs \(inputs.map { "'\($0)'" }.joined(separator: ", "))")
    }
    let near = nearestName(to: name, among: all).map { "; did you mean '\($0)'?" } ?? ""
    return PlatformError(
      .invalidArgument,
      "row \(index + 1) names '\(name)', which nothing asked for is keyed by; expected "
        + "\(expected.isEmpty ? "no keys" : expected.joined(separator: ", and "))\(near)",
      context: ["name": name])
  }
}
