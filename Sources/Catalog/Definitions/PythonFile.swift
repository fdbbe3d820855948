import Core

/// What a Python file may define at its top, read off its text without running it.
///
/// It never says that a name is missing which could be there: a star import, or code that makes names as it runs, makes it
/// unsure, and an unsure answer is yes.
struct PythonFile {
  private enum Token: Equatable {
    case word(String)
    case sign(Character)
  }

  /// Words that can make a name without writing it.
  private static let makers: Set<String> = [
    "exec", "eval", "globals", "locals", "vars", "setattr", "__getattr__", "__import__",
  ]

  private var tokens: [Token] = []

  init(_ text: String) {
    var scanner = PythonScanner(text)
    while let next = scanner.next() {
      switch next {
      case .word(let word): tokens.append(.word(word))
      case .sign(let sign): tokens.append(.sign(sign))
      }
    }
  }

  /// False only where nothing in the file could define the name.
  func mayDefine(_ name: String) -> Bool {
    for (index, token) in tokens.enumerated() {
      let before = index > 0 ? tokens[index - 1] : nil
      let after = index + 1 < tokens.count ? tokens[index + 1] : nil
      if token == .sign("*"), before == .word("import") { return true }
      guard case .word(let word) = token, before != .sign(".") else { continue }
      if Self.makers.contains(word) { return true }
      guard word == name else { continue }
      // A call uses a name that was defined elsewhere, if anywhere.
      if after != .sign("(") || before == .word("def") || before == .word("class") { return true }
    }
    return false
  }

  /// The functions that it defines, in order.
  var defined: [String] {
    zip(tokens, tokens.dropFirst()).compactMap { first, second in
      guard first == .word("def"), case .word(let name) = second else { return nil }
      return name
    }
  }
}

/// Words and signs of Python text, without comments and without what stands in strings.
private struct PythonScanner {
  enum Token {
    case word(String)
    case sign(Character)
  }

  private let bytes: [UInt8]
  private var place = 0

  init(_ text: String) { bytes = Array(text.utf8) }

  mutating func next() -> Token? {
    while place < bytes.count {
      let byte = bytes[place]
      if byte == UInt8(ascii: "#") {
        while place < bytes.count, bytes[place] != UInt8(ascii: "\n") { place += 1 }
      } else if Self.isQuote(byte) {
        skipString()
      } else if Self.isPart(byte) {
        let start = place
        while place < bytes.count, Self.isPart(bytes[place]) { place += 1 }
        return .word(String(decoding: bytes[start..<place], as: UTF8.self))
      } else {
        place += 1
        // A line that goes on is one line.
        if byte > 32, byte != UInt8(ascii: "\\") { return .sign(Character(UnicodeScalar(byte))) }
      }
    }
    return nil
  }

  /// A string from its opening quotes to its end, or to the end of the line where it has none. Prefixes were words; in a raw
  /// string, too, a backslash keeps the quote after it inside.
  private mutating func skipString() {
    let quote = bytes[place]
    let isTriple =
      place + 2 < bytes.count && bytes[place + 1] == quote && bytes[place + 2] == quote
    place += isTriple ? 3 : 1
    while place < bytes.count {
      let byte = bytes[place]
      if byte == UInt8(ascii: "\\") {
        place += 2
      } else if byte == quote {
        guard isTriple else {
          place += 1
          return
        }
        if place + 2 < bytes.count, bytes[place + 1] == quote, bytes[place + 2] == quote {
          place += 3
          return
        }
        place += 1
      } else if byte == UInt8(ascii: "\n"), !isTriple {
        return
      } else {
        place += 1
      }
    }
  }

  private static func isQuote(_ byte: UInt8) -> Bool {
    byte == UInt8(ascii: "\"") || byte == UInt8(ascii: "'")
  }

  private static func isPart(_ byte: UInt8) -> Bool {
    switch byte {
    case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
      UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "_"), 128...:
      true
    default: false
    }
  }
}
