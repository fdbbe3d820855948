import Core

/// What a search of the registry looks at of one model or version.
package struct RegistryEntry: Sendable {
  package var texts: [String: String]
  package var numbers: [String: Int64]
  package var tags: [String: String]

  package init(texts: [String: String], numbers: [String: Int64], tags: [String: String]) {
    self.texts = texts
    self.numbers = numbers
    self.tags = tags
  }
}

/// Which of the two kinds of things in the registry is searched.
package enum RegistryKind: Sendable {
  case models, versions

  var texts: [String] { self == .models ? ["name"] : ["name", "run_id", "source_path"] }
  var numbers: [String] { self == .models ? [] : ["version_number"] }
  var lists: [String] { self == .models ? ["name"] : ["name", "run_id"] }

  var orders: [String] {
    let times = ["creation_timestamp", "last_updated_timestamp"]
    return self == .models ? ["name", "timestamp"] + times : ["name", "version_number"] + times
  }
}

/// A filter of MLflow's registry: comparisons of attributes and tags, joined by AND.
///
/// Attributes are `name`, and of versions `version_number`, `run_id` and `source_path`; tags are written `tags.key`, or with the
/// key in backticks. Texts stand in quotes and are compared by =, !=, LIKE, ILIKE (% and _ stand for any text and any character),
/// names and run ids also by IN and NOT IN; numbers by =, !=, <, <=, > and >=. A thing without a tag matches no comparison of it.
package struct RegistryFilter: Sendable {
  enum Operand: Sendable, Equatable {
    case text(String)
    case number(Int64)
    case list([String])
  }

  struct Clause: Sendable, Equatable {
    /// Nil for an attribute.
    var tag: String?
    var attribute: String
    var comparator: String
    var operand: Operand
  }

  let clauses: [Clause]

  /// - Throws: `invalid_argument` with MLflow's words.
  package init(parsing text: String, of kind: RegistryKind) throws(PlatformError) {
    var reader = RegistryFilterReader(text, kind)
    clauses = try reader.clauses()
  }

  /// The one model that can match; nil where several may.
  package var onlyModel: String? {
    for clause in clauses where clause.tag == nil && clause.attribute == "name" {
      if clause.comparator == "=", case .text(let name) = clause.operand { return name }
    }
    return nil
  }

  /// MLflow keeps prompts among its models, and shows them only to who asks for them.
  private static let promptTag = "mlflow.prompt.is_prompt"

  package func matches(_ entry: RegistryEntry) -> Bool {
    guard asksForPrompts || entry.tags[Self.promptTag]?.lowercased() != "true" else { return false }
    return clauses.allSatisfy { Self.matches($0, entry) }
  }

  private var asksForPrompts: Bool {
    clauses.contains { clause in
      guard clause.tag == Self.promptTag, case .text(let value) = clause.operand else {
        return false
      }
      return clause.comparator == (value.lowercased() == "true" ? "=" : "!=")
    }
  }

  private static func matches(_ clause: Clause, _ entry: RegistryEntry) -> Bool {
    switch clause.operand {
    case .number(let wanted):
      guard let found = entry.numbers[clause.attribute] else { return false }
      return compare(found, wanted, by: clause.comparator)
    case .list(let wanted):
      guard let found = entry.texts[clause.attribute] else { return false }
      return wanted.contains(found) == (clause.comparator == "IN")
    case .text(let wanted):
      let found = clause.tag.map { entry.tags[$0] } ?? entry.texts[clause.attribute]
      guard let found else {
        // No model has this tag, and all models are none of prompts.
        return clause.tag == promptTag
          && clause.comparator == (wanted.lowercased() == "true" ? "!=" : "=")
      }
      return compare(found, wanted, by: clause.comparator)
    }
  }

  private static func compare(_ found: Int64, _ wanted: Int64, by comparator: String) -> Bool {
    switch comparator {
    case "=": found == wanted
    case "!=": found != wanted
    case "<": found < wanted
    case "<=": found <= wanted
    case ">": found > wanted
    default: found >= wanted
    }
  }

  private static func compare(_ found: String, _ wanted: String, by comparator: String) -> Bool {
    switch comparator {
    case "=": found == wanted
    case "!=": found != wanted
    case "LIKE": isLike(Array(found), Array(wanted))
    default: isLike(Array(found.lowercased()), Array(wanted.lowercased()))
    }
  }

  /// SQL's LIKE in time proportional to the lengths' product: on a mismatch the last % takes one character more.
  private static func isLike(_ text: [Character], _ pattern: [Character]) -> Bool {
    var at = (text: 0, pattern: 0)
    var retry: (text: Int, pattern: Int)?
    while at.text < text.count {
      if at.pattern < pattern.count, pattern[at.pattern] == "%" {
        retry = (at.text, at.pattern + 1)
        at.pattern += 1
      } else if at.pattern < pattern.count,
        pattern[at.pattern] == "_" || pattern[at.pattern] == text[at.text]
      {
        at = (at.text + 1, at.pattern + 1)
      } else if let again = retry {
        retry = (again.text + 1, again.pattern)
        at = (again.text + 1, again.pattern)
      } else {
        return false
      }
    }
    return pattern[at.pattern...].allSatisfy { $0 == "%" }
  }
}

