import Core

/// What names may look like.
///
/// The rules keep names usable unquoted in expressions, SQL, file names and metric labels.
enum NameRules {
  /// Words of the expression language and of the definitions themselves.
  static let reservedWords: Set<String> = [
    "and", "or", "not", "in", "is", "null", "true", "false", "if", "default",
  ]

  /// Columns that the platform adds to every event.
  static let reservedColumns: Set<String> = [
    "event_timestamp", "created_at", "event_id", "sequence", "absent",
  ]

  /// Why the name is refused, nil for a good one.
  static func problem(with name: String) -> String? {
    if name.isEmpty { return "is empty" }
    if name.count > Limits.nameCharacters {
      return "has \(name.count) characters; at most \(Limits.nameCharacters) are allowed"
    }
    if reservedWords.contains(name) { return "is a reserved word; choose another" }
    if let first = name.utf8.first, !isLetter(first) {
      return "must begin with a letter a to z\(lowerCaseHint(name))"
    }
    guard name.utf8.allSatisfy({ isLetter($0) || isDigit($0) || $0 == UInt8(ascii: "_") }) else {
      return "may have only the letters a to z, digits and _\(lowerCaseHint(name))"
    }
    return nil
  }

  private static func isLetter(_ byte: UInt8) -> Bool {
    (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte)
  }

  private static func isDigit(_ byte: UInt8) -> Bool {
    (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte)
  }

  private static func lowerCaseHint(_ name: String) -> String {
    var better = ""
    for scalar in name.lowercased().unicodeScalars {
      let fits = scalar.isASCII && (isLetter(UInt8(scalar.value)) || isDigit(UInt8(scalar.value)))
      if fits { better.unicodeScalars.append(scalar) } else if better.last != "_" { better += "_" }
    }
    while better.first == "_" || better.first?.isNumber == true { better.removeFirst() }
    while better.last == "_" { better.removeLast() }
    return better.isEmpty || reservedWords.contains(better) ? "" : "; for example '\(better)'"
  }
}

extension MappingReader {
  /// The entries of a mapping of free names, each name checked; `what` is the kind of thing named.
  ///
  /// Entries with a bad name are reported and still read, so that what uses them is not called unknown.
  func named(_ kind: String) -> [(name: Located<String>, value: NodeReader)] {
    entries.map { entry in
      let name = entry.key.text
      if let problem = NameRules.problem(with: name) {
        report("the \(kind) name '\(name)' \(problem)", at: entry.key.place)
      }
      return (
        Located(value: name, place: entry.key.place),
        NodeReader(entry.value, "\(kind) '\(name)'", diagnostics)
      )
    }
  }
}

extension NodeReader {
  /// A text that obeys the rules of names.
  func name(_ kind: String) -> Located<String>? {
    guard let text = text("a \(kind) name") else { return nil }
    if let problem = NameRules.problem(with: text.value) {
      report("the \(kind) name '\(text.value)' \(problem)", at: text.place)
      return nil
    }
    return text
  }

  /// A name among those that are declared; anything else is reported with the nearest.
  func reference(_ kind: String, among names: some Sequence<String>) -> Located<String>? {
    guard let text = text("the name of a \(kind)") else { return nil }
    guard names.contains(text.value) else {
      report(
        "\(what): there is no \(kind) '\(text.value)'\(suggestion(for: text.value, among: names))")
      return nil
    }
    return text
  }
}
