/// Blanks comments and string literals of Swift source, so that rules look at code alone.
///
/// Every blanked byte becomes a space and every newline stays, so positions and lines are those of
/// the source. Code inside an interpolation stays code. Regex literals are not known: a quote
/// inside one blanks the rest of its line at most.
struct SwiftBlanker {
  private enum Context {
    /// The file itself, or an interpolation: `parentheses` are open inside it.
    case code(parentheses: Int)
    case string(hashes: Int, multiline: Bool)
  }

  private let source: [UInt8]
  private var output: [UInt8]
  private var index = 0
  private var contexts: [Context] = [.code(parentheses: 0)]

  static func blank(_ source: [UInt8]) -> [UInt8] {
    var blanker = SwiftBlanker(source: source)
    while blanker.index < source.count { blanker.step() }
    return blanker.output
  }

  private init(source: [UInt8]) {
    self.source = source
    output = source
  }

  private mutating func step() {
    switch contexts.last {
    case .string(let hashes, let multiline): stepString(hashes: hashes, multiline: multiline)
    case .code(let parentheses): stepCode(parentheses: parentheses)
    case nil: index += 1
    }
  }

  private mutating func stepCode(parentheses: Int) {
    guard "/#\"()".utf8.contains(source[index]) else {
      index += 1
      return
    }
    let hashes = count(of: "#", at: index)
    if starts(with: "//", at: index) {
      while index < source.count, source[index] != SourceLines.newline { blank(1) }
    } else if starts(with: "/*", at: index) {
      blankBlockComment()
    } else if starts(with: "\"", at: index + hashes) {
      let multiline = starts(with: "\"\"\"", at: index + hashes)
      contexts.append(.string(hashes: hashes, multiline: multiline))
      blank(hashes + (multiline ? 3 : 1))
    } else if source[index] == UInt8(ascii: ")"), parentheses == 0, contexts.count > 1 {
      contexts.removeLast()
      blank(1)
    } else {
      switch source[index] {
      case UInt8(ascii: "("): replaceLast(.code(parentheses: parentheses + 1))
      case UInt8(ascii: ")"): replaceLast(.code(parentheses: max(0, parentheses - 1)))
      default: break
      }
      index += 1
    }
  }

  private mutating func stepString(hashes: Int, multiline: Bool) {
    let quotes = multiline ? "\"\"\"" : "\""
    if source[index] == UInt8(ascii: "\\"), count(of: "#", at: index + 1) >= hashes {
      if starts(with: "(", at: index + 1 + hashes) {
        contexts.append(.code(parentheses: 0))
      }
      blank(2 + hashes)
    } else if starts(with: quotes, at: index),
      count(of: "#", at: index + quotes.utf8.count) >= hashes
    {
      contexts.removeLast()
      blank(quotes.utf8.count + hashes)
    } else {
      // A string that never ends stops at its line, so that one mistake does not hide a file.
      if source[index] == SourceLines.newline, !multiline { contexts.removeLast() }
      blank(1)
    }
  }

  private mutating func blankBlockComment() {
    var depth = 0
    repeat {
      if starts(with: "/*", at: index) {
        depth += 1
        blank(2)
      } else if starts(with: "*/", at: index) {
        depth -= 1
        blank(2)
      } else {
        blank(1)
      }
    } while depth > 0 && index < source.count
  }

  private mutating func replaceLast(_ context: Context) {
    contexts[contexts.count - 1] = context
  }

  private mutating func blank(_ count: Int) {
    let end = min(index + count, source.count)
    for position in index..<end where source[position] != SourceLines.newline {
      output[position] = UInt8(ascii: " ")
    }
    index = end
  }

  private func starts(with text: String, at position: Int) -> Bool {
    source[min(position, source.count)...].starts(with: text.utf8)
  }

  private func count(of byte: Unicode.Scalar, at position: Int) -> Int {
    source[min(position, source.count)...].prefix { $0 == UInt8(ascii: byte) }.count
  }
}