/// In which order a search answers: `name`, `version_number`, `creation_timestamp`, `last_updated_timestamp`, each with ASC or DESC.
///
/// What is equal by all of them is ordered by name, and versions of one model newest first.
package struct RegistryOrder: Sendable {
  private let keys: [(key: String, ascending: Bool)]

  /// - Throws: `invalid_argument` with MLflow's words.
  package init(parsing clauses: [String], of kind: RegistryKind) throws(PlatformError) {
    var keys: [(key: String, ascending: Bool)] = []
    for clause in clauses {
      let key = try Self.key(clause, kind)
      guard !keys.contains(where: { $0.key == key.key }) else {
        throw PlatformError(.invalidArgument, "`order_by` contains duplicate fields: \(clauses)")
      }
      keys.append(key)
    }
    if clauses.isEmpty, kind == .versions { keys = [("last_updated_timestamp", false)] }
    if !keys.contains(where: { $0.key == "name" }) { keys.append(("name", true)) }
    if kind == .versions, !keys.contains(where: { $0.key == "version_number" }) {
      keys.append(("version_number", false))
    }
    self.keys = keys
  }

  private static func key(
    _ clause: String, _ kind: RegistryKind
  ) throws(PlatformError) -> (key: String, ascending: Bool) {
    let words = clause.split(whereSeparator: \.isWhitespace).map(String.init)
    guard let first = words.first, words.count <= 2 else {
      throw PlatformError(
        .invalidArgument, "Invalid order_by clause '\(clause)'. Could not be parsed.")
    }
    let direction = words.count == 2 ? words[1].lowercased() : "asc"
    guard direction == "asc" || direction == "desc" else {
      throw PlatformError(
        .invalidArgument, "Invalid ordering key in order_by clause '\(clause)'.")
    }
    let name = first.trimmingQuotes
    guard kind.orders.contains(name) else {
      throw PlatformError(
        .invalidArgument,
        "Invalid order by key '\(name)' specified. Valid keys are '\(kind.orders.joined(separator: ", "))'"
      )
    }
    return (name == "timestamp" ? "last_updated_timestamp" : name, direction == "asc")
  }

  package func isBefore(_ a: RegistryEntry, _ b: RegistryEntry) -> Bool {
    for (key, ascending) in keys {
      if key == "name" {
        let (x, y) = (a.texts[key] ?? "", b.texts[key] ?? "")
        if x != y { return (x < y) == ascending }
      } else {
        let (x, y) = (a.numbers[key] ?? 0, b.numbers[key] ?? 0)
        if x != y { return (x < y) == ascending }
      }
    }
    return false
  }
}

