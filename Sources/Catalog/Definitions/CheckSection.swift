import Core

/// Reads `checks:` of a source: by column one mapping of rules, or a list of them.
struct CheckSection {
  private static let rules = ["required", "min", "max", "in", "regex", "unique"]
  private static let maximumAllowed = 10_000

  let diagnostics: Diagnostics

  func read(
    _ mapping: MappingReader, _ columns: [SourceSection.ReadColumn]
  ) -> [ColumnCheck] {
    guard
      let section = mapping["checks"]?.mapping(of: "checks of \(mapping.noun)", known: nil)
    else { return [] }
    return section.entries.flatMap { entry -> [ColumnCheck] in
      let name = entry.key.text
      guard let column = columns.first(where: { $0.name == name }) else {
        section.report(
          "'\(name)' in \(section.noun) is not a column"
            + suggestion(for: name, among: columns.map(\.name)), at: entry.key.place)
        return []
      }
      let reader = NodeReader(entry.value, "the check of '\(name)'", diagnostics)
      if case .list(let nodes, _) = entry.value {
        return nodes.compactMap {
          check(NodeReader($0, reader.what, diagnostics), $0.place, column)
        }
      }
      return check(reader, entry.key.place, column).map { [$0] } ?? []
    }
  }

  private func check(
    _ reader: NodeReader, _ place: Place, _ column: SourceSection.ReadColumn
  ) -> ColumnCheck? {
    guard
      let rules = reader.mapping(of: reader.what, known: Self.rules + ["on_fail"], at: place)
    else { return nil }
    if !rules.keys.contains(where: { nearestName(to: $0, among: Self.rules) != nil }) {
      rules.report(
        "\(rules.noun) checks nothing; give required, min, max, in, regex or unique")
    }
    let (low, high) = range(rules, column)
    return ColumnCheck(
      column: column.name, required: rules["required"]?.boolean()?.value ?? false,
      min: low, max: high, allowed: allowed(rules, column), regex: regex(rules, column),
      unique: unique(rules, column),
      onFail: rules["on_fail"]?.word("warn, quarantine or stop", as: FailAction.self)?.value
        ?? .quarantine)
  }

  private func range(
    _ rules: MappingReader, _ column: SourceSection.ReadColumn
  ) -> (Double?, Double?) {
    let low = rules["min"]?.number()
    let high = rules["max"]?.number()
    if let bound = low ?? high, let type = column.type, !type.isNumeric {
      rules.report(
        "'\(column.name)' is \(type.rawValue); min and max are for int64 and double columns",
        at: bound.place)
    }
    if let low, let high, low.value > high.value {
      rules.report("'min' is above 'max' in \(rules.noun): no value would pass", at: low.place)
    }
    return (low?.value, high?.value)
  }

  private func allowed(
    _ rules: MappingReader, _ column: SourceSection.ReadColumn
  ) -> [String]? {
    guard let reader = rules["in"], let items = reader.list() else { return nil }
    if let type = column.type, type == .bool || type == .timestamp || type.isArray {
      reader.report(
        "'\(column.name)' is \(type.rawValue); 'in' is for string, int64 and double columns")
    }
    if items.isEmpty || items.count > Self.maximumAllowed {
      reader.report("\(reader.what) must have 1 to \(Self.maximumAllowed) values")
    }
    return items.compactMap { item in
      guard let scalar = item.scalar("a single value") else { return nil }
      let isRight =
        switch column.type {
        case .int64: scalar.integer != nil
        case .double: scalar.number != nil
        default: true
        }
      if !isRight {
        item.report(
          "\(item.what) is '\(scalar.text)', but '\(column.name)' is \(column.type?.rawValue ?? "")"
        )
      }
      return scalar.text
    }
  }

  private func regex(
    _ rules: MappingReader, _ column: SourceSection.ReadColumn
  ) -> String? {
    guard let reader = rules["regex"], let text = reader.text("a regular expression") else {
      return nil
    }
    if let type = column.type, type != .string {
      reader.report("'\(column.name)' is \(type.rawValue); 'regex' is for string columns")
    }
    do {
      return try Pattern(text.value).text
    } catch {
      reader.report(
        "\(reader.what) is not an expression that can be matched: at character \(error.offset + 1), "
          + error.message)
      return nil
    }
  }

  private func unique(
    _ rules: MappingReader, _ column: SourceSection.ReadColumn
  ) -> Span? {
    guard let reader = rules["unique"],
      let mapping = reader.mapping(of: reader.what, known: ["within"])
    else { return nil }
    return mapping.required("within", "the event time in which a value occurs once, like 1h")?
      .span()?.value
  }
}
