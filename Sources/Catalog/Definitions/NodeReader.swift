import Core

/// A value with the place it was written at.
package struct Located<Value> {
  package var value: Value
  package var place: Place
}

extension Located: Sendable where Value: Sendable {}

/// Reads one YAML value as what it should be; a value that is something else is reported and read as nil.
package struct NodeReader {
  package let node: YAMLNode
  /// What the value is, for messages: `'window' of feature 'a.b'`.
  package let what: String
  package let diagnostics: Diagnostics

  package init(_ node: YAMLNode, _ what: String, _ diagnostics: Diagnostics) {
    self.node = node
    self.what = what
    self.diagnostics = diagnostics
  }

  package var place: Place { node.place }

  package func report(_ message: String, at place: Place? = nil) {
    diagnostics.report(message, at: place ?? self.place)
  }

  /// The keys of a mapping; `known` are the keys it may have, nil where they are free names.
  package func mapping(of noun: String, known: [String]?, at place: Place? = nil) -> MappingReader?
  {
    guard case .mapping(let entries, let start) = node else {
      report("\(what) must be a mapping, not \(node.kindName)")
      return nil
    }
    let mapping = MappingReader(
      noun: noun, entries: entries, place: place ?? start, diagnostics: diagnostics)
    if let known { mapping.refuseKeys(except: known) }
    return mapping
  }

  package func list() -> [NodeReader]? {
    guard case .list(let nodes, _) = node else {
      report("\(what) must be a list, like [a, b], not \(node.kindName)")
      return nil
    }
    return nodes.map { NodeReader($0, "an item of \(what)", diagnostics) }
  }

  package func scalar(_ expected: String) -> YAMLScalar? {
    guard case .scalar(let scalar) = node, !scalar.isNull else {
      report("\(what) must be \(expected), not \(node.kindName)")
      return nil
    }
    return scalar
  }

  package func text(_ expected: String = "a text") -> Located<String>? {
    guard let scalar = scalar(expected) else { return nil }
    guard !scalar.text.isEmpty else {
      report("\(what) is empty; it must be \(expected)")
      return nil
    }
    return Located(value: scalar.text, place: scalar.place)
  }

  package func span(orZero: Bool = false) -> Located<Span>? {
    guard let text = text("a length of time, like 30s, 24h or 7d") else { return nil }
    if orZero, ["0", "0s", "0m", "0h", "0d"].contains(text.value) {
      return Located(value: Span(microseconds: 0), place: text.place)
    }
    guard let span = Span(text.value) else {
      report(
        "\(what) is '\(text.value)', which is not a length of time; write for example 500ms, 30s, 24h, 7d"
      )
      return nil
    }
    return Located(value: span, place: text.place)
  }

  package func number() -> Located<Double>? {
    guard let scalar = scalar("a number") else { return nil }
    guard let number = scalar.number else {
      report("\(what) is '\(scalar.text)', which is not a number")
      return nil
    }
    return Located(value: number, place: scalar.place)
  }

  /// `0.2` or `20%`, between 0 and 1.
  package func share() -> Double? {
    guard let scalar = scalar("a share, like 0.2 or 20%") else { return nil }
    let isPercent = scalar.text.hasSuffix("%")
    let digits = isPercent ? String(scalar.text.dropLast()) : scalar.text
    let number = YAMLScalar(text: digits, isPlain: true, place: scalar.place).number
    guard let number, case let share = isPercent ? number / 100 : number, share > 0, share < 1
    else {
      report(
        "\(what) is '\(scalar.text)'; it must be a share between 0 and 1, like 0.2 or 20%")
      return nil
    }
    return share
  }

  package func integer(_ range: ClosedRange<Int64>) -> Located<Int64>? {
    guard let scalar = scalar("a whole number") else { return nil }
    guard let number = scalar.integer, range.contains(number) else {
      report(
        "\(what) is '\(scalar.text)'; it must be a whole number from \(range.lowerBound) to \(range.upperBound)"
      )
      return nil
    }
    return Located(value: number, place: scalar.place)
  }

  package func boolean() -> Located<Bool>? {
    guard let scalar = scalar("true or false") else { return nil }
    guard let value = scalar.boolean else {
      report("\(what) is '\(scalar.text)'; it must be true or false")
      return nil
    }
    return Located(value: value, place: scalar.place)
  }

  /// One of a fixed set of words.
  package func word<Word: RawRepresentable & CaseIterable>(
    _ noun: String, as type: Word.Type = Word.self
  ) -> Located<Word>? where Word.RawValue == String {
    guard let text = text(noun) else { return nil }
    guard let word = Word(rawValue: text.value) else {
      report(
        "\(what) is '\(text.value)', which is not \(noun)"
          + suggestion(for: text.value, among: Word.allCases.map(\.rawValue)))
      return nil
    }
    return Located(value: word, place: text.place)
  }
}

/// Reads the values of a mapping by key.
package struct MappingReader {
  /// What the mapping describes, for messages: `feature 'a.b'`.
  package let noun: String
  package let entries: [YAMLEntry]
  /// Where something that is missing is reported.
  package let place: Place
  package let diagnostics: Diagnostics

  package func report(_ message: String, at place: Place? = nil) {
    diagnostics.report(message, at: place ?? self.place)
  }

  package var keys: [String] { entries.map(\.key.text) }

  /// The value of a key, nil when the key is not there.
  package subscript(key: String) -> NodeReader? {
    entries.first { $0.key.text == key }.map {
      NodeReader($0.value, "'\(key)' of \(noun)", diagnostics)
    }
  }

  /// The value of a key; its absence is reported, unless a misspelt key is there that is reported itself.
  package func required(_ key: String, _ hint: String = "") -> NodeReader? {
    if let reader = self[key] { return reader }
    if keys.contains(where: { nearestName(to: $0, among: [key]) != nil }) { return nil }
    report("\(noun) needs '\(key)'\(hint.isEmpty ? "" : ": \(hint)")")
    return nil
  }

  package func place(of key: String) -> Place {
    entries.first { $0.key.text == key }?.key.place ?? place
  }

  package func refuseKeys(except known: [String]) {
    for entry in entries where !known.contains(entry.key.text) {
      let name = entry.key.text
      report(
        "unknown key '\(name)' in \(noun)\(suggestion(for: name, among: known))",
        at: entry.key.place)
    }
  }
}