extension String {
  /// Without a pair of backticks or quotes around it.
  fileprivate var trimmingQuotes: String {
    guard count >= 2, let first, first == last, "`\"'".contains(first) else { return self }
    return String(dropFirst().dropLast())
  }
}

/// Reads the text of a filter.
private struct RegistryFilterReader {
  private enum Token: Equatable {
    /// As written, quotes and backticks included.
    case word(String)
    case quoted(String)
    case symbol(String)
  }

  private let kind: RegistryKind
  private let text: String
  private var tokens: [Token] = []
  private var next = 0

  init(_ text: String, _ kind: RegistryKind) {
    self.text = text
    self.kind = kind
  }

  mutating func clauses() throws(PlatformError) -> [RegistryFilter.Clause] {
    tokens = try Self.tokens(text)
    var found: [RegistryFilter.Clause] = []
    while next < tokens.count {
      if !found.isEmpty {
        guard word()?.uppercased() == "AND" else { throw invalid() }
      }
      found.append(try clause())
    }
    return found
  }

  private mutating func clause() throws(PlatformError) -> RegistryFilter.Clause {
    let field = try field()
    let comparator = try comparator()
    let operand = try operand(of: field, comparator)
    return RegistryFilter.Clause(
      tag: field.tag, attribute: field.attribute, comparator: comparator, operand: operand)
  }

  private mutating func field() throws(PlatformError) -> (tag: String?, attribute: String) {
    guard case .word(let identifier)? = take() else { throw invalid() }
    let parts = identifier.split(separator: ".", maxSplits: 1).map(String.init)
    guard parts.count == 2 else { return (nil, try attribute(identifier)) }
    switch parts[0] {
    case "tag", "tags": return (parts[1].trimmingQuotes, "")
    case "attribute": return (nil, try attribute(parts[1]))
    default:
      throw PlatformError(
        .invalidArgument,
        "Invalid entity type '\(parts[0])'. Valid entity types are ('attribute', 'tag', 'tags')")
    }
  }

  private func attribute(_ name: String) throws(PlatformError) -> String {
    let name = name.trimmingQuotes
    let known = kind.texts + kind.numbers
    guard known.contains(name) else {
      throw PlatformError(
        .invalidArgument,
        "Invalid attribute key '\(name)' specified. Valid keys are '\(known.joined(separator: ", "))'"
      )
    }
    return name
  }

  private mutating func comparator() throws(PlatformError) -> String {
    switch take() {
    case .symbol(let symbol)? where symbol != "(" && symbol != ")" && symbol != ",": return symbol
    case .word(let word)?:
      let word = word.uppercased()
      if word == "NOT", self.word()?.uppercased() == "IN" { return "NOT IN" }
      guard ["LIKE", "ILIKE", "IN"].contains(word) else { throw invalid() }
      return word
    default: throw invalid()
    }
  }

  private mutating func operand(
    of field: (tag: String?, attribute: String), _ comparator: String
  ) throws(PlatformError) -> RegistryFilter.Operand {
    let isList = comparator == "IN" || comparator == "NOT IN"
    let isNumeric = field.tag == nil && kind.numbers.contains(field.attribute)
    let isOrder = ["<", "<=", ">", ">="].contains(comparator)
    guard isNumeric ? !isList && !comparator.hasSuffix("LIKE") : !isOrder else {
      let what = field.tag == nil ? "attribute" : "tag"
      throw PlatformError(.invalidArgument, "Invalid comparator for \(what): \(comparator)")
    }
    if isList { return .list(try list(field)) }
    switch take() {
    case .quoted(let value)?:
      guard isNumeric else { return .text(value) }
      guard let number = Int64(value) else { throw notNumeric(field.attribute, value) }
      return .number(number)
    case .word(let word)?:
      guard isNumeric else { throw notQuoted(field, word) }
      guard let number = Int64(word) else { throw notNumeric(field.attribute, word) }
      return .number(number)
    default: throw invalid()
    }
  }

