import Core
import Yams

/// Reads one YAML document into `YAMLNode`s.
package struct YAMLDocument {
  package static let maximumBytes = 1 << 20
  private static let maximumNodes = 200_000
  private static let maximumDepth = 64

  private let diagnostics: Diagnostics
  private let lines: [Substring.UnicodeScalarView]
  private var nodes = 0

  /// The root of the document, nil for an empty one or after an error, which is reported.
  package static func read(_ bytes: [UInt8], _ diagnostics: Diagnostics) -> YAMLNode? {
    guard bytes.count <= maximumBytes else {
      diagnostics.report(
        "the file has \(bytes.count) bytes; at most \(maximumBytes) are read", at: .start)
      return nil
    }
    guard let text = String(validating: bytes, as: UTF8.self) else {
      diagnostics.report(
        "this byte is not UTF-8 text; save the file as UTF-8", at: placeOfInvalidByte(in: bytes))
      return nil
    }
    return read(
      text.unicodeScalars.first == "\u{FEFF}" ? String(text.unicodeScalars.dropFirst()) : text,
      diagnostics)
  }

  package static func read(_ text: String, _ diagnostics: Diagnostics) -> YAMLNode? {
    var document = YAMLDocument(text, diagnostics)
    guard document.hasNoTabs() else { return nil }
    do {
      // Everything bare stays text: what it means is for the one who asks for it.
      guard let root = try Parser(yaml: text, resolver: .basic, encoding: .utf8).singleRoot()
      else { return nil }
      return document.convert(root, depth: 0)
    } catch {
      document.report(error)
      return nil
    }
  }

  private init(_ text: String, _ diagnostics: Diagnostics) {
    self.diagnostics = diagnostics
    lines = text.split(omittingEmptySubsequences: false, whereSeparator: \.isNewline)
      .map(\.unicodeScalars)
  }

  private static func placeOfInvalidByte(in bytes: [UInt8]) -> Place {
    var place = Place.start
    var decoder = UTF8()
    var iterator = bytes.makeIterator()
    while case .scalarValue(let scalar) = decoder.decode(&iterator) {
      if scalar == "\n" {
        place = Place(line: place.line + 1, column: 1)
      } else {
        place.column += 1
      }
    }
    return place
  }

  private func hasNoTabs() -> Bool {
    for (index, line) in lines.enumerated() {
      let indentation = line.prefix { $0 == " " || $0 == "\t" }
      guard indentation.count < line.count,
        let tab = indentation.firstIndex(of: "\t")
      else { continue }
      diagnostics.report(
        "a tab in the indentation; YAML is indented with spaces",
        at: Place(line: index + 1, column: line.distance(from: line.startIndex, to: tab) + 1))
      return false
    }
    return true
  }
}

extension YAMLDocument {
  private mutating func convert(_ node: Node, depth: Int) -> YAMLNode? {
    let place = Place(node.mark)
    nodes += 1
    guard nodes <= Self.maximumNodes, depth <= Self.maximumDepth else {
      if nodes <= Self.maximumNodes + 1 {
        diagnostics.report("the file is nested too deeply or repeats too much", at: place)
      }
      nodes = Self.maximumNodes + 1
      return nil
    }
    switch node {
    case .scalar(let scalar):
      return convert(scalar, at: place).map(YAMLNode.scalar)
    case .sequence(let sequence):
      return .list(sequence.compactMap { convert($0, depth: depth + 1) }, place)
    case .mapping(let mapping):
      var entries: [YAMLEntry] = []
      for (key, value) in mapping {
        guard case .scalar(let keyScalar) = key else {
          diagnostics.report("a key must be a name, not a list or a mapping", at: Place(key.mark))
          continue
        }
        guard let key = convert(keyScalar, at: Place(keyScalar.mark)),
          let value = convert(value, depth: depth + 1)
        else { continue }
        entries.append(YAMLEntry(key: key, value: value))
      }
      return .mapping(entries, place)
    case .alias:
      diagnostics.report("an alias that names nothing", at: place)
      return nil
    }
  }

  private func convert(_ scalar: Node.Scalar, at place: Place) -> YAMLScalar? {
    guard scalar.tag.name(isOneOf: [.implicit, .str, .nonSpecific]) else {
      diagnostics.report("the tag '\(scalar.tag)' is not used here; remove it", at: place)
      return nil
    }
    let isPlain = scalar.style == .plain || scalar.style == .any
    var start: Place?
    let quote = scalar.style == .singleQuoted || scalar.style == .doubleQuoted ? 1 : 0
    if isPlain || quote == 1, lines.indices.contains(place.line - 1) {
      let rest = lines[place.line - 1].dropFirst(place.column - 1 + quote)
      if rest.starts(with: scalar.string.unicodeScalars) {
        start = Place(line: place.line, column: place.column + quote)
      }
    }
    return YAMLScalar(text: scalar.string, isPlain: isPlain, place: place, textStart: start)
  }

  private func report(_ error: any Error) {
    switch error as? YamlError {
    case .scanner(_, let problem, let mark, _), .parser(_, let problem, let mark, _),
      .composer(_, let problem, let mark, _):
      let isSecond = problem.hasPrefix("but found another document")
      diagnostics.report(
        isSecond
          ? "a second document begins here; the file must be one"
          : "not valid YAML: \(problem)\(hint(at: Place(mark)))",
        at: Place(mark))
    case .reader(let problem, let offset, _, let yaml):
      let before = yaml.utf8.prefix(offset ?? 0)
      let line = before.count { $0 == UInt8(ascii: "\n") } + 1
      let column = before.reversed().prefix { $0 != UInt8(ascii: "\n") }.count + 1
      diagnostics.report("not valid YAML: \(problem)", at: Place(line: line, column: column))
    case .duplicatedKeysInMapping(let duplicates, let context):
      let name = duplicates.first ?? ""
      diagnostics.report(
        "the key '\(name)' is given more than once in this mapping; keep one",
        at: Place(context.mark))
    default:
      diagnostics.report("not valid YAML: \(error)", at: .start)
    }
  }
}

extension YAMLDocument {
  /// What is likely meant on a line that does not parse: inside braces a bare `double[3]` ends at its bracket.
  private func hint(at place: Place) -> String {
    guard lines.indices.contains(place.line - 1) else { return "" }
    let line = String(lines[place.line - 1])
    guard let bare = line.firstMatch(of: /\w+: *((?:bool|int64|double|string|timestamp)\[\d*\])/)
    else { return "" }
    return "; inside braces, write an array type in quotes: \"\(bare.1)\""
  }
}

extension Place {
  fileprivate init(_ mark: Mark?) {
    self.init(line: max(1, mark?.line ?? 1), column: max(1, mark?.column ?? 1))
  }
}

extension Tag {
  fileprivate func name(isOneOf names: [Tag.Name]) -> Bool {
    names.contains { $0.rawValue == rawValue }
  }
}
