/// A YAML value with its place in the text.
package indirect enum YAMLNode: Sendable {
  case scalar(YAMLScalar)
  case list([YAMLNode], Place)
  case mapping([YAMLEntry], Place)

  package var place: Place {
    switch self {
    case .scalar(let scalar): scalar.place
    case .list(_, let place), .mapping(_, let place): place
    }
  }

  /// What a message calls a value of this kind.
  package var kindName: String {
    switch self {
    case .scalar(let scalar): scalar.isNull ? "nothing" : "a single value"
    case .list: "a list"
    case .mapping: "a mapping"
    }
  }
}

/// One `key: value` of a mapping.
package struct YAMLEntry: Sendable {
  package var key: YAMLScalar
  package var value: YAMLNode
}

/// A text in the file, and whether it was written bare (so that `7` is a number) or in quotes.
package struct YAMLScalar: Sendable {
  package var text: String
  package var isPlain: Bool
  package var place: Place
  /// Where the text itself begins, when it is written on one line without escapes; nil otherwise.
  package var textStart: Place?

  /// `~`, `null` or nothing at all.
  package var isNull: Bool { isPlain && (text.isEmpty || text == "~" || text == "null") }

  package var boolean: Bool? {
    guard isPlain else { return nil }
    return switch text {
    case "true": true
    case "false": false
    default: nil
    }
  }

  package var integer: Int64? { isPlain ? Int64(text) : nil }

  /// A finite number in decimal notation.
  package var number: Double? {
    guard isPlain, let first = text.first, first.isASCII,
      first.isNumber || first == "-" || first == "+" || first == ".",
      text.allSatisfy({ $0.isASCII && ($0.isNumber || "+-.eE".contains($0)) }),
      let value = Double(text), value.isFinite
    else { return nil }
    return value
  }

  /// The place of the character at an offset of the text; its start where that is not known.
  package func place(atOffset offset: Int) -> Place {
    guard let textStart else { return place }
    let scalars = text.prefix(max(0, offset)).unicodeScalars.count
    return Place(line: textStart.line, column: textStart.column + scalars)
  }
}