  private mutating func list(
    _ field: (tag: String?, attribute: String)
  ) throws(PlatformError) -> [String] {
    guard field.tag == nil, kind.lists.contains(field.attribute) else {
      throw PlatformError(
        .invalidArgument,
        "Only \(kind.lists) attributes support comparison with a list of quoted string values.")
    }
    let broken = PlatformError(
      .invalidArgument,
      "While parsing a list in the query, expected a non-empty list of string values, but got ill-formed list."
    )
    guard take() == .symbol("(") else { throw broken }
    var values: [String] = []
    repeat {
      guard case .quoted(let value)? = take() else { throw broken }
      values.append(value)
      guard case .symbol(let symbol)? = take() else { throw broken }
      if symbol == ")" { return values }
      guard symbol == "," else { throw broken }
      if next < tokens.count, tokens[next] == .symbol(")") {
        next += 1
        return values
      }
    } while true
  }

  private mutating func take() -> Token? {
    guard next < tokens.count else { return nil }
    next += 1
    return tokens[next - 1]
  }

  private mutating func word() -> String? {
    guard case .word(let word)? = take() else { return nil }
    return word
  }

  private func invalid() -> PlatformError {
    PlatformError(.invalidArgument, "Invalid clause(s) in filter string: \(text)")
  }

  private func notQuoted(
    _ field: (tag: String?, attribute: String), _ value: String
  ) -> PlatformError {
    PlatformError(
      .invalidArgument,
      field.tag == nil
        ? "Expected a quoted string value or a list of quoted string values for attributes. Got value \(value)"
        : "Expected a quoted string value for tag (e.g. 'my-value'). Got value \(value)")
  }

  private func notNumeric(_ attribute: String, _ value: String) -> PlatformError {
    PlatformError(
      .invalidArgument, "Invalid value for numeric attribute '\(attribute)': '\(value)'")
  }

  // MARK: Tokens

  private static func tokens(_ text: String) throws(PlatformError) -> [Token] {
    let characters = Array(text)
    var tokens: [Token] = []
    var at = 0
    while at < characters.count {
      let character = characters[at]
      if character.isWhitespace {
        at += 1
      } else if character == "'" || character == "\"" {
        tokens.append(.quoted(try quoted(characters, &at, text)))
      } else if let symbol = symbol(characters, at) {
        tokens.append(.symbol(symbol))
        at += symbol.count
      } else {
        tokens.append(.word(try word(characters, &at, text)))
      }
    }
    return tokens
  }

  private static func symbol(_ characters: [Character], _ at: Int) -> String? {
    let two = String(characters[at..<min(at + 2, characters.count)])
    if ["<=", ">=", "!="].contains(two) { return two }
    return "=<>(),".contains(characters[at]) ? String(characters[at]) : nil
  }

  private static func quoted(
    _ characters: [Character], _ at: inout Int, _ text: String
  ) throws(PlatformError) -> String {
    let quote = characters[at]
    guard let end = characters[(at + 1)...].firstIndex(of: quote) else {
      throw PlatformError(
        .invalidArgument, "Invalid clause(s) in filter string: \(text) (a quote is not closed)")
    }
    defer { at = end + 1 }
    return String(characters[(at + 1)..<end])
  }

  /// Up to a blank or symbol outside of backticks and quotes.
  private static func word(
    _ characters: [Character], _ at: inout Int, _ text: String
  ) throws(PlatformError) -> String {
    let start = at
    while at < characters.count, !characters[at].isWhitespace, symbol(characters, at) == nil {
      if "`\"'".contains(characters[at]) {
        let quote = characters[at]
        guard let end = characters[(at + 1)...].firstIndex(of: quote) else {
          throw PlatformError(
            .invalidArgument, "Invalid clause(s) in filter string: \(text) (a quote is not closed)")
        }
        at = end
      }
      at += 1
    }
    // A character that begins nothing, as ! alone.
    if at == start { at += 1 }
    return String(characters[start..<at])
  }
}
